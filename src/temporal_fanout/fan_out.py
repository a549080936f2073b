"""The algorithm: a tree of workflows, each of which runs a bounded part of the items.

A node of the tree holds *units*: an item, which takes one lane while it runs, or a range of items, which becomes a
shard: a child workflow with a node of its own, which takes the lanes that it is given. Lanes are what limits
concurrency. A node starts units while it has free lanes; one that has nothing left to start gives the lanes it no
longer needs back to its parent, which opens the next shard with them, or passes them to one that can use them. So at
any moment the lanes of all nodes together are at most `max_concurrency`, and a straggler holds one lane, not a shard's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

from temporal_fanout import sources, telemetry
from temporal_fanout.control import HELD, LANES, STOP, Control
from temporal_fanout.metrics import RECORDER
from temporal_fanout.models import (
    Failure,
    FanOutOptions,
    FanOutResult,
    FanOutStopped,
    InvalidInput,
    Outcome,
    Source,
    SourceFailed,
    ToleratedFailureExceeded,
)
from temporal_fanout.sources import SourceError
from temporal_fanout.tally import Tally
from temporal_fanout.work import ACTIVITY, Caller, as_json, as_json_values, encoded_size, name_of, root_cause

SHARD_WORKFLOW = "FanOutShard"

LANES_PER_SHARD = 50
"""Lanes of a shard while others wait to be opened, so that a run of 100 lanes has two shards at work."""
MAX_SHARDS = 50
"""Shards of one node, at most, which keeps its history under 5,000 events; more items nest deeper."""
LIST_BYTES = 4 * 1024 * 1024
"""Of a list of items, at most: each passes through the history of its parent."""
SLICE_BYTES = 1024 * 1024
"""Of the items that a shard is given with its start; the server refuses a payload over 2 MiB."""
HISTORY_BYTES = 5 * 1024 * 1024
"""History over which a node hands the items that it has not started to a fresh shard."""
ID_BYTES = 1000
"""Of a workflow id, at most, as the server has it."""
RELEASE_SECONDS = 1.0
"""How long a few idle lanes may stay with a shard that has nothing left to start; doubled each time."""
RELEASE_HALF_SECONDS = 0.5
"""The same where half of its lanes are idle: each release costs events of the shard and of its parent."""
PACE_SECONDS = 0.25
"""The shortest timer of a run under a rate of starts: each costs events."""
PACE_CREDIT_SECONDS = 1.0
"""Starts missed for so long are made up for: the server's timers are up to a second late."""


_STOPS = {cls.__name__: cls for cls in (FanOutStopped, ToleratedFailureExceeded, SourceFailed)}


@dataclass(frozen=True)
class Item:
    index: int
    payload: Payload


@dataclass(frozen=True)
class Range:
    """Items that a shard will run: of the list given, or of the source from `position` on."""

    start: int
    count: int
    items: Sequence[Any] | None = None
    position: Any = None


Unit: TypeAlias = Item | Range


@dataclass
class Open:
    """A shard at work, as its parent knows it."""

    id: str
    start: int
    count: int
    lanes: int
    tail: bool = False
    """It has nothing left to start: lanes only come back from it."""
    failures: int = 0
    stopped: bool = False
    sent: int = 0
    heard: int = 0


