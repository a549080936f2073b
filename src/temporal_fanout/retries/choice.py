"""What a retry is told: which items of a finished workflow it takes, what it changes of how they are started, and the
limits of the run. Each is one message, JSON whatever the data converter; arguments are payloads beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.common.v1 import Payload

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.listing import Row
from temporal_fanout.options import FanOutOptions
from temporal_fanout.results import Outcome
from temporal_fanout.wire.payloads import from_json, unpack
from temporal_fanout.wire.protocol import Message, UnknownMessage
from temporal_fanout.wire.starts import MAX_BYTES, Start, changed
from temporal_fanout.wire.tuning import VERSION

ORIGIN_MEMO = "fanout_origin"
"""Of a retry: `workflow_id` and `run_id` of what it retries, the first run of a chain."""

NOT_COMPLETED = tuple(outcome for outcome in Outcome if outcome is not Outcome.COMPLETED)
"""What a retry takes unless told."""


@dataclass(frozen=True, kw_only=True)
class Choice(Message):
    """Items of a chain of runs. An item is taken if everything that is given fits it."""

    version: int = VERSION

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
    """What is changed of every start: task_queue, timeout, retry, as in the JSON form of `FanOutOptions`."""
    has_args: bool = False
    """Whether the arguments after each item are changed too: to payloads that travel beside this."""

    @property
    def is_compensation(self) -> bool:
        """Whether it takes what had completed: then from the last to the first, as undoing asks for."""
        return Outcome.COMPLETED in self.outcomes

    def takes(self, row: Row) -> bool:
        item = row.item
        return (
            item.outcome in self.outcomes
            and (not self.types or item.type in self.types)
            and (not self.indexes or self._names(row))
        )

    def _names(self, row: Row) -> bool:
        return not row.item.is_unnamed and any(first <= row.index <= last for first, last in self.indexes)

    def start(self, row: Row, args: Sequence[Payload]) -> Start:
        """How a retry starts the item of this row; `args` are those of the changes, as a history would have them.

        Raises `InvalidInput` where that is not known, or takes more than a page of the source may have.
        """
        item, recorded = row.item, row.item.start
        if item.is_unnamed:
            raise InvalidInput(
                f"{item.parent_id}: the history of this shard is gone, and its result does not name every item that is "
                f"{item.outcome}; choose items by index"
            )
        if recorded is None:
            why = (
                "was never started and its"
                if item.outcome is Outcome.NOT_STARTED
                else "has no history any more and its"
            )
            raise InvalidInput(
                f"item {row.index}: {why} input is in no history; choose other outcomes, "
                "or start what is left from where its items come from"
            )
        start = changed(recorded, self.changes, self.work, args if self.has_args else None)
        if start.ByteSize() > MAX_BYTES:
            size = f"{start.ByteSize() / 1024**2:.1f} MiB"
            raise InvalidInput(f"item {row.index}: takes {size}, over {MAX_BYTES / 1024**2:.1f}; leave it out")
        return start

    @classmethod
    def from_payload(cls, payload: Payload) -> Choice:
        """Raises `InvalidInput` for what is no choice, and `UnknownMessage` for one of a newer version."""
        given = _given(payload)
        try:
            ranges = [(int(first), int(last)) for first, last in given["indexes"]]
            taken = given | {"outcomes": [Outcome(o) for o in given["outcomes"]], "indexes": ranges}
        except (TypeError, KeyError, ValueError):
            raise InvalidInput(_REFUSED) from None
        return cls.from_dict(taken)


@dataclass(frozen=True, kw_only=True)
class Limits(Message):
    """How the run goes over what was chosen."""

    version: int = VERSION
    work: str
    """A name for what is run."""
    options: Mapping[str, Any]
    """In the JSON form of `FanOutOptions`."""

    @property
    def of_run(self) -> FanOutOptions:
        """Raises `InvalidInput`."""
        return FanOutOptions.from_dict(self.options)

    @classmethod
    def from_payload(cls, payload: Payload) -> Limits:
        """Raises as that of `Choice`."""
        given = _given(payload)
        if not isinstance(given.get("work"), str) or not isinstance(given.get("options"), dict):
            raise InvalidInput(_REFUSED)
        return cls.from_dict(given)


_REFUSED = "input: must be what fanout retry starts this workflow with; use that, or temporal_fanout.retry"


def _given(payload: Payload) -> dict[str, Any]:
    try:
        given = from_json(payload)
    except ValueError as error:
        raise InvalidInput(f"{_REFUSED} ({error})") from None
    if not isinstance(given, dict) or not isinstance(given.get("version"), int):
        raise InvalidInput(_REFUSED)
    if given["version"] > VERSION:
        raise UnknownMessage(f"input.version: is {given['version']}, and this worker knows up to {VERSION}")
    return given


def args_of(payload: Payload) -> list[Payload]:
    """The arguments that a choice changes, packed as one. Raises `InvalidInput`."""
    try:
        return unpack(payload)
    except ValueError:
        raise InvalidInput(_REFUSED) from None


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
