"""What is left to start."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from temporal_fanout.engine.units import Item, Range, Rest, Unit, Units, in_ranges
from temporal_fanout.wire.payloads import to_json
from temporal_fanout.wire.protocol import HeldSpec


def payloads(indexes: list[int]) -> list[object]:
    return [to_json(index) for index in indexes]


def held(index: int, again: bool = False) -> HeldSpec:
    return HeldSpec(index, f"p.{index}", "failed", "e", "T", 1.0, again)


def indexes_of(unit: Unit) -> list[int]:
    if isinstance(unit, Item):
        return [unit.index]
    if isinstance(unit, Range) and unit.indexes is not None:
        return list(unit.indexes)
    return list(range(unit.start, unit.start + unit.count))


@given(st.integers(0, 1000), st.integers(1, 200_000), st.integers(1, 300), st.integers(2, 50))
def test_ranges_cover_each_item_once(start: int, count: int, stride: int, most: int) -> None:
    """Ranges follow one another, are no more than planned, and each but the last is a multiple of the stride."""
    ranges = in_ranges(start, count, stride, most, None, [])
    assert len(ranges) <= most
    at = start
    for one in ranges:
        assert one.start == at
        at += one.count
    assert at == start + count
    assert all(one.count % stride == 0 for one in ranges[:-1])


@given(
    st.lists(st.one_of(st.just("item"), st.just("again"), st.just("range"), st.just("rest")), max_size=40),
    st.lists(st.tuples(st.sampled_from(["hand", "halve", "take"]), st.integers(1, 7)), max_size=30),
)
def test_every_item_is_started_once(kinds: list[str], steps: list[tuple[str, int]]) -> None:
    """Whatever is handed over, split and taken, each item comes up exactly once, with its own payload."""
    made: list[Unit] = []
    at = 0
    for kind in kinds:
        if kind == "range":
            own = list(range(at, at + 5))
            made.append(Range(at, 5, [to_json(index) for index in own]))
        elif kind == "rest":
            made.append(Rest(at, 5, at))
        else:
            made.append(Item(at, to_json(at), again=kind == "again"))
        at += 5 if kind in ("range", "rest") else 1
    units, taken = Units(made), []
    for step, size in steps:
        if step == "hand":
            units.hand_over(size)
        elif step == "halve" and units and isinstance(units.first, Range) and units.first.count > 1:
            units.halve_first()
        elif step == "take" and units:
            taken.append(units.take())
    while units:
        taken.append(units.take())
    assert sorted(index for unit in taken for index in indexes_of(unit)) == list(range(at))
    for unit in taken:
        if isinstance(unit, Range):
            assert unit.items is not None
            assert list(unit.items) == payloads(indexes_of(unit))


def test_held_items_go_with_their_half() -> None:
    """A range of items that do not follow one another is split with what is known of each."""
    indexes = (2, 5, 11, 40, 41)
    units = Units(
        [Range(2, 5, [to_json(n) for n in indexes], indexes=indexes, held=tuple(held(n, n == 11) for n in indexes))]
    )
    assert units.unstarted == 0, "they were started before"
    units.halve_first()
    first, second = units.take(), units.take()
    assert isinstance(first, Range)
    assert isinstance(second, Range)
    assert (first.start, first.indexes, [one.index for one in first.held]) == (2, (2, 5), [2, 5])
    assert (second.start, second.indexes, [one.index for one in second.held]) == (11, (11, 40, 41), [11, 40, 41])
    assert [one.again for one in second.held] == [True, False, False]


def test_unstarted_counts_what_was_never_started() -> None:
    """An item that is to run again was started; those of ranges and of a source were not."""
    units = Units([Item(0, to_json(0), again=True), Item(1, to_json(1)), Range(2, 3, None, "p"), Rest(5, 4)])
    assert units.unstarted == 8
    assert [item.index for item in units.take_again()] == [0]
    assert units.unstarted == 8
