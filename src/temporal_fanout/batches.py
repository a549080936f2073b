"""Items in batches: where one child is to handle many, a batch is an item of the fan-out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temporal_fanout.checks import whole


@dataclass(frozen=True)
class Batch:
    """Items that one child handles: what `batches` makes, and what the child takes as its input."""

    id: str
    """`{start}-{end}`: the places of its items among all, from 0, `end` not included, as in a slice."""
    items: Sequence[Any]


def batches(items: Sequence[Any], size: int) -> list[Batch]:
    """The items in lists of `size`, the last one shorter; for `fan_out(Child.run, batches(items, 100))`.

    Raises `InvalidInput` for a size below 1.
    """
    whole("size", size, least=1)
    bounds = ((start, min(start + size, len(items))) for start in range(0, len(items), size))
    return [Batch(f"{start}-{end}", items[start:end]) for start, end in bounds]
