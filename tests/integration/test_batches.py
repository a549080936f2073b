"""A fan-out over batches."""

from __future__ import annotations

from tests import workflows as w
from tests.conftest import Bench


async def test_a_child_takes_a_batch(bench: Bench) -> None:
    """Each child gets its batch, typed, with its id; all items are handled, in order."""
    assert await bench.run(w.Batched.run, list(range(25)), 10) == [["0-10", 45], ["10-20", 145], ["20-25", 110]]
