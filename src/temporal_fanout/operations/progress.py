"""The progress of a run: its workflow's answer to the query, and those of its open shards, added up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError

from temporal_fanout.operations.ask import query
from temporal_fanout.wire.protocol import PROGRESS

_SECONDS = 5.0


@dataclass
class Progress:
    """Of one fan-out of a run."""

    total: int = 0
    max_concurrency: int = 0
    in_flight: int = 0
    held: int = 0
    """Items that wait for a person."""
    paused: bool = False
    stopped: str | None = None
    """Why it starts nothing more."""
    seconds_at_work: float = field(default=0.0, compare=False)
    """Since its start, without its pauses."""
    outcomes: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)
    """Ids of open shards that do not answer now, as when their worker has died: what they have done counts as
    waiting."""

    @property
    def silent_shards(self) -> int:
        return len(self.silent)

    @property
    def finished(self) -> int:
        """Items that have ended."""
        return sum(self.outcomes.values())

    @property
    def waiting(self) -> int:
        """Items that were not started yet."""
        return self.total - self.finished - self.in_flight - self.held

    @property
    def items_per_second(self) -> float | None:
        """On average, as long as it was at work; none before the first item ended."""
        return self.finished / self.seconds_at_work if self.finished and self.seconds_at_work else None


async def progress(client: Client, workflow_id: str, run_id: str | None = None) -> dict[str, Progress]:
    """The progress of each fan-out of a run, by name; empty where its worker does not answer now.

    Raises `InvalidInput` where an answer is encrypted and the client cannot read it.
    """
    answer = await _ask(client, workflow_id, run_id) or {}
    result = {}
    for name, own in answer.items():
        result[name] = one = Progress(own["total"], own["max_concurrency"])
        one.paused, one.stopped, one.seconds_at_work = own["paused"], own["stopped"], own["seconds_at_work"]
        await _add(client, one, own)
    return result


def silent_in(workflow_id: str, answers: Mapping[str, Progress]) -> list[str]:
    """Of a run and its open shards, those that did not answer: why, `failing` may know."""
    return [id for one in answers.values() for id in one.silent] if answers else [workflow_id]


async def _add(client: Client, sum: Progress, own: dict[str, Any]) -> None:
    sum.in_flight += own["in_flight"]
    sum.held += own["held"]
    sum.outcomes.update(own["outcomes"])
    answers = await asyncio.gather(*(_ask(client, shard) for shard in own["open_shards"]))
    for id, answer in zip(own["open_shards"], answers, strict=True):
        if answer is None:
            sum.silent.append(id)
        for shard in (answer or {}).values():
            await _add(client, sum, shard)


async def _ask(client: Client, workflow_id: str, run_id: str | None = None) -> dict[str, Any] | None:
    """The answer; none where there is none in time."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    try:
        answer: dict[str, Any] = await query(handle, PROGRESS, _SECONDS)
    except (RPCError, WorkflowQueryFailedError):
        return None
    return answer
