"""The algorithm: a tree of workflows, each of which runs a bounded part of the items.

A node of the tree holds *units*: an item, which takes one lane while it runs, or a range of items, which becomes a
shard: a child workflow with a node of its own, which takes the lanes that it is given. Lanes are what limits
concurrency. A node starts units while it has free lanes; one that has nothing left to start gives the lanes it no
longer needs back to its parent, which opens the next shard with them, or passes them to one that can use them. So at
any moment the lanes of all nodes together are at most `max_concurrency`, and a straggler holds one lane, not a shard's.
What an operator asks changes how many lanes a run has: none while it is paused.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import FailureError

from temporal_fanout.checks import InvalidInput
from temporal_fanout.engine import pages, telemetry
from temporal_fanout.engine.control import Control
from temporal_fanout.engine.pages import SourceError
from temporal_fanout.engine.runner import caller_for
from temporal_fanout.engine.shards import Shards
from temporal_fanout.engine.tally import Tally
from temporal_fanout.options import FanOutOptions
from temporal_fanout.results import Failure, FanOutStopped, Outcome, SourceFailed, ToleratedFailureExceeded
from temporal_fanout.wire.outcome import Ended, root_cause
from temporal_fanout.wire.payloads import as_json
from temporal_fanout.wire.protocol import REPORT

LANES_PER_SHARD = 50
"""Lanes of a shard while others wait to be opened, so that a run of 100 lanes has two shards at work."""
MAX_SHARDS = 50
"""Shards of one node, at most, which keeps its history under 5,000 events; more items nest deeper."""
SLICE_BYTES = 1024 * 1024
"""Of the items that a shard is given with its start; the server refuses a payload over 2 MiB."""
HISTORY_BYTES = 5 * 1024 * 1024
"""History over which a node hands the items that it has not started to a fresh shard."""
RELEASE_SECONDS = 1.0
"""How long a few idle lanes may stay with a shard that has nothing left to start; doubled each time."""
RELEASE_HALF_SECONDS = 0.5
"""The same where half of its lanes are idle: each release costs events of the shard and of its parent."""
PACE_SECONDS = 0.25
"""The shortest timer of a run under a rate of starts: each costs events."""
PACE_CREDIT_SECONDS = 1.0
"""Starts missed for so long are made up for: the server's timers are up to a second late."""


@dataclass(frozen=True)
class Item:
    index: int
    payload: Payload
    before: Held | None = None
    """Of an item that was held and is to run again."""


@dataclass(frozen=True)
class Range:
    """Items that a shard will run: of the list given, or of the source from `position` on."""

    start: int
    count: int
    items: Sequence[Any] | None = None
    position: Any = None


Unit: TypeAlias = Item | Range


@dataclass(frozen=True)
class Held:
    """An item that did not complete and waits for a person, who runs it again or skips it."""

    item: Item
    id: str
    ended: Ended
    seconds: float


async def run_shard(spec: dict[str, Any]) -> dict[str, Any]:
    """The whole of a shard: its part of the items, and the tally that its parent adds to its own."""
    node = Node(spec, Control.of_workflow())
    return (await node.run()).to_wire(node.stop)


