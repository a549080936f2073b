"""The pages of a source, asked for by a workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from temporal_fanout.checks import InvalidInput
from temporal_fanout.source import HEARTBEAT, PAGE_BYTES, READ_FILE, READ_HISTORY, PageRequest
from temporal_fanout.wire.outcome import Limits, root_cause
from temporal_fanout.wire.payloads import encode, from_json, is_packed, to_json, unpack
from temporal_fanout.wire.protocol import SourceSpec
from temporal_fanout.wire.starts import ACTIVITY

ATTEMPTS = 5
"""Of one page, at most."""


class SourceError(Exception):
    """The source failed, or broke its promise; the message says how."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Survey:
    """How many items a source has, and where every `stride`-th of them starts, if it has said so."""

    total: int
    stride: int
    positions: Sequence[Any]


@dataclass(frozen=True)
class ItemPage:
    """Items of a source as payloads, and where the next one starts."""

    items: Sequence[Payload]
    next: Any


class Pages:
    """Of one source."""

    def __init__(self, source: SourceSpec, args: Sequence[Payload], most: int) -> None:
        """`most` is what an item may take, in bytes."""
        self._source = source
        self._args = args
        self._most = most
        self._name = f"source {source.activity}"

    async def survey(self, offset: int, count: int | None, position: Any, stride: int) -> Survey:
        """Asks how many items there are and where they start. Raises `SourceError` and `InvalidInput`."""
        page, _ = await self._ask(PageRequest(offset, 0, PAGE_BYTES, position, stride, count))
        total = page.get("total")
        if isinstance(total, bool) or not isinstance(total, int) or total < 0:
            raise SourceError(f"{self._name} must answer a survey with its total, a whole number, not {total!r:.60}")
        positions, apart = page.get("positions") or [], page.get("stride") or stride
        return Survey(total, apart, positions)

    async def page(self, offset: int, limit: int, position: Any) -> ItemPage:
        """Asks for at most `limit` items. Raises `SourceError` and `InvalidInput`."""
        page, packed = await self._ask(PageRequest(offset, limit, PAGE_BYTES, position))
        items = packed if packed is not None else page.get("items")
        if not isinstance(items, list) or len(items) > limit:
            found = f"{len(items)} items" if isinstance(items, list) else f"{items!r:.60}"
            raise SourceError(f"{self._name} was asked for at most {limit} items from {offset} on and gave {found}")
        if not items:
            raise SourceError(f"{self._name} has no item {offset}, although its total says so")
        if packed is None:
            items = [encode(item, f"items[{index}]", self._most) for index, item in enumerate(items, offset)]
        return ItemPage(items, page.get("next"))

    async def _ask(self, request: PageRequest) -> tuple[dict[str, Any], list[Payload] | None]:
        """The page, and its items where they are payloads."""
        source = self._source
        timeout = timedelta(seconds=source.timeout)
        heartbeat = min(HEARTBEAT, timeout) if source.activity in (READ_FILE, READ_HISTORY) else None
        try:
            raw: RawValue | None = await workflow.execute_activity(
                source.activity,
                args=[RawValue(to_json(asdict(request))), *(RawValue(arg) for arg in self._args)],
                task_queue=source.task_queue,
                result_type=RawValue,
                schedule_to_close_timeout=timeout,
                heartbeat_timeout=heartbeat,
                retry_policy=RetryPolicy(maximum_attempts=ATTEMPTS),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise asyncio.CancelledError from None
            silent = None if heartbeat is None else heartbeat.total_seconds()
            limits = Limits(source.timeout, heartbeat=silent, maximum_attempts=ATTEMPTS)
            cause = root_cause(error, ACTIVITY + source.activity, limits)
            if cause.type == "InvalidInput":
                raise InvalidInput(cause.error) from None
            raise SourceError(f"{self._name} failed: {cause.error}") from None
        return self._read(None if raw is None else raw.payload)

    def _read(self, payload: Payload | None) -> tuple[dict[str, Any], list[Payload] | None]:
        page: Any = None
        items: list[Payload] | None = None
        if payload is not None and is_packed(payload):
            first, *items = unpack(payload)
            page = from_json(first)
        elif payload is not None:
            try:
                page = workflow.payload_converter().from_payload(payload)
            except Exception as error:  # whatever the user's converter raises
                raise SourceError(f"{self._name}: its answer cannot be decoded: {error}") from None
        if is_dataclass(page) and not isinstance(page, type):
            page = asdict(page)
        if not isinstance(page, dict):
            raise SourceError(f"{self._name} must answer with a Page, not {page!r:.60}")
        return page, items
