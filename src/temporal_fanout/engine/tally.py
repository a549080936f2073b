"""The counts of a fan-out and, within a bound of bytes, what became of each item: merged from shard to run."""

from __future__ import annotations

from typing import Any

from temporal_fanout.results import Completed, Failure, FanOutResult, Outcome

_ENTRY_BYTES = 40


class Tally:
    """Outcomes by count, which is always whole, and by item, as far as `max_bytes` goes."""

    def __init__(self, max_bytes: int) -> None:
        self.outcomes: dict[Outcome, int] = {}
        self._completed: list[Completed] = []
        self._failed: list[Failure] = []
        self._room = max_bytes
        self._truncated = False

    @property
    def failures(self) -> int:
        """Items that were started and did not complete."""
        good = (Outcome.COMPLETED, Outcome.NOT_STARTED)
        return sum(n for outcome, n in self.outcomes.items() if outcome not in good)

    def count(self, outcome: Outcome, items: int = 1) -> None:
        if items:
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + items

    def completed(self, index: int, value: Any, result: Any, size: int) -> None:
        self.count(Outcome.COMPLETED)
        self._keep(self._completed, Completed(index, value, result), size)

    def failed(self, failure: Failure, size: int, items: int = 1) -> None:
        self.count(failure.outcome, items)
        self._keep(self._failed, failure, size + len(failure.error))
        self._truncated |= items > 1

    def _keep(self, entries: list[Any], entry: Any, size: int) -> None:
        size += _ENTRY_BYTES
        if size > self._room:
            self._truncated = True
        else:
            self._room -= size
            entries.append(entry)

    def result(self) -> FanOutResult:
        return FanOutResult(
            total_children=sum(self.outcomes.values()),
            outcomes={outcome: self.outcomes.get(outcome, 0) for outcome in Outcome},
            completed=sorted(self._completed, key=lambda c: c.index),
            failed=sorted(self._failed, key=lambda f: f.index),
            truncated=self._truncated,
        )

    def to_wire(self, stop: dict[str, str] | None) -> dict[str, Any]:
        """What a shard returns. Lists of lists, since there may be hundreds."""
        return {
            "outcomes": {str(outcome): n for outcome, n in self.outcomes.items()},
            "completed": [[c.index, c.value, c.result] for c in self._completed],
            "failed": [[f.index, f.value, str(f.outcome), f.error, f.type] for f in self._failed],
            "truncated": self._truncated,
            "stop": stop,
        }

    def merge(self, wire: dict[str, Any], size: int) -> None:
        """Adds a shard's tally, whose entries took `size` bytes."""
        for outcome, n in wire["outcomes"].items():
            self.count(Outcome(outcome), n)
        completed = [Completed(*entry) for entry in wire["completed"]]
        failed = [Failure(i, value, Outcome(outcome), *cause) for i, value, outcome, *cause in wire["failed"]]
        each = size // max(1, len(completed) + len(failed))
        for failure in failed:
            self._keep(self._failed, failure, each)
        for entry in completed:
            self._keep(self._completed, entry, each)
        self._truncated |= wire["truncated"]
