"""Lanes and rate that a node has: those of the run's options, or what a shard's parent lends it. Pure.

A shard that has nothing left to start gives the lanes back that it no longer needs, at first soon and then ever later:
each time costs events of the shard and of its parent.
"""

from __future__ import annotations

from temporal_fanout.wire.protocol import LanesMessage
from temporal_fanout.wire.tuning import Tuning


class Lease:
    """Of one node."""

    def __init__(self, lanes: int, limit: int, rate: float | None, tuning: Tuning) -> None:
        self.lanes = lanes
        """Items that may be in flight here and in the node's shards."""
        self.limit = limit
        """`max_concurrency` of the whole run."""
        self.rate = rate
        self.heard = 0
        """The last message of the parent."""
        self.paused_at: float | None = None
        self._tuning = tuning
        self._answer = False
        self._draining = False
        self._told_tail = False
        self._told_started = False
        self._released = 0.0
        self._release_at: float | None = None
        self._release_after = tuning.release_seconds

    @property
    def may_use(self) -> int:
        """Lanes, now: none in a pause."""
        return 0 if self.paused_at is not None else self.lanes

    def hear(self, message: LanesMessage) -> None:
        """From the parent."""
        if message.seq > self.heard:
            self.heard, self.lanes, self.limit = message.seq, message.lanes, message.limit
            self.rate = message.rate
            self._answer |= message.answer

    def resize(self, lanes: int) -> None:
        """By an operator, of a whole run."""
        self.lanes = self.limit = lanes

    def pause(self, now: float) -> None:
        self.paused_at = self.paused_at or now

    def resume(self, now: float) -> float:
        """Goes on; returns the seconds that the pause lasted."""
        began, self.paused_at = self.paused_at, None
        return 0.0 if began is None else now - began

    def to_report(
        self, used: int, wants: bool, starting: bool, kept: bool, now: float
    ) -> tuple[int, bool] | float | None:
        """What a shard tells its parent now: the lanes that it keeps, and whether it wants lanes.

        A number is when to ask again; none: when something has changed. `used` are the lanes in use, `wants` is whether
        more could be used, `starting` whether something is left to start, `kept` whether all shards below keep to
        their lanes.
        """
        over = used - self.lanes
        if self._answer and kept:
            self._draining = over > 0
            return self._told(max(used, self.lanes), wants)
        if self._draining and over <= 0:
            self._draining = False
            return self._told(self.lanes, wants)
        if wants:  # a held item is to run again
            self._told_started = False
            return self._told(max(used, self.lanes), True) if self._told_tail else None
        if self.rate is not None and not starting and not self._told_started:  # others may have its part of the rate
            self._told_started = True
            self.lanes = min(self.lanes, used)
            return self._told(used, False)
        if over < 0:
            return self._give_back(used, now)
        return None

    def _give_back(self, used: int, now: float) -> tuple[int, bool] | float:
        tuning = self._tuning
        if self._release_at is None:
            self._released, self._release_at = now - tuning.release_half_seconds, now + tuning.release_seconds
        early = 2 * (self.lanes - used) >= self.lanes and now >= self._released + tuning.release_half_seconds
        if not early and now < self._release_at:
            return self._release_at
        self._release_after *= 2
        self._released, self._release_at = now, now + self._release_after
        self.lanes = used
        return self._told(used, False)

    def _told(self, holds: int, wants: bool) -> tuple[int, bool]:
        self._answer = False
        self._told_tail = not wants
        return holds, wants
