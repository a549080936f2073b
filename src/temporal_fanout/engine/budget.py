"""What fits: the starts of one workflow task, and what a history still has room for. Pure."""

from __future__ import annotations

from temporal_fanout.wire.tuning import Tuning

EVENTS = 5000
"""Of a history, at most."""
ITEM_EVENTS = 14
"""Of an item, in the worst case: a timer, a child, a workflow task for each of their events."""
OPEN_EVENTS = 12
"""Of those, what an item that runs may still add."""
SHARD_EVENTS = 30
"""What a shard costs its parent: its start and end, signals, and the tasks that these make."""


class TaskBudget:
    """Bytes and starts of the workflow task that is running; tasks are told apart by the history's length."""

    def __init__(self) -> None:
        self._task = -1
        self._bytes = 0
        self._starts = 0

    def takes(self, task: int, size: int, tuning: Tuning) -> bool:
        """Whether the task has room for one more start of `size` bytes; books it if so. The first always fits."""
        if self.is_new(task):
            self._task, self._bytes, self._starts = task, 0, 0
        if self._starts and (self._bytes + size > tuning.task_bytes or self._starts >= tuning.task_starts):
            return False
        self._bytes += size
        self._starts += 1
        return True

    def is_new(self, task: int) -> bool:
        """Whether this task has booked no start yet."""
        return task != self._task


def has_events(events: int, open_items: int, open_shards: int) -> bool:
    """Whether a history of so many events has room for one more item, and for handing on what is left."""
    expected = open_items * OPEN_EVENTS + (open_shards + 1) * SHARD_EVENTS
    return events + expected + ITEM_EVENTS <= EVENTS


def per_history(each: int, most: int, tuning: Tuning) -> int:
    """How many starts of `each` bytes one history takes, of at most `most`; two of any size fit."""
    return min(most, max(2, tuning.history_bytes // max(1, each)))
