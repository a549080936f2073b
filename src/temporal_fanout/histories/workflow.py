"""One workflow's part of a run, from its own history: a parent's, of whoever wrote it, or a shard's.

A parent's history holds what the parent saw: each child and activity with its input, its start and its end. A shard of
ours is not an item: its items are in its own history, which is read instead, to any depth. A child that was open when
its parent closed is asked itself; an activity ended with its workflow, as `terminated`. Activities by which a fan-out
reads its source are no items, and local activities are not told from other markers.

Where an item was never started, its input is known from the list of items, or from a page of the source that was read
for it; else only its number is.

An id that occurs twice in one history is one item that its workflow tried again: what became of it last is its outcome.
The same holds for an id that was taken and the one under which the item was started then, with `.a2`, `.a3`, … after
it; and for an item that waited for a person and was handed to a fresh shard, with which its last try is.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

from temporalio.api.enums.v1 import ParentClosePolicy
from temporalio.client import Client

from temporal_fanout.histories.events import Begun, End, Events, HistoryGone, describe, read_end, read_events
from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.pages import Pages
from temporal_fanout.histories.parts import Blanks, Part, read_shard
from temporal_fanout.histories.shards import Shard, gaps, lost_items, runs, without_overlaps
from temporal_fanout.histories.totals import RunState, Totals
from temporal_fanout.results import Outcome
from temporal_fanout.wire.outcome import Ended
from temporal_fanout.wire.protocol import SHARD_WORKFLOW, HeldSpec

_ASKED_AT_ONCE = 8
_AGAIN = re.compile(r"\.a[0-9]+$")
"""After an id that was taken."""
_ITEM = re.compile(r"(?:([^.]+)\.)?([0-9]+)(?:\.a[0-9]+)?")
"""What follows the parent's id in that of an item: the fan-out's name, if it has one, and the index."""


class Node:
    """One workflow's part of a run: the run's own, or a shard's."""

    def __init__(
        self, client: Client, run: RunState, id: str, run_id: str, is_run: bool = False, seen: Shard | None = None
    ) -> None:
        """`seen` is what its parent's history holds of a shard."""
        self.items: list[ItemOutcome] = []
        """In the order in which they were started."""
        self.rest: list[Section] = []
        """What follows them: its shards, and what was not started."""
        self.held: set[int] = set()
        """Indexes of those of its items that it was handed and did not start."""
        self._client = client
        self._run = run
        self._id = id
        self._run_id = run_id
        self._is_run = is_run
        self._seen = seen.begun if seen else None
        self._indexes = seen.indexes if seen else None
        self._task: asyncio.Task[None] | None = None
        self._events: Events
        self._part: Part | None = None
        """The part of the fan-out that this workflow runs, if it is a shard."""
        self._fan_outs: dict[str, Part] = {}
        self._shards: list[Shard] = []
        self._next: dict[str, int] = {}
        self._pages = Pages(client)
        self._gone: set[str] = set()
        """Children that were open when this workflow closed, and whose histories are gone."""
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

    async def every(self) -> AsyncIterator[ItemOutcome]:
        """Its items, and all that follow them."""
        await self.read()
        for item in self.items:
            yield item
        for section in self.rest:
            async for item in section.every() if isinstance(section, Node) else section:
                yield item

    async def _read(self) -> None:
        try:
            self._events = events = await read_events(self._client, self._id, self._run_id)
        except HistoryGone:
            if self._seen is None:
                raise
            self.rest.append(self._lost(self._seen))
            return
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
            await self._learn_own_part()
        for one in _last_starts(events.begun):
            await self._add(one)
        if self._part is not None:  # items that were handed to it have run in any order
            self.items.sort(key=lambda item: -1 if item.index is None else item.index)
        await self._lay_out()
        del self._events, self._shards  # with their payloads

    async def _lost(self, seen: Begun) -> AsyncIterator[ItemOutcome]:
        """The items of a shard that has no history any more."""
        run = self._run
        run.lost_shards += 1
        async for item in lost_items(self._client, seen, self._indexes or (), run.closed):
            run.lost_items += 1
            if item.outcome is None:
                run.settled = False
            yield item

    async def _learn_own_part(self) -> None:
        spec, carried = await read_shard(self._client, self._id, self._events.started.input.payloads)
        part = Part.of_shard(spec, carried)
        part.indexes = part.indexes if self._indexes is None else self._indexes
        self._part = self._fan_outs[part.name] = part
        blanks = self._blanks(part)
        for held in map(HeldSpec.from_dict, spec.held):
            ended = Ended(Outcome(held.outcome), error=held.error, type=held.type)
            self.items.append(await blanks.item(held.index, ended, id=held.id, seconds=held.seconds))
            self.held.add(held.index)

    # -- items

    async def _add(self, one: Begun) -> None:
        inputs = one.attributes.input.payloads
        if one.is_activity and await self._pages.take(one):
            return
        if one.type == SHARD_WORKFLOW:
            self._shards.append(await self._shard(one))
            return
        ended = await self._ended(one)
        if ended is None:
            self._run.settled = False
        outcome = ended.outcome if ended else None
        started = outcome is not Outcome.NOT_STARTED
        index, name = self._place(one)
        if index is not None and index in self.held:
            self.held.discard(index)
            self.items = [item for item in self.items if item.index != index]
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
                from_result=one.id in self._gone,
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
        if one.id in self._gone:
            return Ended(Outcome.TERMINATED, error="it was open when its parent closed", type="TerminatedError")
        return None if one.run_id else Ended(Outcome.NOT_STARTED)

    def _seconds(self, one: Begun) -> float:
        end: End | None = one.end or self._events.close
        return max(0.0, end.at - one.at) if end else 0.0

    async def _ask_children(self) -> None:
        """Asks the children that were open when this workflow closed for their end."""
        places = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def ask(one: Begun) -> None:
            async with places:
                one.run_id = one.run_id or await self._run_of(one)
                if not one.run_id or one.type == SHARD_WORKFLOW:
                    return
                try:
                    one.end = await read_end(self._client, one.id, one.run_id)
                except HistoryGone:
                    if one.attributes.parent_close_policy != ParentClosePolicy.PARENT_CLOSE_POLICY_TERMINATE:
                        raise
                    self._gone.add(one.id)

        await asyncio.gather(*(ask(one) for one in self._events.begun if one.end is None and not one.is_activity))

    async def _run_of(self, one: Begun) -> str:
        """The first run of a child that its parent did not see to run; empty if it never was."""
        try:
            child = await describe(self._client, one.id)
        except HistoryGone:
            return ""
        return child.first_run_id if child.parent_execution.run_id == self._run_id else ""

    def _place(self, one: Begun) -> tuple[int | None, str]:
        """Index and fan-out of an item: its id ends in its index, and the run itself starts its items in order."""
        before = self._part.prefix if self._part else f"{self._id}."
        found = _ITEM.fullmatch(one.id.removeprefix(before)) if one.id.startswith(before) else None
        if found is None:
            return None, ""
        name, index = found[1] or "", int(found[2])
        if self._part is not None:
            is_own = not name and index in (self._part.indexes or ())
            return (index, self._part.name) if is_own else (None, "")
        if found[2] != str(self._next.get(name, 0)):
            return None, ""
        self._next[name] = index + 1
        prefix = before + (f"{name}." if name else "")
        fan_out = self._fan_outs.setdefault(name, Part(name, prefix, one.type))
        fan_out.start = fan_out.start or one.attributes
        return index, name

    # -- shards, and what was not started

    async def _shard(self, one: Begun) -> Shard:
        shard = await Shard.read(self._client, one)
        spec = shard.spec
        if self._part is None:
            whole = self._fan_outs.setdefault(spec.name, Part(spec.name, spec.item_prefix, spec.work))
            if whole.options is None:
                part = shard.part
                whole.options, whole.args, whole.memo = part.options, part.args, part.memo
        return shard

    async def _lay_out(self) -> None:
        """Puts the shards, and what is known of items that were not started, after the items that were."""
        own_indexes = self._part.indexes if self._part else None
        ranges = without_overlaps([shard for shard in self._shards if shard.spec.indexes is None], own_indexes)
        for shard in self._shards:
            if shard.spec.indexes is not None:
                await self._overlay(shard)
        if self._part is None:
            totals = Totals(self._client, self._id, self._events, self._fan_outs, self._pages.surveyed)
            await totals.learn(self._run, self.items, ranges)
        if len(self._fan_outs) == 1:
            [part] = self._fan_outs.values()
            part.items.update(self._pages.items)
            part.is_recorded |= self._pages.are_recorded
        for name, part in self._fan_outs.items():
            shards = [shard for shard in ranges if shard.spec.name == name]
            own = runs(item.index for item in self.items if item.index is not None and item.fan_out == name)
            taken = [*own, *(shard.indexes for shard in shards)]
            end = max((one[-1] + 1 for one in taken), default=0)
            left = gaps(range(end) if part.indexes is None else part.indexes, taken)
            sections: list[Shard | Sequence[int]] = sorted([*shards, *left], key=_first_index)
            for section in sections:
                if isinstance(section, Shard):
                    self._follow(section, part)
                elif self._events.close is None:
                    self._run.waiting += len(section)
                else:
                    self.rest.append(self._not_started(part, section))

    def _follow(self, shard: Shard, part: Part) -> None:
        one = shard.begun
        if one.run_id:
            self.rest.append(Node(self._client, self._run, one.id, one.run_id, seen=shard))
        elif one.end is not None or self._events.close is not None:
            self.rest.append(self._not_started(shard.part, shard.indexes, one))
        else:
            self._run.waiting += len(shard.indexes)

    async def _overlay(self, shard: Shard) -> None:
        """Puts what became of held items in the shard that they were handed to in their place."""
        one = shard.begun
        if not one.run_id:
            return
        node = Node(self._client, self._run, one.id, one.run_id, seen=shard)
        found = [item async for item in node.every()]
        own = {item.index: item for item in self.items if item.index is not None and item.fan_out == shard.spec.name}
        if any(item.is_unnamed for item in found):
            for index in shard.indexes:
                own.pop(index, None)
        for item in found:
            if item.index is not None and (item.index not in node.held or item.index not in own):
                own[item.index] = item
                self.held.discard(item.index)
        others = [item for item in self.items if item.index is None or item.fan_out != shard.spec.name]
        unnamed = [item for item in found if item.index is None]
        self.items = [*others, *unnamed, *(own[index] for index in sorted(own))]

    async def _not_started(
        self, part: Part, indexes: Sequence[int], shard: Begun | None = None
    ) -> AsyncIterator[ItemOutcome]:
        """Those of a part that were never started; `shard` is the one that should have."""
        why = await shard.ended(self._client.data_converter) if shard else None
        ended = replace(why, outcome=Outcome.NOT_STARTED) if why else Ended(Outcome.NOT_STARTED)
        blanks = self._blanks(part)
        for index in indexes:
            yield await blanks.item(index, ended)

    def _blanks(self, part: Part) -> Blanks:
        return Blanks(self._client, part, self._task_queue, self._id)


Section: TypeAlias = Node | AsyncIterator[ItemOutcome]
"""Items that follow one another: those of a workflow, or some that were not started."""


def _first_index(section: Shard | Sequence[int]) -> int:
    indexes = section.indexes if isinstance(section, Shard) else section
    return indexes[0]


def _last_starts(begun: Iterable[Begun]) -> Iterable[Begun]:
    """One of each id, the last, at the place of the first. One that found its id taken counts only if it is alone.

    What is started under another id, since its own was taken, counts as started under its own.
    """
    last: dict[tuple[bool, str], Begun] = {}
    taken: set[tuple[bool, str]] = set()
    for one in begun:
        key = one.is_activity, _AGAIN.sub("", one.id)
        if key not in taken:
            key = one.is_activity, one.id
        is_refused = one.end is not None and one.end.is_start_failure
        if is_refused:
            taken.add(key)
        if key not in last or not is_refused:
            last[key] = one
    return last.values()
