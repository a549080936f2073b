"""When the next start may be, under a rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from temporal_fanout.engine.pace import Pace

RATES = st.floats(0.01, 500)
LATENESS = st.lists(st.floats(0, 0.9), min_size=5, max_size=60)


@given(RATES, LATENESS)
def test_a_rate_is_kept_and_reached_whatever_timers_do(rate: float, lateness: list[float]) -> None:
    """Timers that are late by less than the credit cost nothing: after the last, all starts that are due have been."""
    credit = 1.0
    pace, now, starts = Pace(rate, 0.0, credit), 0.0, 0
    for late in lateness:
        while pace.wait(now) == 0:
            pace.book(now)
            starts += 1
            assert starts <= now * rate + 1 + 1e-6 * starts, "never ahead of the rate"
        assert starts >= now * rate - 1e-6 * starts, "nor behind it"
        now += pace.wait(now) + late


@given(RATES, st.floats(0, 30))
def test_a_long_stall_is_made_up_for_only_in_part(rate: float, stall: float) -> None:
    """After a stall at most the credit's starts come at once."""
    pace = Pace(rate, 0.0, 1.0)
    starts = 0
    while pace.wait(stall) == 0:
        pace.book(stall)
        starts += 1
    assert starts <= min(stall, 1.0) * rate + 1 + 1e-6 * starts


@given(st.lists(st.tuples(RATES, st.floats(0.01, 5)), min_size=2, max_size=20))
def test_a_rate_that_changes_is_exact(steps: list[tuple[float, float]]) -> None:
    """With changes in between, starts follow the sum of rate times time, within one start."""
    pace, now, due, starts = Pace(steps[0][0], 0.0, 1e9), 0.0, 0.0, 1
    pace.book(0.0)
    for rate, seconds in steps:
        pace.change(rate, now)
        now += seconds
        due += rate * seconds
        while pace.wait(now) == 0:
            pace.book(now)
            starts += 1
        assert due - 1e-6 * (starts + 1) <= starts <= due + 1 + 1e-6 * (starts + 1)


def test_the_first_start_stays_where_it_was_placed() -> None:
    """A rate that changes before it moves only the starts after it."""
    pace = Pace(0.1, 7.0, 1.0)
    pace.change(10.0, 2.0)
    assert pace.wait(2.0) == 5.0
    pace.book(7.0)
    assert 0.0999 < pace.wait(7.0) < 0.1001


def test_without_a_rate_nothing_waits() -> None:
    """None is no limit, also after a change, and a rate that begins does so now."""
    pace = Pace(None, 5.0, 1.0)
    assert pace.wait(0) == 0
    pace.book(0)
    pace.change(2.0, 10.0)
    assert pace.wait(10.0) == 0
    pace.book(10.0)
    assert pace.wait(10.0) == 0.5
    pace.change(None, 10.0)
    assert pace.wait(10.0) == 0


def test_a_pause_misses_no_starts() -> None:
    """What was not to start is not made up for."""
    pace = Pace(10.0, 0.0, 1.0)
    pace.rest(60.0)
    pace.book(60.0)
    assert 0.0999 < pace.wait(60.0) < 0.1001
