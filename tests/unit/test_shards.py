"""Which items each shard of a history has, and which of them none has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from temporal_fanout.histories.shards import Shard, gaps, runs, without_overlaps


def a_shard(indexes: range, name: str = "") -> Shard:
    spec: Any = SimpleNamespace(name=name)
    unused: Any = None
    return Shard(unused, spec, unused, indexes)


@pytest.mark.parametrize(
    ("opened", "left"),
    [
        ([range(10), range(10, 20)], [range(10), range(10, 20)]),
        ([range(10), range(10, 20), range(4, 10)], [range(4), range(4, 10), range(10, 20)]),
        ([range(10), range(4, 10), range(7, 10)], [range(4), range(4, 7), range(7, 10)]),
        ([range(10), range(10)], [range(10)]),
        ([range(10), range(0)], [range(10)]),
        ([range(3, 9), range(3, 5)], [range(3, 5), range(5, 9)]),
    ],
    ids=["none", "given back", "given back twice", "opened again", "nothing left", "its beginning"],
)
def test_the_shard_that_was_opened_later_has_the_items(opened: list[range], left: list[range]) -> None:
    """Each index is of one shard, and they come in the order of their items."""
    assert [shard.indexes for shard in without_overlaps(map(a_shard, opened), None)] == left


def test_shards_have_only_items_of_their_parent_and_of_their_fan_out() -> None:
    """What its parent gave back is not of a shard of it; other fan-outs have indexes of their own."""
    shards = [a_shard(range(5)), a_shard(range(5, 10)), a_shard(range(5), "other")]
    assert [shard.indexes for shard in without_overlaps(map(replace, shards), range(7))] == [
        range(5), range(5), range(5, 7),
    ]  # fmt: skip
    assert len(without_overlaps(map(replace, shards), range(2))) == 2


@pytest.mark.parametrize(
    ("whole", "taken", "left"),
    [
        (range(10), [], [range(10)]),
        (range(10), [range(10)], []),
        (range(2, 10), [range(4, 6), range(2, 3)], [range(3, 4), range(6, 10)]),
        (range(5), [range(7)], []),
        (range(5), [range(8, 9)], [range(5)]),
        ([3, 7, 9], [range(7, 8)], [[3, 9]]),
        ([3, 7], [range(3, 8)], []),
    ],
)
def test_gaps_are_what_none_has(whole: Sequence[int], taken: list[Sequence[int]], left: list[Sequence[int]]) -> None:
    """In their order, as ranges where the whole is one."""
    assert gaps(whole, taken) == left


def test_runs_are_ranges_of_what_follows_one_another() -> None:
    """In any order, each once."""
    assert runs([5, 1, 2, 2, 3, 7]) == [range(1, 4), range(5, 6), range(7, 8)]
    assert runs([]) == []
