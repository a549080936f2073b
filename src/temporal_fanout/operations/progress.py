"""The progress of a run: its workflow's answer to the query, and those of its open shards, added up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError

from temporal_fanout.operations.ask import query
from temporal_fanout.operations.steady import Progress, Steady
from temporal_fanout.wire.protocol import PROGRESS

__all__ = ["Progress", "progress", "silent_in"]

_SECONDS = 5.0


async def progress(
    client: Client, workflow_id: str, run_id: str | None = None, steady: Steady | None = None
) -> dict[str, Progress]:
    """The progress of each fan-out of a run, by name; empty where its worker does not answer now.

    With the `steady` of earlier looks at the same run, what does not answer now counts as it last did, so that what
    has ended is never less than it was. Raises `InvalidInput` where an answer is encrypted and the client cannot read
    it.
    """
    steady = steady or Steady()
    asked = steady.hear(workflow_id, await _ask(client, workflow_id, run_id), is_run=True)
    while asked:
        answers = await asyncio.gather(*(_ask(client, id) for id in asked))
        asked = [below for id, answer in zip(asked, answers, strict=True) for below in steady.hear(id, answer)]
    return steady.add_up(workflow_id)


def silent_in(workflow_id: str, answers: Mapping[str, Progress]) -> list[str]:
    """Of a run and its open shards, those that did not answer: why, `failing` may know."""
    silent = [id for one in answers.values() for id in one.silent]
    return silent if answers and not any(one.is_stale for one in answers.values()) else [workflow_id]


async def _ask(client: Client, workflow_id: str, run_id: str | None = None) -> dict[str, Any] | None:
    """The answer; none where there is none in time."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    try:
        answer: dict[str, Any] = await query(handle, PROGRESS, _SECONDS)
    except (RPCError, WorkflowQueryFailedError):
        return None
    return answer
