"""The open shards of a node, and the lanes that each has: lent, taken back, and heard of again.

A shard *may use* so many lanes, and *holds* at least those: items that it had in flight when lanes were taken back
still run. What shards hold together is never more than their node has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

from temporal_fanout.wire.protocol import LANES, SHARD_WORKFLOW, STOP


@dataclass
class Open:
    """A shard at work, as its node knows it."""

    id: str
    count: int
    may_use: int
    holds: int
    told: tuple[int, int]
    """What it may use, and the limit of the whole run, as it last was told."""
    is_there: bool = False
    """It has started, so that signals reach it."""
    has_units: bool = True
    """It has something left to start, it or a shard of its own; without, lanes only come back from it."""
    failures: int = 0
    stop: bool | None = None
    """It was told to stop, and whether to cancel what runs."""
    sent: int = 0
    asked: int = 0
    """The last message that it is to answer."""
    heard: int = 0
    reports: int = 0


class Shards:
    """Those of one node. `changed` is called when the node should look again; `starts_a_child` is the caller's."""

    def __init__(self, changed: Callable[[], None], starts_a_child: Callable[[], AbstractContextManager[None]]) -> None:
        self._changed = changed
        self._starts_a_child = starts_a_child
        self._open: dict[str, Open] = {}
        self._signals: set[asyncio.Task[None]] = set()

    @property
    def ids(self) -> list[str]:
        return list(self._open)

    @property
    def holds(self) -> int:
        """Lanes, all together."""
        return sum(shard.holds for shard in self._open.values())

    @property
    def want(self) -> bool:
        """Whether one could use more lanes than it has."""
        return any(shard.has_units and shard.may_use < shard.count for shard in self._open.values())

    @property
    def failures(self) -> int:
        """Items that failed so far, as the shards have said."""
        return sum(shard.failures for shard in self._open.values())

    def keep_to(self, limit: int) -> bool:
        """Whether every shard has answered that it keeps to what it may use, under this limit of the run."""
        return all(shard.told == (shard.may_use, limit) and shard.heard >= shard.asked for shard in self._open.values())

    def add(self, id: str, count: int, lanes: int, limit: int) -> None:
        """Books the lanes of a shard that is about to run."""
        self._open[id] = Open(id, count, lanes, lanes, (lanes, limit))

    async def run(self, id: str, spec: Payload) -> RawValue:
        """Runs a shard that was added to its end, and gives what it returned. Raises its `FailureError`."""
        shard = self._open[id]
        try:
            with self._starts_a_child():
                handle = await workflow.start_child_workflow(
                    SHARD_WORKFLOW, RawValue(spec), id=id, result_type=RawValue
                )
            shard.is_there = True
            self._changed()
            result: RawValue = await handle
            return result
        finally:
            del self._open[id]

    def share(self, lanes: int, limit: int, most: Callable[[int], int]) -> None:
        """Lends so many lanes to the shards that can use them, or takes back what is above that.

        `most` gives how many a shard of so many items takes. `limit` is the whole run's.
        """
        lanes = max(lanes, 0)
        may_use = sum(shard.may_use for shard in self._open.values())
        ask = may_use > lanes
        free = lanes - self.holds
        for shard in self._open.values():
            if ask:
                shard.may_use = shard.may_use * lanes // may_use
            elif shard.has_units:
                still = shard.holds - shard.may_use
                more = min(most(shard.count) - shard.may_use, max(free, 0) + still)
                if more > 0 and free >= 0:
                    free -= max(0, more - still)
                    shard.may_use += more
                    shard.holds = max(shard.holds, shard.may_use)
            self._tell(shard, limit, ask)

    def stop(self, cancel: bool) -> None:
        """Has every shard start nothing more, and cancel what runs if so."""
        for shard in self._open.values():
            if shard.is_there and shard.stop is not cancel and not shard.stop:
                shard.stop = cancel
                self.signal(shard.id, STOP, {"shard": shard.id, "cancel": cancel})

    def hear(self, message: dict[str, Any]) -> None:
        """What a shard reports. What it holds counts only once it has heard all that it was told."""
        shard = self._open.get(message["shard"])
        if shard is None or message["seq"] <= shard.reports:
            return
        shard.reports, shard.heard = message["seq"], message["heard"]
        shard.failures, shard.has_units = message["failures"], message["has_units"]
        if shard.heard == shard.sent:
            shard.holds = message["holds"]
            shard.may_use = min(shard.may_use, shard.holds)
            shard.told = (shard.may_use, shard.told[1])
        self._changed()

    def signal(self, id: str, name: str, message: dict[str, Any]) -> None:
        async def send() -> None:
            with contextlib.suppress(FailureError):  # it has closed meanwhile, and its lanes with it
                await workflow.get_external_workflow_handle(id).signal(name, message)

        task = asyncio.create_task(send())
        self._signals.add(task)
        task.add_done_callback(self._signals.discard)

    def _tell(self, shard: Open, limit: int, ask: bool) -> None:
        news = shard.may_use, limit
        if not shard.is_there or shard.told == news:
            return
        ask = ask or shard.told[1] != limit or shard.may_use < shard.told[0]
        shard.told = news
        shard.sent += 1
        if ask:
            shard.asked = shard.sent
        message = {"shard": shard.id, "seq": shard.sent, "lanes": shard.may_use, "limit": limit, "answer": ask}
        self.signal(shard.id, LANES, message)
