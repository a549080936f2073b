"""The one timer that a workflow needs for several deadlines: that of the earliest. Pure: it is given the time."""

from __future__ import annotations

_CLOSE = 0.001
"""Deadlines nearer to one another than this are one: each timer costs events."""


class Alarm:
    """Deadlines are asked for anew in every pass over the work; a timer outlives the pass in which it was set."""

    def __init__(self) -> None:
        self._wanted: float | None = None
        self._set: float | None = None

    def begin(self) -> None:
        """A new pass: forget what was asked for."""
        self._wanted = None

    def ask(self, at: float) -> None:
        """Wake at this time, or before."""
        if self._wanted is None or at < self._wanted:
            self._wanted = at

    def to_set(self) -> float | None:
        """For when a timer must be set now, in place of the one that is; none where that will do."""
        if self._wanted is None or (self._set is not None and self._set <= self._wanted + _CLOSE):
            return None
        self._set = self._wanted
        return self._set

    def rang(self) -> None:
        """The timer has fired."""
        self._set = None
