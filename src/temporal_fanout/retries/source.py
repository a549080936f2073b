"""The source of a retry: the chosen items of a workflow, page by page from its histories, as recorded starts.

A page is several payloads as one: first that of a `Page` without items, then each item, as a workflow has it.

A position says which item it is of and where that stands in the histories, so a page reads only the shards that it is
of. Backwards, a position is of an item before the page, and the page is read from there on and turned round.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.events import HistoryGone
from temporal_fanout.histories.listing import Listing, Mark, Row
from temporal_fanout.histories.run import READ_AHEAD
from temporal_fanout.histories.values import encoded
from temporal_fanout.retries.choice import Choice, args_of
from temporal_fanout.source import HEARTBEAT, POSITIONS, READ_HISTORY, Page, PageRequest
from temporal_fanout.wire.payloads import from_json, pack, to_json
from temporal_fanout.wire.starts import pass_through, to_item

KEPT_BYTES = 64 * 1024 * 1024
"""Of items of one history that are kept, at most: the server lets a history have 50 MiB."""
KEPT_SECONDS = 300.0
_OWN_ITEM = 2
"""Parts of the place of an item of the run itself, not of a shard."""


@dataclass(frozen=True)
class _Position:
    number: int
    """Of the item among the chosen ones, in the order of the input."""
    mark: Mark
    total: int | None = None
    """Of all chosen ones; known backwards."""

    @classmethod
    def of(cls, given: Any) -> _Position | None:
        return None if given is None else cls(given["number"], Mark.from_dict(given["mark"]), given["total"])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"mark": self.mark.to_dict()}


@dataclass(frozen=True)
class _Entry:
    item: Payload
    after: _Position


class _Kept:
    """The chosen items of the long history that was read last, for the pages that are asked for next.

    A parent that is not ours may have ten thousand items in one history, which is read as a whole.
    """

    def __init__(self) -> None:
        self._key = ""
        self._first = 0
        self._entries: list[_Entry] = []
        self.reading = asyncio.Lock()

    def entries(self, key: str, number: int) -> list[_Entry]:
        """Those from this number on; none where they are not kept."""
        return self._entries[number - self._first :] if key == self._key and number >= self._first else []

    def keep(self, key: str, first: int, entries: list[_Entry]) -> None:
        self._key, self._first, self._entries = key, first, entries
        asyncio.get_running_loop().call_later(KEPT_SECONDS, self._forget, entries)

    def _forget(self, entries: list[_Entry]) -> None:
        if self._entries is entries:
            self._entries = []


class HistorySource:
    """The activity behind a retry; it reads with the client of the worker that runs it."""

    def __init__(self) -> None:
        self._kept = _Kept()

    @activity.defn(name=READ_HISTORY)
    async def read(self, request: RawValue, choice: RawValue, args: RawValue) -> RawValue:
        asked = PageRequest(**from_json(request.payload))
        chosen = _Chosen(
            activity.client(), Choice.from_payload(choice.payload), args_of(args.payload), choice.payload, self._kept
        )
        work = asyncio.create_task(chosen.answer(asked))
        heartbeat = activity.heartbeat
        try:
            while not (await asyncio.wait([work], timeout=HEARTBEAT.total_seconds() / 4))[0]:
                heartbeat()
            return work.result()
        except HistoryGone as gone:
            raise InvalidInput(str(gone)) from None
        finally:
            work.cancel()


class _Chosen:
    def __init__(self, client: Client, choice: Choice, args: Sequence[Payload], told: Payload, kept: _Kept) -> None:
        self._client = client
        self._choice = choice
        self._kept = kept
        changes = [arg.SerializeToString(deterministic=True).hex() for arg in args]
        self._key = json.dumps([client.namespace, told.data.decode(), changes])
        self._args = args
        """Those of the changes, from `answer` on as a history would have them."""

    async def answer(self, request: PageRequest) -> RawValue:
        self._args = await encoded(self._client, self._args)
        if request.limit == 0:
            return RawValue(to_json(asdict(await self._surveyed(request))))
        page, items = await self._paged(request)
        told = asdict(page)
        del told["items"]
        return RawValue(pack([to_json(told), *items]))

    async def _surveyed(self, request: PageRequest) -> Page:
        position, stride = _Position.of(request.position), max(1, request.stride)
        if self._choice.is_compensation:
            return await self._survey_back(request.offset, request.count, position, stride)
        total, positions, stride = await self._survey(request.offset, request.count, position, stride)
        return Page(total=total, positions=[one.to_dict() for one in positions], stride=stride)

    async def _paged(self, request: PageRequest) -> tuple[Page, Sequence[Payload]]:
        position = _Position.of(request.position)
        return await (self._page_back if self._choice.is_compensation else self._page)(request, position)

    # -- forwards

    async def _rows(self, position: _Position | None) -> AsyncGenerator[tuple[int, Row], None]:
        """The chosen rows with their numbers, from the position on."""
        choice, number = self._choice, position.number if position else 0
        listing = Listing(self._client, choice.workflow_id, choice.first_run, choice.last_run)
        ahead = READ_AHEAD if position is None else 1
        async with contextlib.aclosing(listing.rows(position.mark if position else None, ahead)) as rows:
            async for row in rows:
                if choice.takes(row):
                    yield number, row
                    number += 1

    async def _survey(
        self, first: int, count: int | None, position: _Position | None, stride: int
    ) -> tuple[int, list[_Position], int]:
        """How many chosen rows there are from number `first` on, and where each `stride`-th of them is."""
        positions: list[_Position] = []
        total = 0
        async with contextlib.aclosing(self._rows(position)) as rows:
            async for number, row in rows:
                if number < first:
                    continue
                if total == count:
                    break
                self._choice.start(row, self._args)
                if total % stride == 0:
                    positions.append(_Position(number, row.mark))
                    if len(positions) > POSITIONS:
                        positions, stride = positions[::2], stride * 2
                total += 1
        return total, positions, stride

    async def _page(self, request: PageRequest, position: _Position | None) -> tuple[Page, Sequence[Payload]]:
        is_own = position is not None and len(position.mark.place) == _OWN_ITEM
        async with self._kept.reading if is_own else contextlib.nullcontext():  # the others may need the same history
            entries = self._kept.entries(self._key, request.offset) or await self._read(request, position)
        items: list[Payload] = []
        size, after = 0, None
        for entry in entries[: request.limit]:
            size += entry.item.ByteSize()
            if items and size > request.max_bytes:
                break
            items.append(entry.item)
            after = entry.after
        return Page(next=after and after.to_dict()), items

    async def _read(self, request: PageRequest, position: _Position | None) -> list[_Entry]:
        """The items of a page; where they are of one long history, also those that follow in it, which are kept."""
        entries: list[_Entry] = []
        size = 0
        async with contextlib.aclosing(self._rows(position)) as rows:
            async for number, row in rows:
                if number < request.offset:
                    continue
                is_page = len(entries) < request.limit and size < request.max_bytes
                is_long = len(row.mark.place) == _OWN_ITEM and size < KEPT_BYTES
                if entries and not is_page and not (is_long and row.mark.run_id == entries[0].after.mark.run_id):
                    break
                item = await self._item(row)
                size += item.ByteSize()
                entries.append(_Entry(item, _Position(number + 1, row.mark.after(row))))
        if len(entries) > request.limit:
            self._kept.keep(self._key, request.offset, entries)
        return entries

    # -- backwards: item `offset` is that of number `total - 1 - offset`

    async def _survey_back(self, offset: int, count: int | None, position: _Position | None, stride: int) -> Page:
        every = position.total if position else None
        if every is None:
            first, (found, marks, apart) = 0, await self._survey(0, None, None, stride)
            every = found
        else:
            first = 0 if count is None else max(0, every - offset - count)
            start = self._at_or_before(position, first)
            found, marks, apart = await self._survey(first, every - offset - first, start, stride)
        total = every - offset if count is None else min(count, every - offset)
        positions = []
        for at in range(0, total, apart):
            begin = max(first, every - offset - at - apart)
            mark = marks[(begin - first) // apart]
            positions.append(_Position(mark.number, mark.mark, every).to_dict())
        return Page(total=total, positions=positions, stride=apart)

    async def _page_back(self, request: PageRequest, position: _Position | None) -> tuple[Page, Sequence[Payload]]:
        if position is None:
            surveyed = await self._survey_back(0, None, None, request.limit)
            position = _Position.of(surveyed.positions[request.offset // surveyed.stride])
        if position is None or position.total is None:
            raise InvalidInput("position: was not given by this source")
        end = position.total - request.offset
        begin = max(0, end - request.limit)
        items: deque[Payload] = deque()
        size = 0
        async with contextlib.aclosing(self._rows(self._at_or_before(position, begin))) as rows:
            async for number, row in rows:
                if number >= end:
                    break
                if number >= begin:
                    items.appendleft(await self._item(row))
                    size += items[0].ByteSize()
                while size > request.max_bytes and len(items) > 1:
                    size -= items.pop().ByteSize()
        return Page(next=position.to_dict()), list(items)

    def _at_or_before(self, position: _Position | None, number: int) -> _Position | None:
        """The position, unless it comes after this number: then the start of the histories."""
        return position if position is not None and position.number <= number else None

    # -- one item

    async def _item(self, row: Row) -> Payload:
        """The start as an item, its payloads as a workflow has them: without the codec of the worker's client."""
        start = self._choice.start(row, self._args)
        codec = self._client.data_converter.payload_codec
        if codec is not None:
            await pass_through(start, codec.decode)
        return to_item(start)
