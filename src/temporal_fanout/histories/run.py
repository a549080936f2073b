"""Outcomes from histories: what became of every child and activity of any parent, whoever wrote it.

A parent's history holds what the parent saw: each child and activity with its input, its start and its end. A shard of
ours is not an item: its items are in its own history, which is read instead, to any depth. So the items of a shard that
was terminated, of which its parent knows nothing but their number, are known one by one. A child that was open when its
parent closed is asked itself; an activity ended with its workflow, as `terminated`. Activities by which a fan-out reads
its source are no items, and local activities are not told from other markers.

An item that was never started leaves no event. Such items are known as far as something says how many there were:

- of a shard, always: its input has the range of its items;
- of the run itself, if it has one fan-out: its result or its failure, where that is a fan-out's; the survey of the
  source; or that of the run's inputs which is an array and has each item that was started at its place;
- a run that completed is taken to have started all, unless its result is a fan-out's and says otherwise.

Where an item was never started, its input is known from the list of items, or from a page of the source that was read
for it; else only its number is.

An id that occurs twice in one history is one item that its workflow tried again: what became of it last is its outcome.

So what cannot be known is how many items followed the last one that was started, or the last shard that was opened, in
a run that closed before its end and made its items itself, or had several fan-outs (`RunHistory.rest_known` is False);
and what followed in a fan-out whose `FanOutStopped` the run caught.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, TypeAlias

from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.events import Begun, Events, HistoryGone, describe, read_end, read_events, run_ids
from temporal_fanout.histories.inputs import PARENTS
from temporal_fanout.options import FanOutOptions
from temporal_fanout.results import Outcome
from temporal_fanout.source import READ_HISTORY, PageRequest
from temporal_fanout.wire.outcome import Ended
from temporal_fanout.wire.protocol import SHARD_WORKFLOW
from temporal_fanout.wire.starts import ACTIVITY, RECORDED, Start, changed, from_text, pass_through, planned, work_of

READ_AHEAD = 4
"""Shards whose histories are held at once, at most: each has under 5,000 events and 10 MB."""
_ASKED_AT_ONCE = 8
_PAGE_REQUEST = {field.name for field in fields(PageRequest)}

Place: TypeAlias = tuple[int, ...]
"""Where an item stands in the histories of a run: 0 and its number among a workflow's own items, or first, for each
shard on the way, that shard's number from 1 on."""


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of an item; in a parent that is not ours, of a child or an activity."""

    index: int | None
    """Place in the input of its fan-out, from 0; none where it belongs to no fan-out of ours."""
    child_id: str
    """The id of the workflow or of the activity."""
    child_type: str
    """The type of the workflow, or `activity:NAME`."""
    outcome: Outcome | None
    """None: it still runs."""
    inputs: Sequence[Payload] = ()
    """As they stand in the history: the item, then further arguments; empty where only a source has the item."""
    result: Payload | None = None
    """As it stands in the history."""
    error: str = ""
    """The message of the root cause, where it did not complete."""
    type: str = ""
    """The `type` of an `ApplicationError`, else the name of the error's class."""
    started_at: datetime | None = None
    """When its parent started it; none where it was not."""
    seconds: float | None = None
    """From there to its end."""
    run_id: str = ""
    """Of a child, its first run."""
    task_queue: str = ""
    fan_out: str = ""
    """The name of its fan-out, if that has one."""
    parent_id: str = ""
    """The workflow that started it: the run, or a shard of it."""
    attempt: int = 0
    """Of an activity that has ended, its last attempt, from 1 on; of a child its own histories tell: 0."""
    start: Start | None = field(default=None, repr=False, compare=False)
    """The attributes of the event that started it; of one that was not started, how it would have been, if known."""


