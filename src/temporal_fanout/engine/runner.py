"""Items in flight: their start, their end, and their cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from temporal_fanout.engine.caller import Caller
from temporal_fanout.engine.tasks import Tasks
from temporal_fanout.wire.outcome import Ended, root_cause


class Runner:
    """Those of one node. `ended` is called with index, payload, id, what became of it, and its seconds."""

    def __init__(
        self, caller: Caller, tasks: Tasks, prefix: str, ended: Callable[[int, Payload, str, Ended, float], None]
    ) -> None:
        self._caller = caller
        self._tasks = tasks
        self._prefix = prefix
        self._told = ended
        self._open: dict[int, str] = {}
        self._cancelled: set[int] = set()
        self.started = 0
        """Items, all together."""

    @property
    def open(self) -> int:
        """Items in flight."""
        return len(self._open)

    @property
    def can_cancel(self) -> bool:
        """Whether one is left to cancel, and none of them is about to start."""
        return len(self._open) > len(self._cancelled) and not self._caller.starting

    def start(self, index: int, payload: Payload) -> None:
        id = f"{self._prefix}{index}"
        self._open[index] = id
        self.started += 1
        self._tasks.spawn(id, self._run(index, payload, id))

    def cancel(self) -> None:
        """Cancels all, in the order of the input."""
        for index in sorted(self._open.keys() - self._cancelled):
            self._cancelled.add(index)
            self._tasks.cancel(self._open[index])

    async def _run(self, index: int, payload: Payload, id: str) -> None:
        began = workflow.time()
        try:
            ended = await self._caller.call(id, payload)
        except asyncio.CancelledError as error:
            ended = root_cause(error)
        del self._open[index]
        self._cancelled.discard(index)
        self._told(index, payload, id, ended, workflow.time() - began)
