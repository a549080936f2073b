"""Outcomes from histories: what became of every child and activity of any parent, whoever wrote it.

The items of a run are in its own history and in those of its shards, to any depth. So the items of a shard that was
terminated, of which its parent knows nothing but their number, are known one by one. `workflow` says what one history
tells, and `totals` what is known of items that were never started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import TypeAlias

from temporalio.client import Client

from temporal_fanout.histories.events import run_ids
from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.totals import RunState
from temporal_fanout.histories.workflow import Node, Section

READ_AHEAD = 4
"""Shards whose histories are held at once, at most: each has under 5,000 events and 10 MB."""

Place: TypeAlias = tuple[int, ...]
"""Where an item stands in the histories of a run: 0 and its number among a workflow's own items, or first, for each
shard on the way, that shard's number from 1 on."""


async def outcomes(client: Client, workflow_id: str, run_id: str | None = None) -> AsyncIterator[ItemOutcome]:
    """What became of every child and activity of a workflow, finished or running, through shards and continue-as-new.

    Those of one fan-out come in the order of its input, in constant memory. Without `run_id`, of the newest run and all
    that it continues; with it, of that run and all that continues it. Raises `HistoryGone`, and `RPCError` when the
    server does not answer.
    """
    runs = [run_id] if run_id else await run_ids(client, workflow_id)
    while runs:
        run = RunHistory(client, workflow_id, runs.pop(0))
        async for item in run.outcomes():
            yield item
        if run.continued_as and not runs:
            runs.append(run.continued_as)


class RunHistory(RunState):
    """One run, read once: first its `outcomes`, to their end; then the attributes say what it was."""

    def __init__(self, client: Client, workflow_id: str, run_id: str) -> None:
        super().__init__()
        self.workflow_id = workflow_id
        self.run_id = run_id
        self._client = client

    async def outcomes(self) -> AsyncIterator[ItemOutcome]:
        """What became of every child and activity of this run, as the function of this name gives it."""
        async for _, item in self.places():
            yield item

    async def places(
        self, start: Place = (), ahead: int = READ_AHEAD
    ) -> AsyncGenerator[tuple[Place, ItemOutcome], None]:
        """The same from the item at `start` on, each with its place; of what comes before, only the parents are read.

        `ahead` is how many shards are read at once. Places stay as they are once the run is `settled`. After a start
        in the middle, the attributes that need every history mean nothing.
        """
        # Nothing but this keeps a part, so that what was read is let go as soon as it was given.
        parts: deque[tuple[Place, Section]] = deque(
            [((), Node(self._client, self, self.workflow_id, self.run_id, is_run=True))]
        )
        try:
            while parts:
                _read_ahead([part for _, part in parts], ahead)
                at, part = parts.popleft()
                if isinstance(part, Node):
                    await part.read()
                    first = _skipped(start, at)
                    if first == 0:
                        own = (*at, 0)
                        for number in range(_skipped(start, own), len(part.items)):
                            yield (*own, number), part.items[number]
                    rest = [((*at, number), one) for number, one in enumerate(part.rest, 1) if number >= first]
                    parts.extendleft(reversed(rest))
                else:
                    skipped, number = _skipped(start, at), 0
                    async for item in part:
                        if number >= skipped:
                            yield (*at, number), item
                        number += 1
        finally:
            for _, part in parts:
                if isinstance(part, Node):
                    part.cancel()


def _read_ahead(parts: Iterable[Section], ahead: int) -> None:
    nodes = [part for part in parts if isinstance(part, Node)]
    idle = [node for node in nodes if not node.is_begun]
    for node in idle[: max(0, ahead - len(nodes) + len(idle))]:
        node.begin()


def _skipped(start: Place, at: Place) -> int:
    """How many parts of what is at this place come before the start."""
    return start[len(at)] if len(start) > len(at) and start[: len(at)] == at else 0
