"""Lanes and rate between a node and its shards: a simulation of both sides, and of messages that are under way."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from temporal_fanout.engine.lease import Lease
from temporal_fanout.engine.lending import Lending
from temporal_fanout.wire.protocol import LanesMessage, ReportMessage
from temporal_fanout.wire.tuning import Tuning

TUNING = Tuning()


@dataclass
class Shard:
    """The other side: items to start, items in flight, and messages that have not arrived."""

    id: str
    left: int
    lease: Lease
    running: int = 0
    reports: int = 0
    inbox: deque[LanesMessage] = field(default_factory=deque)
    outbox: deque[ReportMessage] = field(default_factory=deque)

    def work(self, now: float) -> None:
        """One pass of the node: starts what it may, and reports."""
        while self.left and self.running < self.lease.may_use:
            self.left -= 1
            self.running += 1
        if not self.left and not self.running:
            return
        told = self.lease.to_report(self.running, bool(self.left), bool(self.left), True, now)
        if isinstance(told, tuple):
            self.reports += 1
            self.outbox.append(ReportMessage(self.id, self.reports, self.lease.heard, *told, bool(self.left), 0))


class Run:
    """A root with shards of `size` items."""

    def __init__(self, lanes: int, counts: list[int], rate: float | None = None) -> None:
        self.limit = self.lanes = lanes
        self.paused = False
        self.rate = rate
        self.lending = Lending()
        self.waiting = deque(counts)
        self.shards: dict[str, Shard] = {}
        self.now = 0.0
        self.done = 0

    def most(self, count: int) -> int:
        return min(count, 5) if self.waiting else count

    def look(self) -> None:
        """One pass of the root."""
        may_use = 0 if self.paused else self.lanes
        before = self.lending.holds
        for message in self.lending.share(may_use, self.limit, self.rate, self.most):
            self.shards[message.shard].inbox.append(message)
        while self.waiting and (free := may_use - self.lending.holds) > 0:
            count = self.waiting[0]
            lanes = min(free, self.most(count))
            self.waiting.popleft()
            id = f"s{len(self.shards)}"
            rate = self.rate and self.rate * lanes / max(lanes, may_use)
            self.lending.add(id, count, lanes, self.limit, rate)
            self.lending.started(id)
            self.shards[id] = Shard(id, count, Lease(lanes, self.limit, rate, TUNING))
        assert self.lending.holds <= max(may_use, before), "more is lent than there is"
        self.check()

    def check(self) -> None:
        for id in self.lending.ids:
            shard = self.shards[id]
            loan = self.lending._loans[id]
            assert shard.running <= loan.holds, "a shard uses lanes of which its parent does not know"

    def deliver(self, shard: Shard) -> None:
        if shard.inbox:
            shard.lease.hear(shard.inbox.popleft())
            shard.work(self.now)

    def report(self, shard: Shard) -> None:
        if shard.outbox and shard.id in self.lending.ids:
            self.lending.hear(shard.outbox.popleft())
            self.look()

    def end_item(self, shard: Shard) -> None:
        if shard.running:
            shard.running -= 1
            self.done += 1
            shard.work(self.now)
        if not shard.running and not shard.left and shard.id in self.lending.ids:
            self.lending.ended(shard.id)
            self.look()

    def finish(self) -> None:
        """Everything arrives and ends."""
        self.paused = False
        self.lanes = self.limit = max(1, self.lanes)
        self.look()
        for _ in range(10_000):
            open_shards = [self.shards[id] for id in self.lending.ids]
            if not open_shards and not self.waiting:
                return
            for shard in open_shards:
                self.now += 0.3
                while shard.inbox:
                    self.deliver(shard)
                shard.work(self.now)
                while shard.outbox:
                    self.report(shard)
                self.end_item(shard)
        raise AssertionError("lanes were lost: the run does not end")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["work", "deliver", "report", "end", "resize", "pause", "resume", "later"]),
        st.integers(0, 60),
    ),
    max_size=150,
)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(1, 12), min_size=1, max_size=8), STEPS)
def test_lanes_are_never_lent_twice_and_all_come_back(
    lanes: int, counts: list[int], steps: list[tuple[str, int]]
) -> None:
    """In whatever order messages arrive and items end: no shard runs more than its node counts, a node never lends more
    than it has, and every item of every shard runs."""
    run = Run(lanes, counts)
    run.look()
    for step, number in steps:
        run.now += 0.1
        if step == "resize":
            run.lanes = run.limit = number + 1
            run.look()
        elif step in ("pause", "resume"):
            run.paused = step == "pause"
            run.look()
        elif step == "later":
            run.now += number
        elif run.lending.ids:
            shard = run.shards[run.lending.ids[number % len(run.lending.ids)]]
            if step == "work":
                shard.work(run.now)
            elif step == "deliver":
                run.deliver(shard)
            elif step == "report":
                run.report(shard)
            else:
                run.end_item(shard)
        run.check()
    run.finish()
    assert run.done == sum(counts)


@settings(max_examples=200, deadline=None)
@given(st.floats(0.1, 1000), st.integers(1, 60), st.lists(st.integers(1, 20), min_size=1, max_size=8), STEPS)
def test_the_rate_is_divided_whole(rate: float, lanes: int, counts: list[int], steps: list[tuple[str, int]]) -> None:
    """Shards with something left to start have the whole rate together, within a tenth, and never more than it."""
    run = Run(lanes, counts, rate)
    run.look()
    for step, number in steps:
        run.now += 0.1
        if run.lending.ids:
            shard = run.shards[run.lending.ids[number % len(run.lending.ids)]]
            {"deliver": run.deliver, "report": run.report, "end": run.end_item}.get(
                step, lambda one: one.work(run.now)
            )(shard)
        run.look()
        run.look()
        if run.lending.lanes_of_takers:
            assert 0.9 * rate * 0.999 <= run.lending.rate <= rate * 1.002


@pytest.mark.parametrize(
    ("used", "seconds", "reported"), [(50, 0.0, None), (49, 0.9, None), (49, 1.1, 49), (40, 0.6, None)]
)
def test_idle_lanes_are_given_back_soon_but_not_at_once(used: int, seconds: float, reported: int | None) -> None:
    """A shard with nothing left gives a few idle lanes back after a second."""
    lease = Lease(50, 100, None, TUNING)
    assert not isinstance(lease.to_report(used, False, False, True, 100.0), tuple)
    told = lease.to_report(used, False, False, True, 100.0 + seconds)
    assert (told[0] if isinstance(told, tuple) else None) == reported


def test_half_of_the_lanes_go_back_at_once_and_then_ever_later() -> None:
    """Where half are idle they go back at once the first time, after half a second the next, or when it is due."""
    lease = Lease(50, 100, None, TUNING)
    assert lease.to_report(20, False, False, True, 100.0) == (20, False)
    assert lease.to_report(5, False, False, True, 100.4) == 102.0
    assert lease.to_report(5, False, False, True, 100.6) == (5, False)


def test_lanes_that_are_taken_back_count_until_they_are_free() -> None:
    """What a shard runs above its lanes is held until its report says otherwise."""
    lending = Lending()
    lending.add("a", 100, 50, 100, None)
    lending.started("a")
    (message,) = lending.share(20, 20, None, lambda count: count)
    assert (message.lanes, message.answer, lending.holds) == (20, True, 50)
    assert not lending.keep_to(20)
    lending.hear(ReportMessage("a", 1, message.seq, 35, True, True, 0))
    assert (lending.holds, lending.keep_to(20)) == (35, True)
    lending.hear(ReportMessage("a", 1, message.seq, 10, True, True, 0))
    assert lending.holds == 35, "an old report is no news"
    lending.hear(ReportMessage("a", 2, message.seq, 20, True, True, 3))
    assert (lending.holds, lending.failures) == (20, 3)
