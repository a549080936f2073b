"""Items in batches."""

from __future__ import annotations

import pytest

from temporal_fanout import InvalidInput
from temporal_fanout.batches import Batch, batches


def test_batches_hold_every_item_once_in_order() -> None:
    """Each batch has `size` items, the last what is left; its id says which."""
    assert batches("abcde", 2) == [Batch("0-2", "ab"), Batch("2-4", "cd"), Batch("4-5", "e")]
    assert batches([1, 2], 5) == [Batch("0-2", [1, 2])]
    assert batches([], 5) == []


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_batch_has_at_least_one_item(size: int) -> None:
    """A size that cannot be is refused."""
    with pytest.raises(InvalidInput, match="size: must be a whole number of at least 1"):
        batches([1], size)
