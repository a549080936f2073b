"""Sources: the pages that a fan-out asks an activity for, and the activity that reads them from a file.

A source is an activity `(request: PageRequest, *args) -> Page`. A request whose limit is 0 is a survey: it asks how
many items there are, and where each `stride`-th of them starts, if that helps the activity to find it again. Any other
request asks for `limit` items from `offset` on, of at most `max_bytes` together.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, BinaryIO

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from temporal_fanout.models import InvalidInput
from temporal_fanout.work import root_cause

PAGE_BYTES = 1024 * 1024
"""Of one page, at most; the server refuses a payload over 2 MiB."""
POSITIONS = 4096
"""Of a survey, at most: then every second one is left out, and the stride doubles."""
HEARTBEAT = timedelta(seconds=60)
READ_FILE = "fanout_read_file"
READ_HISTORY = "fanout_read_history"
"""The sources that are ours, which heartbeat."""


@dataclass(frozen=True)
class PageRequest:
    """What a fan-out asks of a source."""

    offset: int
    """Index of the first item wanted, from 0."""
    limit: int
    """Items wanted, at most; 0 is a survey."""
    max_bytes: int
    """Bytes of the items as JSON, at most. One item over it may be returned alone."""
    position: Any = None
    """Where the item at `offset` starts, in the source's own terms, if a survey or a page has said so."""
    stride: int = 0
    """Of a survey: positions wanted for every so many items from `offset` on."""
    count: int | None = None
    """Of a survey: how many items from `offset` on it is about; none is all."""


@dataclass(frozen=True)
class Page:
    """What a source answers."""

    items: list[Any] = field(default_factory=list)
    """JSON values, at most `limit` of them; fewer where `max_bytes` or the end was reached."""
    total: int | None = None
    """Of a survey: how many items there are."""
    positions: list[Any] = field(default_factory=list)
    """Of a survey: where every `stride`-th item starts, the first at `offset`."""
    stride: int = 0
    """Of a survey: the items between two positions, a multiple of what was asked for."""
    next: Any = None
    """Where the item after the last one starts."""


class SourceError(Exception):
    """The source failed, or broke its promise; the message says how."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


# -- inside a workflow


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


# -- inside a worker


class FileSource:
    """The activity behind `Source.file`: reads only what lies below one of its roots."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = [_absolute(root) for root in roots]

    @activity.defn(name=READ_FILE)
    async def read_file(self, request: PageRequest, file: dict[str, str]) -> Page:
        address = self._allowed(file["address"])
        heartbeat = activity.heartbeat
        read = _survey_file if request.limit == 0 else _read_page
        work = asyncio.get_running_loop().run_in_executor(None, read, address, file["format"], request)
        while not (await asyncio.wait([work], timeout=HEARTBEAT.total_seconds() / 4))[0]:
            heartbeat()
        return await work

    def _allowed(self, address: str) -> str:
        address = _absolute(address)
        for root in self._roots:
            if address == root or address.startswith(root.rstrip("/") + "/"):
                return address
        roots = ", ".join(self._roots) or "none"
        raise InvalidInput(f"source: {address} is not below a source root of the worker, which has {roots}")


def read_items(path: str, format: str) -> list[Any]:
    """All items of a file, as the activity reads them. Raises `InvalidInput`."""
    address = _absolute(path)
    with contextlib.closing(_open(address, 0)) as file:
        return [item for _, _, item in _records(file, address, format)]


def _absolute(address: str) -> str:
    """The address with its protocol, links and dots resolved; chains of protocols, which fsspec allows, are refused."""
    if "::" in address:
        raise InvalidInput(f"source: {address} chains protocols, which is not allowed")
    protocol, separator, path = address.partition("://")
    if not separator or protocol in ("file", "local"):
        return "file://" + os.path.realpath(path if separator else address)
    if any(part in (".", "..") for part in path.split("/")):
        raise InvalidInput(f"source: {address} must be written without . and ..")
    return address


def _open(address: str, position: int) -> BinaryIO:
    import fsspec

    try:
        file: BinaryIO = fsspec.open(address, "rb").open()
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InvalidInput(f"source: {address} cannot be read: {error.strerror or 'there is no such file'}") from None
    except (ImportError, ValueError) as error:
        raise InvalidInput(f"source: {address} cannot be opened: {error}") from None
    file.seek(position)
    return file


class _Lines:
    """The lines of a file as text, and where the next one starts."""

    def __init__(self, file: BinaryIO, address: str) -> None:
        self._file = file
        self._address = address
        self.position = file.tell()

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            start, self.position = self.position, self.position + len(line)
            try:
                yield line.decode("utf-8-sig" if start == 0 else "utf-8")
            except UnicodeDecodeError:
                raise InvalidInput(f"source: {self._address} is not UTF-8 at byte {start}") from None


def _records(file: BinaryIO, address: str, format: str) -> Iterator[tuple[int, int, Any]]:
    """Each item with the bytes at which it starts and ends, from where the file stands."""
    lines = _Lines(file, address)
    parse = _csv_records if format == "csv" else _json_records
    return parse(lines, address)


def _json_records(lines: _Lines, address: str) -> Iterator[tuple[int, int, Any]]:
    start = lines.position
    for line in lines:
        if line.strip():
            try:
                yield start, lines.position, json.loads(line)
            except ValueError as error:
                raise InvalidInput(f"source: {address} has no JSON in the line at byte {start}: {error}") from None
        start = lines.position


def _csv_records(lines: _Lines, address: str) -> Iterator[tuple[int, int, Any]]:
    with contextlib.closing(_open(address, 0)) as head:
        columns = next(csv.reader(_Lines(head, address)), [])
    rows = csv.reader(lines, strict=True)
    if lines.position == 0:
        next(rows, None)
    start = lines.position
    try:
        for row in rows:
            if row:
                if len(row) != len(columns):
                    raise csv.Error(f"{len(row)} fields for {len(columns)} columns")
                yield start, lines.position, dict(zip(columns, row, strict=True))
            start = lines.position
    except csv.Error as error:
        raise InvalidInput(f"source: {address} is not CSV in the record at byte {start}: {error}") from None


def _survey_file(address: str, format: str, request: PageRequest) -> Page:
    stride = max(1, request.stride)
    positions: list[int] = []
    total = 0
    with contextlib.closing(_open(address, request.position or 0)) as file:
        for start, end, _ in _records(file, address, format):
            if end - start > PAGE_BYTES:
                raise InvalidInput(f"source: {address} has an item of over 1 MiB at byte {start}; give a reference")
            if total % stride == 0:
                positions.append(start)
                if len(positions) > POSITIONS:
                    positions, stride = positions[::2], stride * 2
            total += 1
            if total == request.count:
                break
    return Page(total=total, positions=positions, stride=stride)


def _read_page(address: str, format: str, request: PageRequest) -> Page:
    items: list[Any] = []
    first = end = request.position or 0
    with contextlib.closing(_open(address, first)) as file:
        for _, after, item in _records(file, address, format):
            if items and after - first > request.max_bytes:
                break
            items.append(item)
            end = after
            if len(items) == request.limit:
                break
    return Page(items=items, next=end)
