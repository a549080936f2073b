"""What a run, its shards and clients say to one another: the names of workflows, signals, queries and updates.

Each update and signal takes one JSON object.
"""

from __future__ import annotations

SHARD_WORKFLOW = "FanOutShard"
"""The workflow of a shard."""

PROGRESS = "fanout_progress"
"""Query: the progress of each fan-out of the workflow, by name."""
HELD = "fanout_held"
"""Query: the items that wait for a person, of each fan-out, by name; a shard answers for its own."""

PAUSE = "fanout_pause"
"""Update `{name?}`: start no item; answers once no shard does."""
RESUME = "fanout_resume"
"""Update `{name?}`: start items again."""
RESIZE = "fanout_resize"
"""Update `{name?, max_concurrency}`: have so many items in flight, at most; answers once every shard keeps to it."""
ABORT = "fanout_abort"
"""Update `{name?, cancel?}`: start no item any more, and cancel those in flight, or wait for them."""
RETRY = "fanout_retry_items"
"""Update `{name?, items?, input?}`: run held items again, all if none are named; answers with their indexes."""
SKIP = "fanout_skip_items"
"""Update `{name?, items?}`: let held items be failures."""

LANES = "fanout_lanes"
"""Signal to a shard: how many lanes are its own from now on."""
STOP = "fanout_stop"
"""Signal to a shard: start nothing more."""
REPORT = "fanout_report"
"""Signal from a shard: the lanes that it holds, what it has heard, and how many of its items failed."""