class Node:
    """One workflow's part of a fan-out."""

    def __init__(self, spec: dict[str, Any], control: Control) -> None:
        self._spec = spec
        self._control = control
        self._options = FanOutOptions.from_dict(spec["options"])
        self._caller = caller_for(spec["work"], self._options)
        self._units: deque[Unit] = deque([Range(spec["start"], spec["count"])])
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._items: set[str] = set()
        self._held: dict[int, Held] = {}
        self._shards = Shards(self._look_again, self._caller.starts_a_child)
        self._items_open = 0
        self._opened = 0
        self._largest_result: int = spec.get("largest_result", 0)
        self._tally = Tally(spec["result_bytes"])
        self._lanes: int = spec["lanes"]
        self._limit: int = spec["limit"]
        self._paused_at: float | None = None
        self._began = workflow.time()
        """Moved on by the time of each pause, so that the time since is that at work."""
        self._asked = self._done = 0
        self._heard = self._sent = 0
        self._answer = False
        self._draining = False
        self._told_tail = False
        self._next_start: float | None = None
        self._released = 0.0
        self._release_at: float | None = None
        self._release_after = RELEASE_SECONDS
        self._alarm: asyncio.Task[None] | None = None
        self._changed = False
        self._full = False
        self._error: BaseException | None = None
        self._cancel = False
        self.is_open = True
        self.is_shard: bool = spec["is_shard"]
        self.stop: dict[str, str] | None = None
        self.teller = telemetry.Teller(spec["work"], spec["name"], spec["origin"], spec["start"])
        control.add(spec["name"], self)

    # -- what there is to do

    async def _load(self) -> list[Unit]:
        """The units: items where they fit into one history, else ranges of them."""
        start, count, source = self._spec["start"], self._spec["count"], self._spec.get("source")
        if count > self._options.shard_size:
            return await self._load_ranges(start, count, source)
        values, rest = self._spec.get("items", ()), []
        if source and count:
            page = await pages.page(source, start, count, self._spec.get("position"))
            values, got = page["items"], len(page["items"])
            if got < count:
                rest.append(Range(start + got, count - got, position=page.get("next")))
        convert = workflow.payload_converter()
        return [Item(index, convert.to_payload(value)) for index, value in enumerate(values, start)] + rest

    async def _load_ranges(self, start: int, count: int, source: dict[str, Any] | None) -> list[Unit]:
        stride = self._options.shard_size
        positions: list[Any] = []
        if source is not None:
            survey, position = self._spec.get("survey"), self._spec.get("position")
            if survey is None and position is not None:
                survey = await pages.survey(source, start, count, position, stride)
            if survey and survey.get("positions"):
                stride, positions = survey["stride"], survey["positions"]
        size = stride
        while size * MAX_SHARDS < count:
            size *= MAX_SHARDS
        items = self._spec.get("items")
        return [
            Range(
                start + at,
                min(size, count - at),
                items=None if items is None else items[at : at + size],
                position=positions[at // stride] if positions else None,
            )
            for at in range(0, count, size)
        ]

    # -- the loop

    async def run(self) -> Tally:
        """Runs the units; returns when each has ended or, once stopped, when what was started has."""
        try:
            self._units = deque(await self._load())
            while True:
                self._changed = self._full = False
                if self._error is not None:
                    raise self._error
                if self.stop is None:
                    self._shards.share(self._may_use() - self._items_open, self._limit, self._most)
                    self._start()
                else:
                    self._end_what_runs()
                self._done = self._asked
                self._report()
                if not self._tasks and not self._held and (self.stop is not None or not self._units):
                    break
                await workflow.wait_condition(self._has_changed)
        except (SourceError, InvalidInput) as error:  # of a source that was good when it was surveyed
            self._stop_with(SourceFailed.__name__, error.message)
        except asyncio.CancelledError:
            await workflow.wait_condition(lambda: not self._caller.starting)
            for task in self._tasks.values():
                task.cancel()
            await workflow.wait_condition(lambda: not self._tasks)
            if not self.is_shard:
                raise
        finally:
            self.is_open = False
            if self._alarm is not None:
                self._alarm.cancel()
        self._give_up_held()
        self._tally.count(Outcome.NOT_STARTED, self._unstarted())
        await workflow.wait_condition(lambda: self._control.is_idle)
        return self._tally

    def _has_changed(self) -> bool:
        return self._changed or (self._full and self._control.is_new_task()) or self._can_cancel()

    def _can_cancel(self) -> bool:
        """Whether items are to be cancelled, and now: none of them is about to start."""
        return self._cancel and bool(self._items) and not self._caller.starting

    def _look_again(self) -> None:
        self._changed = True

    def _may_use(self) -> int:
        return 0 if self._paused_at is not None else self._lanes

    def _used(self) -> int:
        return self._items_open + self._shards.holds

    def _unstarted(self) -> int:
        return sum(1 if isinstance(unit, Item) else unit.count for unit in self._units)

    def _start(self) -> None:
        free = self._may_use() - self._used()
        while free > 0 and self._units:
            unit = self._units[0]
            too_long = workflow.info().get_current_history_size() > HISTORY_BYTES
            if isinstance(unit, Item) and unit.before is None and too_long:
                self._hand_over()
            elif isinstance(unit, Item) and self._start_item(unit):
                free -= 1
            elif isinstance(unit, Range) and (lanes := self._open_shard(unit, free)):
                free -= lanes
            else:
                return

    def _start_item(self, item: Item) -> bool:
        if (self._items_open + 1) * self._largest_result > HISTORY_BYTES and self._items_open:
            return False
        if not self._task_takes(len(item.payload.data) + self._caller.overhead) or self._must_pace():
            return False
        self._units.popleft()
        self._items_open += 1
        id = f"{self._spec['item_prefix']}{item.index}"
        self._items.add(id)
        self._spawn(id, self._run_item(id, item))
        return True

    async def _run_item(self, id: str, item: Item) -> None:
        began = workflow.time()
        self.teller.started(item.index)
        try:
            ended = await self._caller.call(id, item.payload)
        except asyncio.CancelledError as error:
            ended = root_cause(error, "")
        self._items_open -= 1
        self._items.discard(id)
        if ended.outcome is Outcome.COMPLETED:
            self.teller.finished(item.index, id, ended, workflow.time() - began)
            value, size = self._caller.shown(item.payload), len(item.payload.data)
            result_size = len(ended.result.data) if ended.result else 0
            self._largest_result = max(self._largest_result, result_size)
            self._tally.completed(item.index, value, as_json(ended.result), size + result_size)
            return
        held = Held(item, id, ended, workflow.time() - began)
        if self._options.on_failure == "hold" and self.stop is None:
            self.teller.held(item.index, id, ended)
            self._held[item.index] = held
        else:
            self._fail(held)

    def _fail(self, held: Held) -> None:
        item, ended = held.item, held.ended
        self.teller.finished(item.index, held.id, ended, held.seconds)
        failure = Failure(item.index, self._caller.shown(item.payload), ended.outcome, ended.error, ended.type)
        self._tally.failed(failure, len(item.payload.data))
        self._check_tolerance()

    def _must_pace(self) -> bool:
        """Whether the rate of starts asks to wait; a shard's part of the rate is its part of the lanes."""
        rate = self._options.starts_per_second
        if rate is None:
            return False
        now = workflow.time()
        due = now if self._next_start is None else max(self._next_start, now - PACE_CREDIT_SECONDS)
        if due > now:
            self._wake_in(max(due - now, PACE_SECONDS))
            return True
        self._next_start = due + self._limit / (rate * self._lanes)
        return False

    def _task_takes(self, size: int) -> bool:
        """Whether one more start of so many bytes fits into this workflow task; the next task asks again."""
        if self._control.takes(size):
            return True
        self._full = True
        self._wake_in(0.001)
        return False

    def _hand_over(self) -> None:
        """Makes one range of the items that were not started: this history has no room for their results."""
        items = [unit for unit in self._units if isinstance(unit, Item) and unit.before is None]
        self._units = deque(unit for unit in self._units if isinstance(unit, Range) or unit.before is not None)
        values = [as_json(item.payload) for item in items]
        self._units.appendleft(Range(items[0].index, len(items), values))

    # -- shards

    def _open_shard(self, unit: Range, free: int) -> int:
        """Opens a shard with as many lanes as it may have of the free ones; returns how many, 0 if it must wait."""
        id = f"{self._spec['id']}.s{self._opened}"
        while True:
            lanes = min(free, self._most(unit.count))
            payload = workflow.payload_converter().to_payload(self._shard_spec(id, unit, lanes))
            if len(payload.data) <= SLICE_BYTES or unit.items is None or unit.count == 1:
                break
            unit = self._halve(unit, unit.items)
        if not self._task_takes(len(payload.data)):
            return 0
        self._units.popleft()
        self._opened += 1
        self._shards.add(id, unit.count, lanes, self._limit)
        self._spawn(id, self._run_shard(id, unit, payload))
        return lanes

    def _most(self, count: int) -> int:
        """The lanes that a shard of `count` items takes: fewer while others wait."""
        return min(count, LANES_PER_SHARD * -(-count // self._options.shard_size)) if self._units else count

    def _shard_spec(self, id: str, unit: Range, lanes: int) -> dict[str, Any]:
        own = self._spec
        most, tolerated = own["result_bytes"], own["tolerated"]
        spec = {key: own[key] for key in ("work", "options", "item_prefix", "name", "origin")} | {
            "id": id,
            "is_shard": True,
            "start": unit.start,
            "count": unit.count,
            "lanes": lanes,
            "limit": self._limit,
            "tolerated": None if tolerated is None else tolerated - self._failures(),
            "result_bytes": min(most, 2 * most * unit.count // own["count"]),
            "largest_result": self._largest_result,
        }
        if unit.items is not None:
            return spec | {"items": unit.items}
        return spec | {"source": own["source"], "position": unit.position}

    def _halve(self, unit: Range, items: Sequence[Any]) -> Range:
        half = unit.count // 2
        self._units[0] = first = Range(unit.start, half, items[:half])
        self._units.insert(1, Range(unit.start + half, unit.count - half, items[half:]))
        return first

    async def _run_shard(self, id: str, unit: Range, spec: Payload) -> None:
        stop = None
        try:
            raw = await self._shards.run(id, spec)
        except (FailureError, asyncio.CancelledError) as error:
            ended = root_cause(error, "it was closed before its end")
            message = f"shard {id} was lost with the outcomes of its {unit.count} items: {ended.error}"
            self._tally.failed(Failure(unit.start, None, ended.outcome, message, ended.type), 0, unit.count)
        else:
            wire = json.loads(raw.payload.data)
            self._tally.merge(wire, len(raw.payload.data))
            stop = wire["stop"]
        self._check_tolerance()
        self.stop = self.stop or stop

    def _end_what_runs(self) -> None:
        """Once stopped: shards start nothing more; what was held has failed; what runs is cancelled, if so asked."""
        self._give_up_held()
        self._shards.stop(self._cancel)
        if self._can_cancel():
            for id in sorted(self._items):
                self._tasks[id].cancel()
            self._items.clear()

    # -- what a shard and its parent tell one another

    def set_lanes(self, message: dict[str, Any]) -> None:
        """From the parent: the lanes that this shard may use from now on."""
        if message["shard"] == self._spec["id"] and message["seq"] > self._heard:
            self._heard, self._lanes, self._limit = message["seq"], message["lanes"], message["limit"]
            self._answer |= message["answer"]
            self._changed = True

    def set_stop(self, message: dict[str, Any]) -> None:
        """From the parent: start nothing more."""
        if message["shard"] == self._spec["id"]:
            self._cancel |= message["cancel"]
            self._stop_with(FanOutStopped.__name__, "stopped by its parent")

    def set_report(self, message: dict[str, Any]) -> None:
        """From a shard: what it holds, and how many of its items failed."""
        self._shards.hear(message)
        self._check_tolerance()

    def _report(self) -> None:
        """Tells the parent what it waits for, and gives lanes back that are in use no more or have no use."""
        if not self.is_shard or (not self._tasks and not self._held and not self._units):
            return
        used, has_units = self._used(), bool(self._units) or self._shards.want
        over = used - self._lanes
        if self._answer and self._shards.keep_to(self._limit):
            self._send_report(max(used, self._lanes), has_units)
            self._draining = over > 0
        elif self._draining and over <= 0:
            self._draining = False
            self._send_report(self._lanes, has_units)
        elif has_units:
            if self._told_tail:  # a held item is to run again
                self._send_report(max(used, self._lanes), True)
        elif over < 0 and self._gives_back(-over):
            self._lanes = used
            self._send_report(used, False)

    def _gives_back(self, idle: int) -> bool:
        """Whether it is time to give idle lanes back: at once if many, else after a while."""
        now = workflow.time()
        if self._release_at is None:
            self._released, self._release_at = now - RELEASE_HALF_SECONDS, now + RELEASE_SECONDS
        early = 2 * idle >= self._lanes and now >= self._released + RELEASE_HALF_SECONDS
        if not early and now < self._release_at:
            self._wake_in(self._release_at - now)
            return False
        self._release_after *= 2
        self._released, self._release_at = now, now + self._release_after
        return True

    def _send_report(self, holds: int, has_units: bool) -> None:
        self._answer = False
        self._told_tail = not has_units
        self._sent += 1
        parent = workflow.info().parent
        if parent is not None:
            message = {"shard": self._spec["id"], "seq": self._sent, "heard": self._heard, "holds": holds}
            message |= {"has_units": has_units, "failures": self._failures()}
            self._shards.signal(parent.workflow_id, REPORT, message)

    # -- what an operator asks

    def progress(self) -> dict[str, Any]:
        """What is known here: the open shards know more, each of its own part."""
        finished = sum(self._tally.outcomes.values())
        now = time.time() if self._paused_at is None else self._paused_at  # a query may ask the clock
        seconds = max(0.0, now - self._began)
        rate = finished / seconds if seconds else 0.0
        return {
            "total": self._spec["count"],
            "outcomes": {str(outcome): n for outcome, n in self._tally.outcomes.items()},
            "in_flight": self._items_open,
            "held": len(self._held),
            "paused": self._paused_at is not None,
            "seconds_at_work": round(seconds, 3),
            "items_per_second": round(rate, 3),
            "seconds_left": round((self._spec["count"] - finished) / rate, 3) if rate else None,
            "stopped": None if self.stop is None else self.stop["message"],
            "max_concurrency": self._lanes,
            "open_shards": self._shards.ids,
        }

    def held(self) -> list[dict[str, Any]]:
        """The items that wait here for a person; those of open shards wait there."""
        return [
            {
                "index": index,
                "child_id": held.id,
                "input": self._caller.shown(held.item.payload),
                "outcome": str(held.ended.outcome),
                "error": held.ended.error,
                "type": held.ended.type,
            }
            for index, held in sorted(self._held.items())
        ]

    async def pause(self, paused: bool) -> None:
        if paused:
            self._paused_at = self._paused_at or workflow.time()
        elif self._paused_at is not None:
            self._began += workflow.time() - self._paused_at
            self._paused_at = None
        await self._settled()

    async def resize(self, max_concurrency: int) -> None:
        self._lanes = self._limit = max_concurrency
        await self._settled()

    def abort(self, cancel: bool) -> None:
        self._cancel |= cancel
        self._stop_with(FanOutStopped.__name__, "aborted by an operator")

    def release(self, items: Sequence[int] | None, skip: bool, given: dict[str, Any]) -> list[int]:
        """Runs held items again, with another input where one is given, or lets them be failures."""
        chosen = sorted(self._held if items is None else set(items) & self._held.keys())
        for index in reversed(chosen):
            held = self._held.pop(index)
            payload = held.item.payload
            if given:
                payload = self._caller.given(payload, given["input"])
            if skip:
                self._fail(held)
            else:
                self._units.appendleft(Item(index, payload, before=held))
        self._changed |= bool(chosen)
        return chosen

    def _give_up_held(self) -> None:
        """What waits for a person, or for its next try, when the run is stopped: it has failed."""
        self.release(None, True, {})
        units, self._units = self._units, deque()
        for unit in units:
            if isinstance(unit, Item) and unit.before is not None:
                self._fail(unit.before)
            else:
                self._units.append(unit)

    async def _settled(self) -> None:
        """Waits until what was asked holds for this node and for its shards, or nothing is left to hold it for."""
        self._asked += 1
        asked, self._changed = self._asked, True
        await workflow.wait_condition(
            lambda: (
                not self.is_open or self.stop is not None or (self._done >= asked and self._shards.keep_to(self._limit))
            )
        )

    def _failures(self) -> int:
        return self._tally.failures + self._shards.failures

    def _check_tolerance(self) -> None:
        tolerated = self._spec["tolerated"]
        if tolerated is not None and self._failures() > tolerated:
            message = f"more items failed than the {max(0, tolerated)} that are tolerated"
            self._stop_with(ToleratedFailureExceeded.__name__, message)

    def _stop_with(self, type: str, message: str) -> None:
        if self.stop is None:
            self.stop = {"type": type, "message": message}
        self._changed = True

    # -- tasks

    def _spawn(self, id: str, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks[id] = task
        task.add_done_callback(lambda done: self._ended(id, done))

    def _ended(self, id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[id]
        self._changed = True
        if not task.cancelled() and task.exception() is not None:
            self._error = task.exception()

    def _wake_in(self, seconds: float) -> None:
        async def sleep() -> None:
            await workflow.sleep(seconds)
            self._alarm = None
            self._changed = True

        if self._alarm is None:
            self._alarm = asyncio.create_task(sleep())
