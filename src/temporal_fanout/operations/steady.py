"""Answers of a run and of its open shards, added up so that what was said is never taken back; pure.

Each workflow of a run counts what has ended in its own part: its items, and those of its shards that have closed. An
open shard counts for itself, so one that is silent counts with its last answer, and one that has closed is in the next
answer of its parent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Answer: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Of one workflow to the query: its fan-outs, by name."""

_RECENT_SECONDS = 30.0
"""Over which ends are counted: short enough to show what a resize does."""
_LEAST_SECONDS = 1.0


@dataclass
class Progress:
    """Of one fan-out of a run."""

    total: int = 0
    max_concurrency: int = 0
    in_flight: int = 0
    held: int = 0
    """Items that wait for a person."""
    paused: bool = False
    stopped: str | None = None
    """Why it starts nothing more."""
    seconds_at_work: float = field(default=0.0, compare=False)
    """Since its start, without its pauses."""
    outcomes: Counter[str] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)
    """Ids of open shards that do not answer now, as when their worker has died: they count as they last answered."""
    is_stale: bool = False
    """The run itself does not answer now."""

    @property
    def silent_shards(self) -> int:
        return len(self.silent)

    @property
    def finished(self) -> int:
        """Items that have ended."""
        return sum(self.outcomes.values())

    @property
    def waiting(self) -> int:
        """Items that were not started yet."""
        return self.total - self.finished - self.in_flight - self.held

    @property
    def items_per_second(self) -> float | None:
        """On average, as long as it was at work; none before the first item ended."""
        return self.finished / self.seconds_at_work if self.finished and self.seconds_at_work else None


class Steady:
    """The newest answers of one run, look by look."""

    def __init__(self) -> None:
        self._known: dict[str, Answer] = {}
        self._silent: set[str] = set()

    def hear(self, workflow_id: str, answer: Answer | None, is_run: bool = False) -> list[str]:
        """Takes what one of the workflows answers, none for silence; returns the ids of those to ask next.

        In each look the run comes first, and a shard after the workflow that named it.
        """
        if is_run:
            self._silent = set()
            if answer is not None and _ended(answer) < _ended(self._known.get(workflow_id, {})):
                self._known = {}  # another run has taken its place, as after continue-as-new
        if answer is None:
            self._silent.add(workflow_id)
        else:
            self._known[workflow_id] = answer
        return _open_shards(self._known.get(workflow_id, {}))

    def add_up(self, workflow_id: str) -> dict[str, Progress]:
        """The progress of each fan-out of the run, by name; empty where it has never answered."""
        met = {workflow_id}
        result = {}
        for name, own in self._known.get(workflow_id, {}).items():
            result[name] = one = Progress(own["total"], own.get("max_concurrency", 0))
            one.paused, one.stopped = own.get("paused", False), own.get("stopped")
            one.seconds_at_work = own.get("seconds_at_work", 0.0)
            one.is_stale = workflow_id in self._silent
            self._add(one, own, met)
        self._known = {id: answer for id, answer in self._known.items() if id in met}
        return result

    def _add(self, sum: Progress, own: Mapping[str, Any], met: set[str]) -> None:
        sum.in_flight += own.get("in_flight", 0)
        sum.held += own.get("held", 0)
        sum.outcomes.update(own.get("outcomes", {}))
        for shard in own.get("open_shards", ()):
            met.add(shard)
            if shard in self._silent:
                sum.silent.append(shard)
            for part in self._known.get(shard, {}).values():
                self._add(sum, part, met)


class Pace:
    """How fast items end now, and how long the rest will take."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, now: float, one: Progress) -> None:
        """Takes what is so at `now`, in seconds of any clock. The time of a pause does not count."""
        if one.paused:
            self._looks.clear()
            return
        self._looks.append((now, one.finished))
        while now - self._looks[0][0] > _RECENT_SECONDS and len(self._looks) > 2:
            self._looks.popleft()

    @property
    def items_per_second(self) -> float | None:
        """Over the last half minute; none where too little of it was seen."""
        if not self._looks:
            return None
        (first, before), (last, finished) = self._looks[0], self._looks[-1]
        return (finished - before) / (last - first) if last - first > _LEAST_SECONDS else None


def seconds_left(one: Progress, items_per_second: float | None) -> float | None:
    """Until its end, at this rate; none where nothing ends, or where not all of it is heard."""
    if not items_per_second or one.silent or one.is_stale or one.paused:
        return None
    return (one.total - one.finished) / items_per_second


def together(answers: Mapping[str, Progress]) -> Progress:
    """All fan-outs of a run as one."""
    sum = Progress()
    for one in answers.values():
        sum.total += one.total
        sum.max_concurrency += one.max_concurrency
        sum.in_flight += one.in_flight
        sum.held += one.held
        sum.paused |= one.paused
        sum.outcomes.update(one.outcomes)
        sum.silent += one.silent
        sum.is_stale |= one.is_stale
    return sum


def _ended(answer: Answer) -> int:
    return sum(sum(own.get("outcomes", {}).values()) for own in answer.values())


def _open_shards(answer: Answer) -> list[str]:
    return [shard for own in answer.values() for shard in own.get("open_shards", ())]