async def fan_out(work: Any, items: Sequence[Any] | Source, options: FanOutOptions | None = None) -> FanOutResult:
    """Runs `work` once for every item, under limits, and returns what became of each.

    `work` is a child workflow (class, run method or name) or an activity (function, or `activity:NAME`). `items` is a
    list of JSON values, at most 1 MiB each and 4 MiB together, or a `Source`. Call it from a workflow whose worker has
    the `FanOutPlugin`.

    A failed item is part of the result, never an exception. Raises `ToleratedFailureExceeded` when more failed than
    the options tolerate, `SourceFailed` when the source did, each with the result so far, and `InvalidInput` for
    input that cannot work.
    """
    if not workflow.unsafe.is_replaying() and RECORDER not in workflow.extern_functions():
        raise InvalidInput("plugins: this worker lacks the FanOutPlugin; create it with plugins=[FanOutPlugin()]")
    options = options or FanOutOptions()
    control = Control.of_workflow()
    try:
        spec = await _root_spec(name_of(work), items, options, control.name_for(options.name))
    except SourceError as error:
        raise SourceFailed(error.message, SourceFailed.__name__, Tally(0).result()) from None
    node = Node(spec, control)
    result = (await node.run()).result()
    if node.stop is not None:
        counts = (
            f"{result.success_count} completed, {result.failure_count} failed, {result.not_started_count} not started"
        )
        message = f"{node.stop['message']} ({counts})"
        if node.stop["type"] == ToleratedFailureExceeded.__name__:
            node.teller.breached(message)
        raise _STOPS[node.stop["type"]](message, node.stop["type"], result)
    return result


async def run_shard(spec: dict[str, Any]) -> dict[str, Any]:
    """The whole of a shard: its part of the items, and the tally that its parent adds to its own."""
    node = Node(spec, Control.of_workflow())
    return (await node.run()).to_wire(node.stop)


async def _root_spec(work: str, items: Any, options: FanOutOptions, name: str) -> dict[str, Any]:
    prefix = workflow.info().workflow_id + (f".{name}" if name else "")
    if len(prefix.encode()) > ID_BYTES - 100:
        raise InvalidInput(f"workflow id: must leave 100 of {ID_BYTES} bytes for its children's, not {prefix[:40]}…")
    spec: dict[str, Any] = {
        "work": work,
        "options": options.to_dict() | {"args": as_json_values(options.args, "args")},
        "id": prefix,
        "is_shard": False,
        "item_prefix": prefix + ".",  # of activities too: a plain number may be the SDK's id of one of the parent's
        "name": name,
        "origin": telemetry.origin(),
        "start": 0,
        "lanes": options.max_concurrency,
        "result_bytes": options.max_result_bytes,
    }
    if isinstance(items, Source):
        activity = name_of(items.activity).removeprefix(ACTIVITY)
        source: dict[str, Any] = {"activity": activity, "args": as_json_values(items.args, "source.args")}
        source |= {"task_queue": items.task_queue, "timeout": items.timeout.total_seconds()}
        survey = await sources.survey(source, stride=options.shard_size)
        spec |= {"source": source, "count": survey["total"], "survey": survey}
    elif isinstance(items, Sequence) and not isinstance(items, str | bytes):
        if encoded_size(items, "items") > LIST_BYTES:
            raise InvalidInput(f"items: take over {LIST_BYTES // 1024**2} MiB together; give a Source instead")
        spec |= {"items": items, "count": len(items)}
    else:
        raise InvalidInput(f"items: must be a list or a Source, not {type(items).__name__}")
    return spec | {"tolerated": options.tolerated(spec["count"])}


