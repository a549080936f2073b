"""Held items."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from temporal_fanout.engine.holds import Held, Holds
from temporal_fanout.results import Outcome
from temporal_fanout.wire.outcome import Ended
from temporal_fanout.wire.payloads import to_json


def held(index: int) -> Held:
    return Held(index, to_json(index), f"p.{index}", Ended(Outcome.FAILED, error="e", type="T"), 1.0)


@given(st.lists(st.tuples(st.sampled_from(["add", "skip", "again", "start"]), st.integers(0, 9)), max_size=60))
def test_every_held_item_is_in_one_place(steps: list[tuple[str, int]]) -> None:
    """An item waits, is to run again, runs, or was skipped; giving up takes those that wait or are to run again."""
    holds = Holds()
    waiting: set[int] = set()
    again: set[int] = set()
    for step, index in steps:
        if step == "add" and index not in waiting | again:
            holds.add(held(index))
            waiting.add(index)
        elif step == "skip":
            holds.skip(holds.waiting([index]))
            waiting.discard(index)
        elif step == "again":
            holds.run_again(holds.waiting([index]))
            if index in waiting:
                waiting.remove(index)
                again.add(index)
        elif step == "start":
            holds.started(index)
            again.discard(index)
        assert [one.index for one in holds.waiting()] == sorted(waiting)
        assert len(holds) == len(waiting)
    assert [one.index for one in holds.give_up()] == sorted(waiting | again)
    assert len(holds) == 0


def test_pages_follow_one_another() -> None:
    """Each page begins after the last index of the one before; the last says that nothing follows."""
    holds = Holds()
    for index in (9, 3, 5, 1):
        holds.add(held(index))
    first, more = holds.after(-1, 3)
    assert ([one.index for one in first], more) == ([1, 3, 5], True)
    second, more = holds.after(5, 3)
    assert ([one.index for one in second], more) == ([9], False)


def test_what_is_handed_on_is_as_it_was() -> None:
    """Another history holds the items with their last outcomes, and knows which are to run again."""
    holds = Holds()
    for index in (4, 2):
        holds.add(held(index))
    holds.run_again(holds.waiting([4]))
    specs = [one.to_spec(again) for one, again in holds.hand_on()]
    assert [(spec.index, spec.again, spec.outcome) for spec in specs] == [(2, False, "failed"), (4, True, "failed")]
    assert Held.of_spec(specs[0], to_json(2)) == held(2)
    assert len(holds) == 0
