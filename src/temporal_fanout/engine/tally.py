"""The counts of a fan-out and, within a bound of bytes, what became of each item: merged from shard to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from temporalio.api.common.v1 import Payload

from temporal_fanout.results import Outcome
from temporal_fanout.wire.outcome import Ended
from temporal_fanout.wire.payloads import cost, text_cost
from temporal_fanout.wire.protocol import ShardResult

_ENTRY_BYTES = 80
"""Of an entry beside its payloads and texts, at most, as JSON and on the wire."""
_NONE = -1


@dataclass(frozen=True)
class CompletedItem:
    """Payloads as the user's converters made them; none is null."""

    index: int
    value: Payload | None
    result: Payload | None


@dataclass(frozen=True)
class FailedItem:
    index: int
    value: Payload | None
    outcome: Outcome
    error: str
    type: str


E = TypeVar("E", CompletedItem, FailedItem)


class Tally:
    """Outcomes by count, which is always whole, and by item, as far as `max_bytes` goes."""

    def __init__(self, max_bytes: int) -> None:
        self.outcomes: dict[Outcome, int] = {}
        self.truncated = False
        self._completed: list[CompletedItem] = []
        self._failed: list[FailedItem] = []
        self._room = max_bytes

    @property
    def failures(self) -> int:
        """Items that were started and did not complete."""
        good = (Outcome.COMPLETED, Outcome.NOT_STARTED)
        return sum(n for outcome, n in self.outcomes.items() if outcome not in good)

    @property
    def finished(self) -> int:
        """Items that have an outcome."""
        return sum(self.outcomes.values())

    @property
    def completed_items(self) -> list[CompletedItem]:
        """By index, as far as there was room."""
        return sorted(self._completed, key=lambda item: item.index)

    @property
    def failed_items(self) -> list[FailedItem]:
        """By index, as far as there was room."""
        return sorted(self._failed, key=lambda item: item.index)

    def count(self, outcome: Outcome, items: int = 1) -> None:
        if items:
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + items

    def completed(self, index: int, value: Payload | None, result: Payload | None) -> None:
        self.count(Outcome.COMPLETED)
        self._keep(self._completed, CompletedItem(index, value, result), cost(result))

    def failed(self, index: int, value: Payload | None, ended: Ended, items: int = 1) -> None:
        """One item, or the first of several that were lost together."""
        self.count(ended.outcome, items)
        self._keep_failure(FailedItem(index, value, ended.outcome, ended.error, ended.type))
        self.truncated |= items > 1

    def merge(
        self, result: ShardResult, payloads: Sequence[Payload], value_of: Callable[[int], Payload | None] | None
    ) -> None:
        """Adds what a shard returned; `value_of` gives an item by its index where the shard does not."""
        for outcome, n in result.outcomes.items():
            self.count(Outcome(outcome), n)

        def value(index: int, at: int) -> Payload | None:
            if at != _NONE:
                return payloads[at]
            return value_of(index) if value_of else None

        for index, at, outcome, error, type in result.failed:
            self._keep_failure(FailedItem(index, value(index, at), Outcome(outcome), error, type))
        for index, at, of_result in result.completed:
            item = CompletedItem(index, value(index, at), None if of_result == _NONE else payloads[of_result])
            self._keep(self._completed, item, cost(item.result))
        self.truncated |= result.truncated

    def packed(self, version: int, stop: dict[str, str] | None) -> Payload:
        """What a shard returns."""
        payloads: list[Payload] = []

        def at(payload: Payload | None) -> int:
            if payload is None:
                return _NONE
            payloads.append(payload)
            return len(payloads) - 1

        result = ShardResult(
            version=version,
            outcomes={str(outcome): n for outcome, n in self.outcomes.items()},
            completed=[[item.index, at(item.value), at(item.result)] for item in self._completed],
            failed=[[item.index, at(item.value), str(item.outcome), item.error, item.type] for item in self._failed],
            truncated=self.truncated,
            stop=stop,
        )
        return result.packed(payloads)

    def _keep_failure(self, failure: FailedItem) -> None:
        self._keep(self._failed, failure, text_cost(failure.error) + text_cost(failure.type))

    def _keep(self, entries: list[E], entry: E, size: int) -> None:
        size += _ENTRY_BYTES + cost(entry.value)
        if size > self._room:
            self.truncated = True
        else:
            self._room -= size
            entries.append(entry)
