"""The one timer for several deadlines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from temporal_fanout.engine.alarm import Alarm


@given(st.lists(st.lists(st.floats(0, 100), max_size=4), min_size=1, max_size=30))
def test_the_earliest_deadline_wins(passes: list[list[float]]) -> None:
    """After each pass the timer that is set rings at the earliest deadline asked for, or before."""
    alarm, timer = Alarm(), None
    for deadlines in passes:
        alarm.begin()
        for at in deadlines:
            alarm.ask(at)
        if (new := alarm.to_set()) is not None:
            timer = new
        if deadlines:
            assert timer is not None
            assert timer <= min(deadlines) + 0.001


def test_a_longer_timer_does_not_swallow_a_shorter() -> None:
    """A deadline that comes up while a timer is pending for a later one sets another; one that comes later does not."""
    alarm = Alarm()
    alarm.ask(60)
    assert alarm.to_set() == 60
    alarm.begin()
    alarm.ask(2)
    assert alarm.to_set() == 2
    alarm.begin()
    alarm.ask(30)
    assert alarm.to_set() is None
    alarm.rang()
    alarm.begin()
    alarm.ask(30)
    assert alarm.to_set() == 30
