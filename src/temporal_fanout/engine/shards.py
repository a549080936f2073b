"""The open shards of a node: how they are started, signalled, and what they return."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

from temporal_fanout.engine.caller import Caller, started
from temporal_fanout.engine.lending import Lending
from temporal_fanout.wire.protocol import (
    LANES,
    REPORT,
    SHARD_WORKFLOW,
    STOP,
    Message,
    ReportMessage,
    ShardResult,
    ShardSpec,
)


class Shards:
    """Those of one node. `changed` is called when the node should look again."""

    def __init__(self, caller: Caller, changed: Callable[[], None]) -> None:
        self.lending = Lending()
        self._caller = caller
        self._changed = changed
        self._ids: dict[str, str] = {}
        self._signals: set[asyncio.Task[None]] = set()

    @property
    def ids(self) -> list[str]:
        """Their workflow ids, of those that have started."""
        return list(self._ids.values())

    async def run(self, spec: ShardSpec, carried: Payload) -> tuple[ShardResult, list[Payload]]:
        """Runs a shard, whose lanes are lent, to its end, and gives what it returned. Raises its `FailureError`."""

        def start(id: str) -> Any:
            inputs = [spec.to_raw(), RawValue(carried)]
            return workflow.start_child_workflow(SHARD_WORKFLOW, args=inputs, id=id, result_type=RawValue)

        try:
            with self._caller.starts_a_child():
                handle = await started(spec.id, start)
            self._ids[spec.id] = handle.id
            self.lending.started(spec.id)
            self._changed()
            raw: RawValue = await handle
            return ShardResult.unpacked(raw.payload)
        finally:
            self._ids.pop(spec.id, None)

    def share(self, lanes: int, limit: int, rate: float | None, most: Callable[[int], int]) -> None:
        """Lends so much, or takes back what is above it, and tells the shards."""
        for message in self.lending.share(lanes, limit, rate, most):
            self._signal(self._ids[message.shard], LANES, message)

    def stop(self, cancel: bool) -> None:
        """Has every shard start nothing more, and cancel what runs if so."""
        for message in self.lending.stop(cancel):
            self._signal(self._ids[message.shard], STOP, message)

    def report(self, report: ReportMessage) -> None:
        """Tells this workflow's parent."""
        parent = workflow.info().parent
        if parent is not None:
            self._signal(parent.workflow_id, REPORT, report)

    def _signal(self, id: str, name: str, message: Message) -> None:
        async def send() -> None:
            with contextlib.suppress(FailureError):  # it has closed meanwhile, and its lanes with it
                await workflow.get_external_workflow_handle(id).signal(name, message.to_raw())

        task = asyncio.create_task(send())
        self._signals.add(task)
        task.add_done_callback(self._signals.discard)
