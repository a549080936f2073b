"""What fits into a workflow task, and into a history."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from temporal_fanout.engine.budget import EVENTS, ITEM_EVENTS, TaskBudget, has_events, per_history
from temporal_fanout.wire.tuning import Tuning

TUNING = Tuning()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2_000_000)), max_size=300))
def test_no_task_sends_more_than_the_server_takes(starts: list[tuple[int, int]]) -> None:
    """Whatever is asked for, starts of one task take at most a MiB and one start that is larger alone."""
    budget, task, booked = TaskBudget(), 0, 0
    for tasks, size in starts:
        if tasks:
            task, booked = task + tasks, 0
        fresh = booked == 0
        if budget.takes(task, size, TUNING):
            booked += size
            assert booked <= max(TUNING.task_bytes, size if fresh else 0)


def test_a_task_takes_so_many_starts() -> None:
    """Small starts are bounded by their number."""
    budget = TaskBudget()
    assert sum(budget.takes(1, 1, TUNING) for _ in range(1000)) == TUNING.task_starts
    assert not budget.is_new(1)
    assert budget.is_new(2)


@given(st.integers(0, 6000), st.integers(0, 300), st.integers(0, 50))
def test_an_item_that_has_room_leaves_the_history_short(events: int, items: int, shards: int) -> None:
    """With all that runs still to end, the history of a node with room stays under its bound."""
    if has_events(events, items, shards):
        assert events + items * 12 + shards * 30 + ITEM_EVENTS <= EVENTS


def test_a_whole_shard_has_room() -> None:
    """The largest shard, a hundred of whose items run at once, is not handed over in its middle."""
    for started in range(300):
        assert has_events(started * 9, min(100, started), 0)


@given(st.integers(1, 3_000_000), st.integers(1, 300))
def test_large_starts_get_small_shards(each: int, most: int) -> None:
    """No more than asked for, never none, and within the bytes of a history where two of them fit."""
    count = per_history(each, most, TUNING)
    assert 1 <= count <= most
    assert count <= 2 or count * each <= TUNING.history_bytes