class Node:
    """One workflow's part of a fan-out."""

    def __init__(self, spec: dict[str, Any], control: Control) -> None:
        self._spec = spec
        self._control = control
        self._options = FanOutOptions.from_dict(spec["options"])
        self._caller = Caller(spec["work"], self._options)
        self._is_shard = spec["is_shard"]
        self._units: deque[Unit] = deque([Range(spec["start"], spec["count"])])
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._shards: dict[str, Open] = {}
        self._signals: set[asyncio.Task[None]] = set()
        self._items_open = 0
        self._opened = 0
        self._largest_result: int = spec.get("largest_result", 0)
        self._tally = Tally(spec["result_bytes"])
        self._lanes: int = spec["lanes"]
        self._heard = 0
        self._sent = 0
        self._next_start: float | None = None
        self._released = 0.0
        self._release_at: float | None = None
        self._release_after = RELEASE_SECONDS
        self._alarm: asyncio.Task[None] | None = None
        self._changed = False
        self._full = False
        self._error: BaseException | None = None
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
            page = await sources.page(source, start, count, self._spec.get("position"))
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
                survey = await sources.survey(source, start, count, position, stride)
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
                    self._grant()
                    self._start()
                    self._release()
                else:
                    self._stop_shards()
                if not self._tasks and (self.stop is not None or not self._units):
                    break
                await workflow.wait_condition(self._has_changed)
        except (SourceError, InvalidInput) as error:  # of a source that was good when it was surveyed
            self._stop_with(SourceFailed.__name__, error.message)
        except asyncio.CancelledError:
            await workflow.wait_condition(lambda: not self._caller.starting)
            for task in self._tasks.values():
                task.cancel()
            await workflow.wait_condition(lambda: not self._tasks)
            if not self._is_shard:
                raise
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
        self._tally.count(Outcome.NOT_STARTED, self._unstarted())
        return self._tally

    def _has_changed(self) -> bool:
        return self._changed or (self._full and self._control.is_new_task())

    def _used(self) -> int:
        return self._items_open + sum(shard.lanes for shard in self._shards.values())

    def _unstarted(self) -> int:
        return sum(1 if isinstance(unit, Item) else unit.count for unit in self._units)

    def _start(self) -> None:
        free = self._lanes - self._used()
        while free > 0 and self._units:
            unit = self._units[0]
            if isinstance(unit, Item) and workflow.info().get_current_history_size() > HISTORY_BYTES:
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
        self.teller.finished(item.index, id, ended, workflow.time() - began)
        value, size = as_json(item.payload), len(item.payload.data)
        if ended.outcome is Outcome.COMPLETED:
            result_size = len(ended.result.data) if ended.result else 0
            self._largest_result = max(self._largest_result, result_size)
            self._tally.completed(item.index, value, as_json(ended.result), size + result_size)
        else:
            self._tally.failed(Failure(item.index, value, ended.outcome, ended.error, ended.type), size)
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
        self._next_start = due + self._options.max_concurrency / (rate * self._lanes)
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
        items = [unit for unit in self._units if isinstance(unit, Item)]
        self._units = deque(unit for unit in self._units if isinstance(unit, Range))
        values = [as_json(item.payload) for item in items]
        self._units.appendleft(Range(items[0].index, len(items), values))

    # -- shards

    def _open_shard(self, unit: Range, free: int) -> int:
        """Opens a shard with as many lanes as it may have of the free ones; returns how many, 0 if it must wait."""
        id = f"{self._spec['id']}.s{self._opened}"
        while True:
            lanes = min(free, unit.count, self._cap(unit.count))
            payload = workflow.payload_converter().to_payload(self._shard_spec(id, unit, lanes))
            if len(payload.data) <= SLICE_BYTES or unit.items is None or unit.count == 1:
                break
            unit = self._halve(unit, unit.items)
        if not self._task_takes(len(payload.data)):
            return 0
        self._units.popleft()
        self._opened += 1
        shard = self._shards[id] = Open(id, unit.start, unit.count, lanes)
        self._spawn(id, self._run_shard(shard, payload))
        return lanes

    def _shard_spec(self, id: str, unit: Range, lanes: int) -> dict[str, Any]:
        own = self._spec
        most, tolerated = own["result_bytes"], own["tolerated"]
        spec = {key: own[key] for key in ("work", "options", "item_prefix", "name", "origin")} | {
            "id": id,
            "is_shard": True,
            "start": unit.start,
            "count": unit.count,
            "lanes": lanes,
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

    def _stop_shards(self) -> None:
        for shard in self._shards.values():
            if not shard.stopped:
                shard.stopped = True
                self._signal(shard.id, STOP)

    async def _run_shard(self, shard: Open, spec: Payload) -> None:
        stop = None
        try:
            with self._caller.starts_a_child():
                handle = await workflow.start_child_workflow(
                    SHARD_WORKFLOW, RawValue(spec), id=shard.id, result_type=RawValue
                )
            raw: RawValue = await handle
        except (FailureError, asyncio.CancelledError) as error:
            ended = root_cause(error, "it was closed before its end")
            message = f"shard {shard.id} was lost with the outcomes of its {shard.count} items: {ended.error}"
            self._tally.failed(Failure(shard.start, None, ended.outcome, message, ended.type), 0, shard.count)
        else:
            wire = json.loads(raw.payload.data)
            self._tally.merge(wire, len(raw.payload.data))
            stop = wire["stop"]
        del self._shards[shard.id]
        self._check_tolerance()
        self.stop = self.stop or stop

    def _cap(self, count: int) -> int:
        """The lanes that a shard of `count` items takes while others wait."""
        return LANES_PER_SHARD * -(-count // self._options.shard_size)

    def _grant(self) -> None:
        """Gives free lanes to the open shards that can use them."""
        free = self._lanes - self._used()
        for shard in self._shards.values():
            most = min(shard.count, self._cap(shard.count)) if self._units else shard.count
            more = min(free, most - shard.lanes)
            if more > 0 and not shard.tail:
                free -= more
                shard.lanes += more
                shard.sent += 1
                self._signal(shard.id, LANES, {"shard": shard.id, "seq": shard.sent, "lanes": shard.lanes})

    def _release(self) -> None:
        """Gives back to the parent the lanes for which nothing is left: at once if many, else after a while."""
        idle = self._lanes - self._used()
        if self._units or not self._is_shard or not idle or not self._tasks:
            return
        now = workflow.time()
        if self._release_at is None:
            self._released, self._release_at = now - RELEASE_HALF_SECONDS, now + RELEASE_SECONDS
        early = 2 * idle >= self._lanes and now >= self._released + RELEASE_HALF_SECONDS
        if not early and now < self._release_at:
            self._wake_in(self._release_at - now)
            return
        self._lanes -= idle
        self._release_after *= 2
        self._released, self._release_at = now, now + self._release_after
        self._sent += 1
        message = {"shard": self._spec["id"], "seq": self._sent, "lanes": self._lanes, "failures": self._failures()}
        parent = workflow.info().parent
        if parent is not None:
            self._signal(parent.workflow_id, HELD, message)

    # -- what it hears

    def set_lanes(self, message: dict[str, Any]) -> None:
        """From the parent: the lanes that this shard has from now on."""
        if message["shard"] == self._spec["id"] and message["seq"] > self._heard:
            self._heard, self._lanes, self._changed = message["seq"], message["lanes"], True

    def set_held(self, message: dict[str, Any]) -> None:
        """From a shard: it has nothing left to start, and these lanes still hold an item."""
        shard = self._shards.get(message["shard"])
        if shard is not None and message["seq"] > shard.heard:
            shard.heard, shard.lanes, shard.failures = message["seq"], message["lanes"], message["failures"]
            shard.tail = True
            self._check_tolerance()
            self._changed = True

    def request_stop(self) -> None:
        """From the parent: start nothing more."""
        self._stop_with(FanOutStopped.__name__, "stopped by its parent")

    def progress(self) -> dict[str, Any]:
        """What is known here: the open shards know more, each of its own part."""
        return {
            "total": self._spec["count"],
            "outcomes": {str(outcome): n for outcome, n in self._tally.outcomes.items()},
            "in_flight": self._items_open,
            "max_concurrency": self._lanes,
            "open_shards": list(self._shards),
        }

    def _failures(self) -> int:
        return self._tally.failures + sum(shard.failures for shard in self._shards.values())

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

    def _signal(self, id: str, name: str, *message: Any) -> None:
        async def send() -> None:
            with contextlib.suppress(FailureError):  # it has closed meanwhile, and its lanes with it
                await workflow.get_external_workflow_handle(id).signal(name, args=message)

        task = asyncio.create_task(send())
        self._signals.add(task)
        task.add_done_callback(self._signals.discard)

    def _wake_in(self, seconds: float) -> None:
        async def sleep() -> None:
            await workflow.sleep(seconds)
            self._alarm = None
            self._changed = True

        if self._alarm is None:
            self._alarm = asyncio.create_task(sleep())
