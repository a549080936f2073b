"""Counts how much happens at once in this process."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator


class Gauge:
    def __init__(self) -> None:
        self.now: dict[str, int] = defaultdict(int)
        self.most: dict[str, int] = defaultdict(int)
        self.entries: dict[str, list[float]] = defaultdict(list)
        self.changes: dict[str, list[tuple[float, int]]] = defaultdict(list)

    @contextlib.contextmanager
    def entered(self, group: str) -> Iterator[None]:
        self._change(group, 1)
        self.entries[group].append(time.monotonic())
        try:
            yield
        finally:
            self._change(group, -1)

    def _change(self, group: str, by: int) -> None:
        self.now[group] += by
        self.most[group] = max(self.most[group], self.now[group])
        self.changes[group].append((time.monotonic(), self.now[group]))


GAUGE = Gauge()


FAULTS: Counter[str] = Counter()


def fault(key: str, times: int) -> bool:
    """True so many times for each key."""
    FAULTS[key] += 1
    return FAULTS[key] <= times
