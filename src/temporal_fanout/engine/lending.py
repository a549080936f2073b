"""Lanes and rate that a node lends to its open shards, takes back, and hears of again. Pure.

A shard *may use* so many lanes, and *holds* at least those: items that it had in flight when lanes were taken back
still run. What shards hold together is never more than their node has. The rate of starts is divided among the shards
that have something left to start, by their lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from temporal_fanout.wire.protocol import LanesMessage, ReportMessage, StopMessage

_RATE_SLACK = 0.1
"""Of the rate, what may lie idle before it is divided anew: each division is a message to every shard."""


@dataclass
class Loan:
    """What one open shard has, as its node knows it."""

    id: str
    count: int
    may_use: int
    holds: int
    rate: float | None
    told: tuple[int, int, float | None]
    """What it may use, the limit of the whole run, and its rate, as it last was told."""
    is_there: bool = False
    """It has started, so that messages reach it."""
    has_units: bool = True
    """It could use more lanes, it or a shard of its own; without, lanes only come back from it."""
    starting: bool = True
    """It has something left to start, it or a shard of its own."""
    failures: int = 0
    stop: bool | None = None
    """It was told to stop, and whether to cancel what runs."""
    sent: int = 0
    asked: int = 0
    """The last message that it must answer."""
    heard: int = 0
    reports: int = 0


class Lending:
    """The loans of one node, by the shard's id."""

    def __init__(self) -> None:
        self._loans: dict[str, Loan] = {}

    @property
    def ids(self) -> list[str]:
        return list(self._loans)

    @property
    def holds(self) -> int:
        """Lanes, all together."""
        return sum(loan.holds for loan in self._loans.values())

    @property
    def want(self) -> bool:
        """Whether one could use more lanes than it has."""
        return any(loan.has_units and loan.may_use < loan.count for loan in self._loans.values())

    @property
    def failures(self) -> int:
        """Items that failed so far, as the shards have reported."""
        return sum(loan.failures for loan in self._loans.values())

    @property
    def rate(self) -> float:
        """What shards with something left to start have of the rate, together."""
        return sum(loan.rate or 0.0 for loan in self._loans.values() if loan.starting)

    @property
    def lanes_of_takers(self) -> int:
        """Lanes of shards with something left to start."""
        return sum(loan.may_use for loan in self._loans.values() if loan.starting)

    @property
    def starting(self) -> bool:
        """Whether one has something left to start."""
        return any(loan.starting for loan in self._loans.values())

    def keep_to(self, limit: int) -> bool:
        """Whether every shard has answered that it keeps to what it may use, under this limit of the run."""
        return all(loan.told[:2] == (loan.may_use, limit) and loan.heard >= loan.asked for loan in self._loans.values())

    def add(self, id: str, count: int, lanes: int, limit: int, rate: float | None) -> None:
        """Books the lanes of a shard that is about to run."""
        self._loans[id] = Loan(id, count, lanes, lanes, rate, (lanes, limit, rate))

    def started(self, id: str) -> None:
        self._loans[id].is_there = True

    def ended(self, id: str) -> int:
        """It has closed, and all that it held is free; returns how many items were its own."""
        return self._loans.pop(id).count

    def share(self, lanes: int, limit: int, rate: float | None, most: Callable[[int], int]) -> list[LanesMessage]:
        """Lends so many lanes to the shards that can use them, or takes back what is above that; what to tell them.

        `most` gives how many lanes a shard of so many items takes. `limit` is the whole run's.
        """
        lanes = max(lanes, 0)
        may_use = sum(loan.may_use for loan in self._loans.values())
        take_back = may_use > lanes
        if take_back:
            for loan in self._loans.values():
                loan.may_use = loan.may_use * lanes // may_use
        else:
            self._lend(lanes - self.holds, most)
        self._divide(rate)
        return [message for loan in self._loans.values() if (message := _news(loan, limit, take_back))]

    def _lend(self, free: int, most: Callable[[int], int]) -> None:
        for loan in self._loans.values():
            if not loan.has_units:
                continue
            still = loan.holds - loan.may_use
            more = min(most(loan.count) - loan.may_use, max(free, 0) + still)
            if more > 0 and free >= 0:
                free -= max(0, more - still)
                loan.may_use += more
                loan.holds = max(loan.holds, loan.may_use)

    def _divide(self, rate: float | None) -> None:
        takers = [loan for loan in self._loans.values() if loan.starting]
        weight = sum(max(1, loan.may_use) for loan in takers)
        if rate is None or not takers or rate * (1 - _RATE_SLACK) <= self.rate <= rate * 1.001:
            return
        for loan in takers:
            loan.rate = rate * max(1, loan.may_use) / weight

    def hear(self, report: ReportMessage) -> bool:
        """What a shard reports, and whether it was news. What it holds counts once it has heard all it was told."""
        loan = self._loans.get(report.shard)
        if loan is None or report.seq <= loan.reports:
            return False
        loan.reports, loan.heard = report.seq, report.heard
        loan.failures, loan.has_units, loan.starting = report.failures, report.has_units, report.starting
        if report.rest is not None:
            loan.count -= report.rest[1]
        if loan.heard == loan.sent:
            loan.holds = report.holds
            loan.may_use = min(loan.may_use, loan.holds)
            loan.told = (loan.may_use, *loan.told[1:])
        return True

    def stop(self, cancel: bool) -> list[StopMessage]:
        """What to tell shards so that they start nothing more, and cancel what runs if so."""
        messages = []
        for loan in self._loans.values():
            if loan.is_there and loan.stop is not cancel and not loan.stop:
                loan.stop = cancel
                messages.append(StopMessage(loan.id, cancel))
        return messages


def _news(loan: Loan, limit: int, take_back: bool) -> LanesMessage | None:
    told, news = loan.told, (loan.may_use, limit, loan.rate)
    if not loan.is_there or told == news:
        return None
    answer = take_back or told[1] != limit or loan.may_use < told[0]
    loan.told = news
    loan.sent += 1
    if answer:
        loan.asked = loan.sent
    return LanesMessage(loan.id, loan.sent, loan.may_use, limit, loan.rate, answer)
