"""Checks of an example's inputs, and the data that is made to fail."""

from __future__ import annotations

import math

from temporal_fanout import InvalidInput


def whole(name: str, value: int, most: int) -> None:
    """Raises `InvalidInput` unless the number is from 1 to `most`."""
    if not 1 <= value <= most:
        raise InvalidInput(f"--{name}: must be from 1 to {most:,}, not {value:,}")


def share(name: str, value: float) -> None:
    """Raises `InvalidInput` unless the number is from 0 to 1."""
    if not 0 <= value <= 1:
        raise InvalidInput(f"--{name}: must be from 0 to 1, not {value:g}")


def failing_before(index: int, rate: float) -> int:
    """How many of the items before this one are made to fail: that share of them, evenly spread."""
    return math.floor(index * rate + 1e-9)


def is_failing(index: int, rate: float) -> bool:
    """Whether this item is made to fail; the same in every run, since it depends on nothing but the two numbers."""
    return failing_before(index + 1, rate) > failing_before(index, rate)
