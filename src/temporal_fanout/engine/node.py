"""The algorithm: a tree of workflows, each of which runs a bounded part of the items.

A node of the tree holds *units*: an item, which takes one lane while it runs, or a range of items, which becomes a
shard: a child workflow with a node of its own, which takes the lanes that it is given. Lanes are what limits
concurrency. A node starts units while it has free lanes; one that has nothing left to start gives the lanes it no
longer needs back to its parent, which opens the next shard with them, or passes them to one that can use them. So at
any moment the lanes of all nodes together are at most `max_concurrency`, and a straggler holds one lane, not a shard's.
What an operator asks changes how many lanes a run has: none while it is paused (see `steering`).
"""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import FailureError

from temporal_fanout.checks import InvalidInput
from temporal_fanout.engine.alarm import Alarm
from temporal_fanout.engine.budget import has_events
from temporal_fanout.engine.caller import caller_for
from temporal_fanout.engine.control import Control
from temporal_fanout.engine.holds import Held, Holds
from temporal_fanout.engine.lease import Lease
from temporal_fanout.engine.loading import Loader
from temporal_fanout.engine.opening import Lent, Opening
from temporal_fanout.engine.pace import Pace
from temporal_fanout.engine.pages import SourceError, Survey
from temporal_fanout.engine.runner import Runner
from temporal_fanout.engine.shards import Shards
from temporal_fanout.engine.steering import Steering
from temporal_fanout.engine.tally import Tally
from temporal_fanout.engine.tasks import Tasks
from temporal_fanout.engine.telemetry import Teller
from temporal_fanout.engine.units import Item, Range, Rest, Units
from temporal_fanout.results import FanOutStopped, Outcome, SourceFailed, ToleratedFailureExceeded
from temporal_fanout.wire.outcome import Ended, root_cause
from temporal_fanout.wire.protocol import (
    SHARD_WORKFLOW,
    Carried,
    HeldSpec,
    ReportMessage,
    ShardSpec,
    StartOptions,
    tuning_of,
)