async def outcomes(client: Client, workflow_id: str, run_id: str | None = None) -> AsyncIterator[ItemOutcome]:
    """What became of every child and activity of a workflow, finished or running, through shards and continue-as-new.

    Those of one fan-out come in the order of its input, in constant memory. Without `run_id`, of the newest run and all
    that it continues; with it, of that run and all that continues it. Raises `HistoryGone`, and `RPCError` when the
    server does not answer.
    """
    runs = [run_id] if run_id else await run_ids(client, workflow_id)
    while runs:
        run = RunHistory(client, workflow_id, runs.pop(0))
        async for item in run.outcomes():
            yield item
        if run.continued_as and not runs:
            runs.append(run.continued_as)


class RunHistory:
    """One run, read once: first its `outcomes`, to their end; then the attributes say what it was."""

    def __init__(self, client: Client, workflow_id: str, run_id: str) -> None:
        self.workflow_id = workflow_id
        self.run_id = run_id
        self.closed = False
        self.outcome: Outcome | None = None
        """How it closed; none while it is open, and where it was continued as new."""
        self.continued_as = ""
        """The run that goes on for this one: it was continued as new, or is tried again."""
        self.settled = True
        """False while anything of it may still end: it is open, or a child or a shard of it is."""
        self.waiting = 0
        """Items that may yet be started, as far as they are known."""
        self.rest_known = True
        """False where it closed before its end, and nothing says how many items it had."""
        self.changed_at = 0.0
        """When an item last started or ended, else when the run started, in seconds since 1970."""
        self._client = client

    async def outcomes(self) -> AsyncIterator[ItemOutcome]:
        """What became of every child and activity of this run, as the function of this name gives it."""
        async for _, item in self.places():
            yield item

    async def places(
        self, start: Place = (), ahead: int = READ_AHEAD
    ) -> AsyncGenerator[tuple[Place, ItemOutcome], None]:
        """The same from the item at `start` on, each with its place; of what comes before, only the parents are read.

        `ahead` is how many shards are read at once. Places stay as they are once the run is `settled`. After a start
        in the middle, the attributes that need every history mean nothing.
        """
        # Nothing but this keeps a part, so that what was read is let go as soon as it was given.
        parts: deque[tuple[Place, _Part]] = deque(
            [((), _Node(self._client, self, self.workflow_id, self.run_id, is_run=True))]
        )
        try:
            while parts:
                _read_ahead([part for _, part in parts], ahead)
                at, part = parts.popleft()
                if isinstance(part, _Node):
                    await part.read()
                    first = _skipped(start, at)
                    if first == 0:
                        own = (*at, 0)
                        for number in range(_skipped(start, own), len(part.items)):
                            yield (*own, number), part.items[number]
                    rest = [((*at, number), one) for number, one in enumerate(part.rest, 1) if number >= first]
                    parts.extendleft(reversed(rest))
                else:
                    skipped, number = _skipped(start, at), 0
                    async for item in part:
                        if number >= skipped:
                            yield (*at, number), item
                        number += 1
        finally:
            for _, part in parts:
                if isinstance(part, _Node):
                    part.cancel()


@dataclass
class _FanOut:
    """What a workflow's history says of a fan-out, or of the part of one that it runs."""

    name: str
    prefix: str
    """Of the ids of its items."""
    work: str
    first: int
    """Index of its first item."""
    end: int
    """Index after the last item that was started, here or in a shard that was opened."""
    total: int | None = None
    """Index after the last of all its items."""
    values: Sequence[Any] | None = None
    """All its items from the first on, where they are known."""
    options: FanOutOptions | None = None
    """Where they are known."""
    start: Start | None = None
    """How the first of its items was started, here."""
    pages: list[tuple[int, list[Any]]] = field(default_factory=list)
    """Of a source, what was read of it here: where a page starts, and its items."""

    @classmethod
    def of_shard(cls, spec: dict[str, Any]) -> _FanOut:
        """Of a shard, from its input: nothing of it is started yet."""
        start, total = spec["start"], spec["start"] + spec["count"]
        options = FanOutOptions.from_dict(spec["options"])
        return cls(spec["name"], spec["item_prefix"], spec["work"], start, start, total, spec.get("items"), options)

    def value(self, index: int) -> tuple[Any, ...]:
        """The item of this index; empty where it is not known."""
        if self.values is not None:
            return (self.values[index - self.first],)
        for first, items in self.pages:
            if first <= index < first + len(items):
                return (items[index - first],)
        return ()


