"""The pages of a source, asked for by a workflow."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from temporal_fanout.checks import InvalidInput
from temporal_fanout.source import HEARTBEAT, PAGE_BYTES, READ_FILE, READ_HISTORY, PageRequest
from temporal_fanout.wire.outcome import root_cause


class SourceError(Exception):
    """The source failed, or broke its promise; the message says how."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


async def survey(
    source: dict[str, Any], offset: int = 0, count: int | None = None, position: Any = None, stride: int = 1
) -> dict[str, Any]:
    """Asks a source how many items it has and where they start. Raises `SourceError` and `InvalidInput`."""
    page = await _ask(source, PageRequest(offset, 0, PAGE_BYTES, position, stride, count))
    total = page.get("total")
    if isinstance(total, bool) or not isinstance(total, int) or total < 0:
        raise SourceError(f"{_named(source)} must answer a survey with its total, a whole number, not {total!r:.60}")
    return page


async def page(source: dict[str, Any], offset: int, limit: int, position: Any) -> dict[str, Any]:
    """Asks a source for at most `limit` items. Raises `SourceError`."""
    answer = await _ask(source, PageRequest(offset, limit, PAGE_BYTES, position))
    items = answer.get("items")
    if not isinstance(items, list) or len(items) > limit:
        found = f"{len(items)} items" if isinstance(items, list) else f"{items!r:.60}"
        raise SourceError(f"{_named(source)} was asked for at most {limit} items from {offset} on and gave {found}")
    if not items:
        raise SourceError(f"{_named(source)} has no item {offset}, although its total says so")
    return answer


async def _ask(source: dict[str, Any], request: PageRequest) -> dict[str, Any]:
    timeout = timedelta(seconds=source["timeout"])
    try:
        answer = await workflow.execute_activity(
            source["activity"],
            args=[asdict(request), *source["args"]],
            task_queue=source["task_queue"],
            schedule_to_close_timeout=timeout,
            heartbeat_timeout=min(HEARTBEAT, timeout) if source["activity"] in (READ_FILE, READ_HISTORY) else None,
            retry_policy=RetryPolicy(maximum_attempts=5),
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise asyncio.CancelledError from None
        seconds = f"no answer within {timeout.total_seconds():g} s: is it registered, and its task queue polled?"
        cause = root_cause(error, seconds)
        if cause.type == "InvalidInput":
            raise InvalidInput(cause.error) from None
        raise SourceError(f"{_named(source)} failed: {cause.error}") from None
    if not isinstance(answer, dict):
        raise SourceError(f"{_named(source)} must answer with a Page, not {answer!r:.60}")
    return answer


def _named(source: dict[str, Any]) -> str:
    return f"source {source['activity']}"
