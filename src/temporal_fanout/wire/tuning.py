"""The numbers by which a run works, by the version of the engine that started it.

A run keeps the numbers with which it began: a replay must make the same commands. So a number is changed by a new
version here, never in place; the root of a run takes its version from a patch marker, and tells its shards all of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """Of one run."""

    lanes_per_shard: int = 50
    """Lanes of a shard while others wait to be opened, so that a run of 100 lanes has two shards at work."""
    max_shards: int = 50
    """Shards that a node plans, at most, which keeps its history under 5,000 events; more items nest deeper."""
    slice_bytes: int = 1024 * 1024
    """Of the items that a shard is given with its start; the server refuses a payload over 2 MiB."""
    history_bytes: int = 5 * 1024 * 1024
    """History over which a node hands what it has not started to fresh shards."""
    history_events: int = 3500
    """The same in events: what runs then may still add to it."""
    release_seconds: float = 1.0
    """How long a few idle lanes may stay with a shard that has nothing left to start; doubled each time."""
    release_half_seconds: float = 0.5
    """The same where half of its lanes are idle: each release costs events of the shard and of its parent."""
    pace_seconds: float = 0.25
    """The shortest timer of a run under a rate of starts: each costs events."""
    pace_credit_seconds: float = 2.0
    """Starts missed for so long are made up for: the server's timers are up to a second late."""
    task_bytes: int = 1024 * 1024
    """Bytes of the commands of one workflow task; the server terminates a workflow that sends over 4 MiB."""
    task_starts: int = 200
    """Starts in one workflow task: well under the SDK's two seconds for a task's code."""


TUNING: dict[int, Tuning] = {1: Tuning()}
"""By version."""
VERSION = max(TUNING)
"""Of new runs."""
