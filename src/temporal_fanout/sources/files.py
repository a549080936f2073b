"""The activity that reads the pages of a file."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from temporalio import activity

from temporal_fanout.checks import InvalidInput
from temporal_fanout.source import HEARTBEAT, PAGE_BYTES, POSITIONS, READ_FILE, Page, PageRequest


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
