"""One workflow's part of a run, from its own history: a parent's, of whoever wrote it, or a shard's.

A parent's history holds what the parent saw: each child and activity with its input, its start and its end. A shard of
ours is not an item: its items are in its own history, which is read instead, to any depth. A child that was open when
its parent closed is asked itself; an activity ended with its workflow, as `terminated`. Activities by which a fan-out
reads its source are no items, and local activities are not told from other markers.

Where an item was never started, its input is known from the list of items, or from a page of the source that was read
for it; else only its number is.

An id that occurs twice in one history is one item that its workflow tried again: what became of it last is its outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeAlias

from temporalio.client import Client

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.events import Begun, Events, HistoryGone, describe, read_end, read_events
from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.totals import Part, RunState, Totals
from temporal_fanout.histories.values import first_value, is_count
from temporal_fanout.options import FanOutOptions
from temporal_fanout.results import Outcome
from temporal_fanout.source import READ_HISTORY, PageRequest
from temporal_fanout.wire.outcome import Ended
from temporal_fanout.wire.protocol import SHARD_WORKFLOW
from temporal_fanout.wire.starts import ACTIVITY, RECORDED, Start, changed, from_text, pass_through, planned, work_of

_ASKED_AT_ONCE = 8
_PAGE_REQUEST = {field.name for field in fields(PageRequest)}


class Node:
    """One workflow's part of a run: the run's own, or a shard's."""

    def __init__(self, client: Client, run: RunState, id: str, run_id: str, is_run: bool = False) -> None:
        self.items: list[ItemOutcome] = []
        """In the order in which they were started."""
        self.rest: list[Section] = []
        """What follows them: its shards, and what was not started."""
        self._client = client
        self._run = run
        self._id = id
        self._run_id = run_id
        self._is_run = is_run
        self._task: asyncio.Task[None] | None = None
        self._events: Events
        self._shard: Part | None = None
        """The part of the fan-out that this workflow runs, if it is a shard."""
        self._fan_outs: dict[str, Part] = {}
        self._shards: list[Part] = []
        self._next: dict[str, int] = {}
        self._totals: Totals
        self._pages: list[tuple[int, list[Any]]] = []
        self._is_recorded = False
        self._task_queue = ""

    @property
    def is_begun(self) -> bool:
        return self._task is not None

    def begin(self) -> asyncio.Task[None]:
        """Reads it meanwhile."""
        self._task = self._task or asyncio.create_task(self._read())
        return self._task

    async def read(self) -> None:
        await self.begin()

    def cancel(self) -> None:
        if self._task is not None and not self._task.cancel() and not self._task.cancelled():
            self._task.exception()  # which nobody will ask for

    async def _read(self) -> None:
        self._events = events = await read_events(self._client, self._id, self._run_id)
        self._task_queue = events.started.task_queue.name
        self._totals = Totals(self._client, self._id, events, self._fan_outs)
        run = self._run
        run.changed_at = max(run.changed_at, events.changed_at)
        if self._is_run:
            run.closed, run.continued_as = events.close is not None, events.continued_as
            run.outcome = events.close.outcome if events.close else None
        if events.close is None:
            run.settled = False
        else:
            await self._ask_children()
        if events.started.workflow_type.name == SHARD_WORKFLOW:
            self._shard = await self._own_part()
            self._fan_outs[self._shard.name] = self._shard
            self._is_recorded = self._shard.work.startswith(RECORDED)
        for one in _last_starts(events.begun):
            await self._add(one)
        if self._shard is None:
            await self._totals.learn(run, self.items, self._shards)
        if len(self._fan_outs) == 1:
            next(iter(self._fan_outs.values())).pages = self._pages
        for fan_out in self._fan_outs.values():
            if fan_out.total is not None and fan_out.end < fan_out.total:
                if events.close is None:
                    run.waiting += fan_out.total - fan_out.end
                else:
                    self.rest.append(self._not_started(fan_out))
        del self._events, self._shards, self._totals  # with their payloads

    # -- items

    async def _add(self, one: Begun) -> None:
        inputs = one.attributes.input.payloads
        if one.is_activity and await self._is_reading(one):
            return
        if one.type == SHARD_WORKFLOW and _is_spec(spec := await first_value(self._client, inputs)):
            await self._add_shard(one, Part.of_shard(spec))
            return
        ended = await self._ended(one)
        if ended is None:
            self._run.settled = False
        outcome = ended.outcome if ended else None
        started = outcome is not Outcome.NOT_STARTED
        index, name = self._place(one)
        self.items.append(
            ItemOutcome(
                index=index,
                child_id=one.id,
                child_type=one.type,
                outcome=outcome,
                inputs=tuple(inputs),
                result=ended.result if ended else None,
                error=ended.error if ended else "",
                type=ended.type if ended else "",
                started_at=datetime.fromtimestamp(one.at, UTC) if started else None,
                seconds=self._seconds(one) if started and ended else None,
                run_id=one.run_id,
                task_queue=one.attributes.task_queue.name,
                fan_out=name,
                parent_id=self._id,
                attempt=one.attempt,
                start=one.attributes,
            )
        )

    async def _ended(self, one: Begun) -> Ended | None:
        """None: it still runs."""
        ended = await one.ended(self._client.data_converter)
        if ended is not None or self._events.close is None:
            return ended
        if one.is_activity:
            return Ended(Outcome.TERMINATED, error="it was open when its workflow closed", type="TerminatedError")
        return None if one.run_id else Ended(Outcome.NOT_STARTED)

    def _seconds(self, one: Begun) -> float:
        end = one.end or self._events.close
        return max(0.0, end.at - one.at) if end else 0.0

    async def _ask_children(self) -> None:
        """Asks the children that were open when this workflow closed for their end."""
        places = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def ask(one: Begun) -> None:
            async with places:
                one.run_id = one.run_id or await self._run_of(one)
                if one.run_id and one.type != SHARD_WORKFLOW:
                    one.end = await read_end(self._client, one.id, one.run_id)

        await asyncio.gather(*(ask(one) for one in self._events.begun if one.end is None and not one.is_activity))

    async def _run_of(self, one: Begun) -> str:
        """The first run of a child that its parent did not see to run; empty if it never was."""
        try:
            child = await describe(self._client, one.id)
        except HistoryGone:
            return ""
        return child.first_run_id if child.parent_execution.run_id == self._run_id else ""

    def _place(self, one: Begun) -> tuple[int | None, str]:
        """Index and fan-out of an item: a fan-out starts them in order, with ids that end in their index."""
        if self._shard is not None:
            before, first = self._shard.prefix, self._shard.first
        else:
            before, first = f"{self._id}.", 0
        if not one.id.startswith(before):
            return None, ""
        name, _, number = one.id[len(before) :].rpartition(".")
        if self._shard is not None:
            name = self._shard.name
        index = self._next.get(name, first)
        if number != str(index):
            return None, ""
        self._next[name] = index + 1
        prefix = one.id.removesuffix(number)
        fan_out = self._fan_outs.setdefault(name, Part(name, prefix, one.type, first, first))
        fan_out.end = max(fan_out.end, index + 1)
        fan_out.start = fan_out.start or one.attributes
        return index, name

    async def _is_reading(self, one: Begun) -> bool:
        """Whether a fan-out reads its source by this activity: nothing else is asked by a `PageRequest`."""
        inputs = one.attributes.input.payloads
        is_plain = self._client.data_converter.payload_codec is None
        if not inputs or (is_plain and b'"max_bytes"' not in inputs[0].data):
            return False
        request = await first_value(self._client, inputs)
        if not isinstance(request, dict) or request.keys() != _PAGE_REQUEST:
            return False
        self._is_recorded |= one.type == ACTIVITY + READ_HISTORY
        if one.end is not None and one.end.outcome is Outcome.COMPLETED:
            page = await first_value(self._client, one.end.attributes.result.payloads)
            if request["limit"] and isinstance(page, dict) and isinstance(page.get("items"), list):
                self._pages.append((request["offset"], page["items"]))
            if not request["limit"] and isinstance(page, dict) and is_count(page.get("total")):
                self._totals.surveyed.append(page["total"])
        return True

    # -- shards

    async def _own_part(self) -> Part:
        spec = await first_value(self._client, self._events.started.input.payloads)
        if not _is_spec(spec):
            raise InvalidInput(
                f"{self._id}: the input of this shard cannot be read: has this client its data converter?"
            )
        return Part.of_shard(spec)

    async def _add_shard(self, one: Begun, part: Part) -> None:
        self._shards.append(part)
        whole = self._fan_outs.setdefault(part.name, Part(part.name, part.prefix, part.work, 0, 0))
        whole.end = max(whole.end, part.total or 0)
        whole.options = whole.options or part.options
        if one.run_id:
            self.rest.append(Node(self._client, self._run, one.id, one.run_id))
        elif one.end is not None or self._events.close is not None:
            self.rest.append(self._not_started(part, await one.ended(self._client.data_converter)))
        else:
            self._run.waiting += (part.total or 0) - part.first

    # -- what was not started

    async def _not_started(self, part: Part, why: Ended | None = None) -> AsyncIterator[ItemOutcome]:
        model = await self._model(part)
        for index in range(part.end, part.total or 0):
            start = await self._would_be(model, part.value(index))
            yield ItemOutcome(
                index,
                f"{part.prefix}{index}",
                work_of(start) if start and work_of(start) else part.work.removeprefix(RECORDED),
                Outcome.NOT_STARTED,
                tuple(start.input.payloads) if start else (),
                error=why.error if why else "",
                type=why.type if why else "",
                task_queue=start.task_queue.name if start else "",
                fan_out=part.name,
                parent_id=self._id,
                start=start if start and work_of(start) else None,
            )

    async def _model(self, part: Part) -> Start:
        """How the items of a fan-out are started: as its first was, else as its options say; nameless if unknown."""
        if part.start is not None:
            return part.start
        if part.options is None:
            return await planned("", FanOutOptions(), "", self._client.data_converter)
        return await planned(part.work, part.options, self._task_queue, self._client.data_converter)

    async def _would_be(self, model: Start, value: tuple[Any, ...]) -> Start | None:
        """The start of an item that was not started; none where its input is not known."""
        if not value:
            return None
        converter = self._client.data_converter
        if self._is_recorded:
            start = from_text(value[0])
            if converter.payload_codec is not None:
                await pass_through(start, converter.payload_codec.encode)
            return start
        start = changed(model, {})
        start.input.payloads[0].CopyFrom((await converter.encode(value))[0])
        return start


Section: TypeAlias = Node | AsyncIterator[ItemOutcome]
"""Items that follow one another: those of a workflow, or some that were not started."""


def _last_starts(begun: Iterable[Begun]) -> Iterable[Begun]:
    """One of each id, the last, at the place of the first. One that found its id taken counts only if it is alone."""
    last: dict[tuple[bool, str], Begun] = {}
    for one in begun:
        is_refused = one.end is not None and one.end.is_start_failure
        if (one.is_activity, one.id) not in last or not is_refused:
            last[one.is_activity, one.id] = one
    return last.values()


def _is_spec(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.get("is_shard"))