class _Node:
    """One workflow's part of a run: the run's own, or a shard's."""

    def __init__(self, client: Client, run: RunHistory, id: str, run_id: str, is_run: bool = False) -> None:
        self.items: list[ItemOutcome] = []
        """In the order in which they were started."""
        self.rest: list[_Part] = []
        """What follows them: its shards, and what was not started."""
        self._client = client
        self._run = run
        self._id = id
        self._run_id = run_id
        self._is_run = is_run
        self._task: asyncio.Task[None] | None = None
        self._events: Events
        self._shard: _FanOut | None = None
        """The part of the fan-out that this workflow runs, if it is a shard."""
        self._fan_outs: dict[str, _FanOut] = {}
        self._shards: list[_FanOut] = []
        self._next: dict[str, int] = {}
        self._surveyed: list[int] = []
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
            await self._learn_totals()
        if len(self._fan_outs) == 1:
            next(iter(self._fan_outs.values())).pages = self._pages
        for fan_out in self._fan_outs.values():
            if fan_out.total is not None and fan_out.end < fan_out.total:
                if events.close is None:
                    run.waiting += fan_out.total - fan_out.end
                else:
                    self.rest.append(self._not_started(fan_out))
        del self._events, self._shards  # with their payloads

    # -- items

    async def _add(self, one: Begun) -> None:
        inputs = one.attributes.input.payloads
        if one.is_activity and await self._is_reading(one):
            return
        if one.type == SHARD_WORKFLOW and _is_spec(spec := await self._value(inputs)):
            await self._add_shard(one, _FanOut.of_shard(spec))
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
        fan_out = self._fan_outs.setdefault(name, _FanOut(name, prefix, one.type, first, first))
        fan_out.end = max(fan_out.end, index + 1)
        fan_out.start = fan_out.start or one.attributes
        return index, name

    async def _is_reading(self, one: Begun) -> bool:
        """Whether a fan-out reads its source by this activity: nothing else is asked by a `PageRequest`."""
        inputs = one.attributes.input.payloads
        is_plain = self._client.data_converter.payload_codec is None
        if not inputs or (is_plain and b'"max_bytes"' not in inputs[0].data):
            return False
        request = await self._value(inputs)
        if not isinstance(request, dict) or request.keys() != _PAGE_REQUEST:
            return False
        self._is_recorded |= one.type == ACTIVITY + READ_HISTORY
        if one.end is not None and one.end.outcome is Outcome.COMPLETED:
            page = await self._value(one.end.attributes.result.payloads)
            if request["limit"] and isinstance(page, dict) and isinstance(page.get("items"), list):
                self._pages.append((request["offset"], page["items"]))
            if not request["limit"] and isinstance(page, dict) and _is_count(page.get("total")):
                self._surveyed.append(page["total"])
        return True

    # -- shards

    async def _own_part(self) -> _FanOut:
        spec = await self._value(self._events.started.input.payloads)
        if not _is_spec(spec):
            raise InvalidInput(
                f"{self._id}: the input of this shard cannot be read: has this client its data converter?"
            )
        return _FanOut.of_shard(spec)

    async def _add_shard(self, one: Begun, part: _FanOut) -> None:
        self._shards.append(part)
        whole = self._fan_outs.setdefault(part.name, _FanOut(part.name, part.prefix, part.work, 0, 0))
        whole.end = max(whole.end, part.total or 0)
        whole.options = whole.options or part.options
        if one.run_id:
            self.rest.append(_Node(self._client, self._run, one.id, one.run_id))
        elif one.end is not None or self._events.close is not None:
            self.rest.append(self._not_started(part, await one.ended(self._client.data_converter)))
        else:
            self._run.waiting += (part.total or 0) - part.first

    # -- what was not started

    async def _not_started(self, part: _FanOut, why: Ended | None = None) -> AsyncIterator[ItemOutcome]:
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

    async def _model(self, part: _FanOut) -> Start:
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

    async def _learn_totals(self) -> None:
        """How many items the fan-outs of the run have, as far as that can be known: see above."""
        run, events = self._run, self._events
        if not self._fan_outs and (read_input := PARENTS.get(events.started.workflow_type.name)):
            await self._learn_from_input(read_input)
        if len(self._fan_outs) == 1 and not run.continued_as:
            await self._learn_total(*self._fan_outs.values())
        if run.closed and run.outcome is not Outcome.COMPLETED and not run.continued_as:
            totals = [fan_out.total for fan_out in self._fan_outs.values()]
            run.rest_known = None not in totals if totals else await self._said() is not None

    async def _learn_from_input(self, read_input: Callable[[Sequence[Any]], Any]) -> None:
        """A parent that has not started anything yet says in its input what it will start."""
        if self._run.outcome is Outcome.FAILED:  # its input was refused
            return
        try:
            given = [await self._value([payload]) for payload in self._events.started.input.payloads]
            work, items, options = read_input(given)
        except InvalidInput:
            return
        name = options.name or ""
        prefix = f"{self._id}." + (f"{name}." if name else "")
        values = items if isinstance(items, list) else None
        self._fan_outs[name] = _FanOut(name, prefix, work, 0, 0, values=values, options=options)

    async def _learn_total(self, fan_out: _FanOut) -> None:
        said = await self._said()
        if said is None and self._run.outcome is Outcome.COMPLETED:
            return
        fan_out.values = fan_out.values or await self._given(fan_out)
        if said is not None:
            fan_out.total = said
        elif len(self._surveyed) == 1:
            fan_out.total = self._surveyed[0]
        elif fan_out.values is not None:
            fan_out.total = len(fan_out.values)

    async def _said(self) -> int | None:
        """How many items the run itself says it had, in its result or in the details of its failure."""
        close, payloads = self._events.close, None
        if close is not None and close.outcome is Outcome.COMPLETED:
            payloads = close.attributes.result.payloads
        elif close is not None and close.outcome is Outcome.FAILED:
            payloads = close.attributes.failure.application_failure_info.details.payloads
        said = await self._value(payloads)
        if isinstance(said, dict) and "outcomes" in said and _is_count(said.get("total_children")):
            return int(said["total_children"])
        return None

    async def _given(self, fan_out: _FanOut) -> list[Any] | None:
        """That of the run's inputs which lists the items: an array with each item that was started at its place."""
        started = [(item.index, await self._value(item.inputs)) for item in self.items if item.index is not None]
        for payload in self._events.started.input.payloads:
            values = await self._value([payload])
            if (
                isinstance(values, list)
                and len(values) >= fan_out.end
                and all(values[index] == value for index, value in started)
                and all(values[shard.first : shard.total] == shard.values for shard in self._shards)
            ):
                return values
        return None

    async def _value(self, payloads: Sequence[Payload] | None) -> Any:
        """The first value; none where there is none, or none that can be read."""
        if not payloads:
            return None
        try:
            return (await self._client.data_converter.decode(payloads[:1]))[0]
        except Exception:  # of whatever converter or codec
            return None


_Part: TypeAlias = _Node | AsyncIterator[ItemOutcome]


def _read_ahead(parts: Iterable[_Part], ahead: int) -> None:
    nodes = [part for part in parts if isinstance(part, _Node)]
    idle = [node for node in nodes if not node.is_begun]
    for node in idle[: max(0, ahead - len(nodes) + len(idle))]:
        node.begin()


def _skipped(start: Place, at: Place) -> int:
    """How many parts of what is at this place come before the start."""
    return start[len(at)] if len(start) > len(at) and start[: len(at)] == at else 0


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


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
