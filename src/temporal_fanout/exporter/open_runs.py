"""The open runs that the exporter watches: what of each is in flight and waiting, and since when nothing changed."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from temporalio.client import Client
from temporalio.service import RPCError

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.run import RunHistory
from temporal_fanout.operations.progress import Progress, progress

logger = logging.getLogger(__name__)

STALLED_SECONDS = 600.0
"""After so long without a change a run is logged, once."""
_LOOKS_APART = 16
"""A run that does not answer is asked again after 1, 2, 4 … looks, at most so many."""
_READING_SHARE = 20
"""Histories of runs that do not answer are read for one part in so many of the time, at most."""


@dataclass
class OpenRun:
    """A run that has not closed, as it was last seen."""

    workflow_id: str
    run_id: str
    parent_type: str
    task_queue: str
    in_flight: int = 0
    waiting: int = 0
    held: int = 0
    """Items that wait for a person."""
    is_paused: bool = False
    changed_at: float = 0.0
    """When an item last started or ended, else when the run started, in seconds since 1970; 0 before it was seen."""
    child_types: set[str] = field(default_factory=set)
    task_queues: set[str] = field(default_factory=set)
    """Of its items."""
    _started: int = 0
    _ended: int = 0
    _is_warned: bool = False
    _silent: int = 0
    _ask_in: int = 0
    _read_at: float = 0.0

    @property
    def stalled(self) -> float:
        """Seconds since an item started or ended; 0 where nothing is left to do, or all of it waits for a person."""
        idle = not self.in_flight and not self.waiting
        if (idle and (self._ended or self.held)) or (self.is_paused and not self.in_flight):
            return 0.0
        return max(0.0, time.time() - self.changed_at)

    async def look(self, client: Client) -> None:
        """Asks the run by its query. Where there is no answer, and at the first look, its history is read instead.

        A parent that is not ours never answers. Raises `RPCError` when the server does not.
        """
        answers = await self._ask(client)
        is_first = not self.changed_at
        is_met = bool(self.child_types) or not any(answer.in_flight or answer.finished for answer in answers)
        if is_first or not answers or not is_met:
            await self._read(client)
        if answers:
            self._take(answers, is_first)
        self._warn()

    async def _ask(self, client: Client) -> list[Progress]:
        self._ask_in -= 1
        if self._ask_in > 0:
            return []
        try:
            answers = list((await progress(client, self.workflow_id, self.run_id)).values())
        except InvalidInput:  # the answer is encrypted
            answers = []
        self._silent = 0 if answers else self._silent + 1
        self._ask_in = min(2 ** max(0, self._silent - 1), _LOOKS_APART)
        return answers

    def _take(self, answers: list[Progress], is_first: bool) -> None:
        ended = sum(answer.finished for answer in answers)
        self.in_flight = sum(answer.in_flight for answer in answers)
        self.held = sum(answer.held for answer in answers)
        self.waiting = max(0, sum(answer.waiting for answer in answers))
        self.is_paused = any(answer.paused for answer in answers)
        started = ended + self.in_flight + self.held
        if not is_first and (started > self._started or ended > self._ended):  # a shard that is not heard makes it less
            self.changed_at = time.time()
        self._started, self._ended = max(self._started, started), max(self._ended, ended)

    async def _read(self, client: Client) -> None:
        began = time.monotonic()
        if began < self._read_at:
            return
        history = RunHistory(client, self.workflow_id, self.run_id)
        in_flight = ended = 0
        try:
            async for item in history.outcomes():
                in_flight += item.outcome is None
                ended += item.outcome is not None
                self.child_types.add(item.child_type)
                self.task_queues.add(item.task_queue)
        except RPCError:
            raise
        except Exception as error:  # it has gone meanwhile, or is nothing that we can read: its end will tell
            logger.debug("the history of an open run was not read", extra={"reason": str(error)})
        self.in_flight, self.waiting, self._ended = in_flight, history.waiting, max(self._ended, ended)
        self.changed_at = history.changed_at or time.time()
        now = time.monotonic()
        self._read_at = now + _READING_SHARE * (now - began)

    def _warn(self) -> None:
        stalled = self.stalled
        if stalled >= STALLED_SECONDS and not self._is_warned:
            logger.warning(
                "no item of this run has started or ended for a long time",
                extra={
                    "workflow_id": self.workflow_id,
                    "run_id": self.run_id,
                    "workflow_type": self.parent_type,
                    "task_queue": self.task_queue,
                    "seconds": round(stalled),
                    "in_flight": self.in_flight,
                    "waiting": self.waiting,
                },
            )
        self._is_warned = stalled >= STALLED_SECONDS
