"""What became of an item, as histories tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from temporalio.api.common.v1 import Payload

from temporal_fanout.results import Outcome
from temporal_fanout.wire.starts import Start


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of an item; in a parent that is not ours, of a child or an activity."""

    index: int | None
    """Place in the input of its fan-out, from 0; none where it belongs to no fan-out of ours."""
    child_id: str
    """The id of the workflow or of the activity."""
    child_type: str
    """The type of the workflow, or `activity:NAME`."""
    outcome: Outcome | None
    """None: it still runs."""
    inputs: Sequence[Payload] = ()
    """As they stand in the history: the item, then further arguments; empty where only a source has the item."""
    result: Payload | None = None
    """As it stands in the history."""
    error: str = ""
    """The message of the root cause, where it did not complete."""
    type: str = ""
    """The `type` of an `ApplicationError`, else the name of the error's class."""
    started_at: datetime | None = None
    """When its parent started it; none where it was not."""
    seconds: float | None = None
    """From there to its end."""
    run_id: str = ""
    """Of a child, its first run."""
    task_queue: str = ""
    fan_out: str = ""
    """The name of its fan-out, if that has one."""
    parent_id: str = ""
    """The workflow that started it: the run, or a shard of it."""
    attempt: int = 0
    """Of an activity that has ended, its last attempt, from 1 on; of a child its own histories tell: 0."""
    from_result: bool = False
    """Its history is gone: this is what the history of its parent holds of it. An index of none then means that of
    several items only the outcomes are known, and not which item had which."""
    start: Start | None = field(default=None, repr=False, compare=False)
    """The attributes of the event that started it; of one that was not started, how it would have been, if known."""

    @property
    def is_unnamed(self) -> bool:
        """Whether nothing says which item of its fan-out it is."""
        return self.from_result and self.index is None