class Node:
    """One workflow's part of a fan-out."""

    def __init__(
        self, spec: ShardSpec, carried: Carried, control: Control, is_shard: bool, survey: Survey | None = None
    ) -> None:
        """`survey` is that of the whole source, which only the root has."""
        self.spec = spec
        self.is_shard = is_shard
        self.tuning = tuning = tuning_of(spec)
        self.carried = carried
        self.control = control
        self.caller = caller_for(spec.work, StartOptions.from_dict(spec.start_options), carried.args, carried.memo)
        self.teller = Teller(spec.work, spec.name, spec.origin, spec.start)
        self.tally = Tally(spec.result_bytes)
        self.units = Units()
        self.holds = Holds()
        self.lease = Lease(spec.lanes, spec.limit, spec.rate, tuning)
        self.tasks = Tasks(self.look_again)
        self.runner = Runner(self.caller, self.tasks, spec.item_prefix, self._ended)
        self.shards = Shards(self.caller, self.look_again)
        self.steering = Steering(self)
        self.stop: dict[str, str] | None = None
        """Why it starts nothing more: `type` and `message`."""
        self.is_open = True
        self._loader = Loader(spec, carried, survey)
        self._opening = Opening(spec, carried)
        self._pace = Pace(spec.rate, spec.first_at, tuning.pace_credit_seconds)
        self._stagger = Pace(spec.rate, spec.first_at, 0)  # spreads the first starts of shards
        self._alarm = Alarm()
        self._timer: asyncio.Task[None] | None = None
        self._largest_result = spec.largest_result
        self._reading = False
        self._given_back: Rest | None = None
        self._reports = 0
        self._changed = self._full = False
        control.add(spec.name, self)

    # -- the loop

    async def run(self) -> Tally:
        """Runs the units; returns when each has ended or, once stopped, when what was started has."""
        try:
            await self._load()
            while True:
                self._changed = self._full = False
                self._alarm.begin()
                if self.tasks.error is not None:
                    raise self.tasks.error
                if self.stop is None:
                    self._start()
                else:
                    self._end_what_runs()
                self.steering.done()
                self._report()
                if not self.tasks and not self.holds and (self.stop is not None or not self.units):
                    break
                self._set_timer()
                await workflow.wait_condition(self._has_changed)
        except asyncio.CancelledError:
            await workflow.wait_condition(lambda: not self.caller.starting)
            self.tasks.cancel_all()
            await workflow.wait_condition(lambda: not self.tasks)
            if not self.is_shard:
                raise
        finally:
            self.is_open = False
            if self._timer is not None:
                self._timer.cancel()
        self._give_up_held()
        self.tally.count(Outcome.NOT_STARTED, self.units.unstarted)
        await workflow.wait_condition(lambda: self.control.is_idle)
        return self.tally

    async def _load(self) -> None:
        try:
            self.units = Units(await self._loader.load())
        except (SourceError, InvalidInput) as error:
            self.units = Units([Range(self.spec.start, self.spec.count)])
            self.stop_with(SourceFailed.__name__, error.message)
        again = {}
        for one in map(HeldSpec.from_dict, self.spec.held):
            again[one.index] = one
        if not again:
            return
        items, self.units = self.units, Units()
        while items:
            item = items.take()
            assert isinstance(item, Item)  # noqa: S101 - items that were handed on are in their spec
            if (held := again.get(item.index)) is None:
                self.units.put_last(item)
                continue
            self.holds.add(Held.of_spec(held, item.payload))
            if held.again:
                self.holds.run_again(self.holds.waiting([item.index]))
                self.units.put_last(Item(item.index, item.payload, again=True))

    def look_again(self) -> None:
        """Something has changed."""
        self._changed = True

    def _has_changed(self) -> bool:
        new_task = self._full and self.control.is_new_task()
        return self._changed or new_task or (self.stop is not None and self.steering.cancels and self.runner.can_cancel)

    # -- starting

    @property
    def used(self) -> int:
        """Lanes in use, here and below."""
        return self.runner.open + self.shards.lending.holds

    @property
    def failures(self) -> int:
        """Items that failed so far, here and below."""
        return self.tally.failures + self.shards.lending.failures

    def _start(self) -> None:
        lease = self.lease
        self.shards.share(lease.may_use - self.runner.open, lease.limit, lease.rate, self._most)
        now = workflow.time()
        lent = self.shards.lending.rate
        self._pace.change(lease.rate and max(lease.rate - lent, lease.rate * _OWN_SHARE) if lent else lease.rate, now)
        self._stagger.change(lease.rate, now)
        free = lease.may_use - self.used
        while free > 0 and self.units and not self._reading:
            unit = self.units.first
            if isinstance(unit, Range):
                lanes = self._open_shard(unit, free)
            elif not self._has_room(_PAGES * self.tuning.slice_bytes if isinstance(unit, Rest) else 0):
                self._hand_over(unit)
                continue
            elif isinstance(unit, Item):
                lanes = self._start_item(unit)
            else:
                self._read(unit)
                return
            if not lanes:
                return
            free -= lanes

    def _has_room(self, size: int) -> bool:
        """Whether this history takes one more item, and so many bytes."""
        info = workflow.info()
        open_shards = len(self.shards.lending.ids)
        return info.get_current_history_size() + size <= self.tuning.history_bytes and has_events(
            info.get_current_history_length(), self.runner.open, open_shards
        )

    def _start_item(self, item: Item) -> int:
        if (self.runner.open + 1) * self._largest_result > self.tuning.history_bytes and self.runner.open:
            return 0
        now = workflow.time()
        if (wait := self._pace.wait(now)) > 0:
            self._alarm.ask(now + max(wait, self.tuning.pace_seconds))
            return 0
        if not self._task_takes(self.caller.size(item.payload)):
            return 0
        self._pace.book(now)
        self.units.take()
        self.holds.started(item.index)
        self.teller.started(item.index)
        self.runner.start(item.index, item.payload)
        return 1

    def _task_takes(self, size: int) -> bool:
        """Whether one more start of so many bytes fits into this workflow task; the next task asks again."""
        if self.control.takes(size, self.tuning):
            return True
        self._full = True
        self._alarm.ask(workflow.time() + 0.001)
        return False

    def _ended(self, index: int, payload: Payload, id: str, ended: Ended, seconds: float) -> None:
        """An item has."""
        if ended.outcome is Outcome.COMPLETED:
            self.teller.finished(index, id, ended, seconds)
            self._largest_result = max(self._largest_result, ended.result.ByteSize() if ended.result else 0)
            self.tally.completed(index, self._value(index, payload), ended.result)
            return
        held = Held(index, payload, id, ended, seconds)
        if self.spec.on_failure == "hold" and self.stop is None:
            self.teller.held(index, id, ended)
            self.holds.add(held)
        else:
            self.fail(held)

    def fail(self, held: Held) -> None:
        """An item has, for good."""
        self.teller.finished(held.index, held.id, held.ended, held.seconds)
        self.tally.failed(held.index, self._value(held.index, held.payload), held.ended)
        self._check_tolerance()

    def _value(self, index: int, payload: Payload) -> Payload | None:
        """The item as results have it; none in a shard where the root has it."""
        if self.spec.with_values or self.spec.indexes is not None:
            return self.caller.shown(payload)
        return None if self.is_shard and payload == self.item(index) else payload

    # -- what this history has no room for

    def _hand_over(self, unit: Item | Rest) -> None:
        if isinstance(unit, Rest):
            self.units.take()
            if self.is_shard and self._given_back is None:
                self._given_back = unit  # the parent opens another shard for it, so that shards do not nest ever deeper
            else:
                self.units.put_first([Range(unit.start, unit.count, position=unit.position)])
        elif unit.again:
            self._hand_on_holds()
        else:
            self.units.hand_over(self.runner.started or self.spec.shard_size)

    def _hand_on_holds(self) -> None:
        """All held items go to a fresh shard, with those that run again."""
        self.units.take_again()
        every = self.holds.hand_on()
        self.units.put_first(
            [
                Range(
                    every[0][0].index,
                    len(every),
                    [held.payload for held, _ in every],
                    indexes=tuple(held.index for held, _ in every),
                    held=tuple(held.to_spec(again) for held, again in every),
                )
            ]
        )

    def _read(self, rest: Rest) -> None:
        """The next page of a source."""

        async def read() -> None:
            try:
                self.units.put_first(await self._loader.read(rest))
            except (SourceError, InvalidInput) as error:
                self.units.put_first([rest])
                self.stop_with(SourceFailed.__name__, error.message)
            except asyncio.CancelledError:
                self.units.put_first([rest])
            finally:
                self._reading = False

        self._reading = True
        self.units.take()
        self.tasks.spawn(f"page {rest.start}", read())

    # -- shards

    def _open_shard(self, unit: Range, free: int) -> int:
        """Opens a shard with as many lanes as it may have of the free ones; returns how many, 0 if it must wait."""
        while self._opening.is_too_large(unit):
            self.units.halve_first()
            first = self.units.first
            assert isinstance(first, Range)  # noqa: S101 - a half of one
            unit = first
        if not self._task_takes(self._opening.size(unit)):
            return 0
        lanes = min(free, self._most(unit.count))
        now, rate = workflow.time(), self._rate_of(lanes)
        first_at = now + self._stagger.wait(now)
        self._stagger.book(now)
        self.units.take()
        tolerated = self.spec.tolerated
        lent = Lent(
            lanes,
            self.lease.limit,
            rate,
            first_at,
            None if tolerated is None else tolerated - self.failures,
            self._largest_result,
        )
        spec, carried = self._opening.open(unit, lent)
        self.shards.lending.add(spec.id, unit.count, lanes, lent.limit, rate)
        self.tasks.spawn(spec.id, self._run_shard(spec, carried))
        return lanes

    def _most(self, count: int) -> int:
        """The lanes that a shard of `count` items takes: fewer while others wait."""
        if not self.units.ranges:
            return count
        return min(count, self.tuning.lanes_per_shard * -(-count // self.spec.shard_size))

    def _rate_of(self, lanes: int) -> float | None:
        """The part of the rate that a shard with so many lanes gets: its part of those that will be lent."""
        rate = self.lease.rate
        if rate is None:
            return None
        wanted = sum(self._most(unit.count) for unit in self.units.ranges) + self.shards.lending.lanes_of_takers
        return rate * lanes / max(lanes, min(self.lease.may_use, wanted))

    async def _run_shard(self, spec: ShardSpec, carried: Carried) -> None:
        stop = None
        try:
            result, payloads = await self.shards.run(spec, carried.packed())
        except (FailureError, asyncio.CancelledError) as error:
            count = self.shards.lending.ended(spec.id)
            ended = root_cause(error, SHARD_WORKFLOW)
            message = f"shard {spec.id} was lost with the outcomes of its {count} items: {ended.error}"
            self.tally.failed(spec.start, None, Ended(ended.outcome, error=message, type=ended.type), count)
        else:
            self.shards.lending.ended(spec.id)
            own_items = None if self.spec.with_values or self.is_shard else self.item
            self.tally.merge(result, payloads, own_items)
            stop = result.stop
        self._check_tolerance()
        self.stop = self.stop or stop

    def item(self, index: int) -> Payload | None:
        """An item of the list that was given."""
        return self.carried.items[index - self.spec.start]

    # -- the end

    def stop_with(self, type: str, message: str) -> None:
        """Starts nothing more."""
        if self.stop is None:
            self.stop = {"type": type, "message": message}
        self.look_again()

    def stop_by(self, whom: str) -> None:
        """Its parent or an operator has it start nothing more."""
        self.stop_with(FanOutStopped.__name__, whom)

    def _check_tolerance(self) -> None:
        tolerated = self.spec.tolerated
        if tolerated is not None and self.failures > tolerated:
            message = f"more items failed than the {max(0, tolerated)} that are tolerated"
            self.stop_with(ToleratedFailureExceeded.__name__, message)

    def _end_what_runs(self) -> None:
        """Once stopped: shards start nothing more; what was held has failed; what runs is cancelled, if so asked."""
        self._give_up_held()
        self.shards.stop(self.steering.cancels)
        if self.steering.cancels and self.runner.can_cancel:
            self.runner.cancel()

    def _give_up_held(self) -> None:
        """What waits for a person, or for its next try, when the run is stopped: it has failed."""
        self.units.take_again()
        for held in self.holds.give_up():
            self.fail(held)

    # -- what a shard and its parent tell one another

    def rest(self, now: float) -> None:
        """Nothing was to start until now."""
        self._pace.rest(now)
        self._stagger.rest(now)

    def hear_report(self, report: ReportMessage) -> None:
        """From a shard."""
        if not self.shards.lending.hear(report):
            return
        if report.rest is not None:
            start, count, position = report.rest
            self.units.put_first([Range(start, count, position=position)])
        self._check_tolerance()
        self.look_again()

    def _report(self) -> None:
        """Tells the parent what it waits for, and gives lanes back that are in use no more or have no use."""
        if not self.is_shard or (not self.tasks and not self.holds and not self.units and self._given_back is None):
            return
        lending, now = self.shards.lending, workflow.time()
        has_more = bool(self.units) or self._reading
        wants, starting = has_more or lending.want, has_more or lending.starting
        told = self.lease.to_report(self.used, wants, starting, lending.keep_to(self.lease.limit), now)
        if isinstance(told, float):
            self._alarm.ask(told)
            told = None
        rest, self._given_back = self._given_back, None
        if rest is not None and told is None:
            told = max(self.used, self.lease.lanes), wants
        if told is None:
            return
        self._reports += 1
        back = None if rest is None else [rest.start, rest.count, rest.position]
        holds, has_units = told
        self.shards.report(
            ReportMessage(
                self.spec.id, self._reports, self.lease.heard, holds, has_units, starting, self.failures, back
            )
        )

    # -- the timer

    def _set_timer(self) -> None:
        at = self._alarm.to_set()
        if at is None:
            return
        if self._timer is not None:
            self._timer.cancel()

        async def ring(seconds: float) -> None:
            await workflow.sleep(seconds)
            self._timer = None
            self._alarm.rang()
            self.look_again()

        self._timer = asyncio.create_task(ring(max(0.001, at - workflow.time())))


_PAGES = 2
"""What a page of a source takes of a history, in slices: once as it is read, once as its items are started."""
_OWN_SHARE = 0.05
"""Of the rate, what items of a node's own have while its shards have the rest."""
