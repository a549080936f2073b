"""When the next item may start, under a rate of starts. Pure: every method is given the time."""

from __future__ import annotations


class Pace:
    """Starts that are spread evenly; some that were missed are made up for."""

    def __init__(self, rate: float | None, first: float, credit: float) -> None:
        """`rate` in starts a second, none is no limit; the first may be at `first`.

        Starts missed for up to `credit` seconds are made up for.
        """
        self._rate = rate
        self._next = first
        self._credit = credit
        self._has_begun = False

    def wait(self, now: float) -> float:
        """Seconds until the next start may be; 0 where it may be now."""
        return 0.0 if self._rate is None else max(0.0, self._next - now)

    def book(self, now: float) -> None:
        """Counts a start now."""
        self._has_begun = True
        if self._rate is not None:
            self._next = max(self._next, now - self._credit) + 1 / self._rate

    def change(self, rate: float | None, now: float) -> None:
        """Goes on at another rate: what was missed, or is still to be waited for, stays as many starts.

        The first start stays where it is: it was placed among those of others.
        """
        if rate == self._rate:
            return
        if rate is None or self._rate is None:
            self._next = now
        elif self._has_begun:
            self._next = now + (max(self._next, now - self._credit) - now) * self._rate / rate
        self._rate = rate

    def rest(self, now: float) -> None:
        """Nothing was to start until now, as in a pause: nothing was missed."""
        self._next = max(self._next, now)
