"""Parents whose own input says what they will start, before they have started anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from temporal_fanout.options import FanOutOptions
from temporal_fanout.source import Source

PARENTS: dict[str, Callable[[Sequence[Any]], tuple[str, list[Any] | Source, FanOutOptions]]] = {}
"""By workflow type: reads the decoded inputs of such a parent as work, items and options. Raises `InvalidInput`."""
