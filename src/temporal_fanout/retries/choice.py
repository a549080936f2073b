"""Which items of a finished workflow a retry takes, and what it changes of how they are started."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from temporalio.api.common.v1 import Payload

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.listing import Row
from temporal_fanout.results import Outcome
from temporal_fanout.wire.starts import MAX_BYTES, Start, changed

ORIGIN_MEMO = "fanout_origin"
"""Of a retry: `workflow_id` and `run_id` of what it retries, the first run of a chain."""

NOT_COMPLETED = tuple(outcome for outcome in Outcome if outcome is not Outcome.COMPLETED)
"""What a retry takes unless told."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Items of a chain of runs. An item is taken if everything that is given fits it."""

    workflow_id: str
    first_run: str
    """Of the chain."""
    last_run: str
    outcomes: Sequence[Outcome] = NOT_COMPLETED
    types: Sequence[str] = ()
    """Of errors; none is any."""
    indexes: Sequence[tuple[int, int]] = ()
    """First and last of each range of numbers, as listings have them; none is any."""
    work: str | None = None
    """The child type, or `activity:NAME`, to run instead of each item's own."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What is changed of every start: task_queue, timeout, retry, args, as in the JSON form of `FanOutOptions`."""

    @property
    def is_compensation(self) -> bool:
        """Whether it takes what had completed: then from the last to the first, as undoing asks for."""
        return Outcome.COMPLETED in self.outcomes

    def takes(self, row: Row) -> bool:
        item = row.item
        return (
            item.outcome in self.outcomes
            and (not self.types or item.type in self.types)
            and (not self.indexes or any(first <= row.index <= last for first, last in self.indexes))
        )

    def start(self, row: Row, args: Sequence[Payload]) -> Start:
        """How a retry starts the item of this row; `args` are those of the changes, as a history would have them.

        Raises `InvalidInput` where that is not known, or takes more than a page of the source may have.
        """
        recorded = row.item.start
        if recorded is None:
            raise InvalidInput(
                f"item {row.index}: was never started and its input is in no history; choose other outcomes, "
                "or start what is left from where its items come from"
            )
        start = changed(recorded, self.changes, self.work, args)
        if start.ByteSize() > MAX_BYTES:
            size = f"{start.ByteSize() / 1024**2:.1f} MiB"
            raise InvalidInput(f"item {row.index}: takes {size}, over {MAX_BYTES / 1024**2:.1f}; leave it out")
        return start

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Any) -> Choice:
        """Raises `InvalidInput` for what no `to_dict` has given."""
        try:
            ranges = [(int(first), int(last)) for first, last in given["indexes"]]
            return cls(**given | {"outcomes": [Outcome(o) for o in given["outcomes"]], "indexes": ranges})
        except (TypeError, KeyError, ValueError):
            raise InvalidInput("input: must be what fanout retry starts this workflow with") from None


def ranges(given: Iterable[int | str]) -> list[tuple[int, int]]:
    """Numbers, and texts as `3,7,10-20`, as sorted ranges that do not touch. Raises `InvalidInput`."""
    found: list[tuple[int, int]] = []
    for part in (part for one in given for part in str(one).split(",")):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part, re.ASCII)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise InvalidInput(f"index: must be numbers from 0 on and ranges, as in 3,7,10-20, not {part!r:.60}")
        found.append((int(match[1]), int(match[2] or match[1])))
    merged: list[tuple[int, int]] = []
    for first, last in sorted(found):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged
