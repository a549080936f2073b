"""Sources: what a fan-out asks an activity for, page by page, and what it answers.

A source is an activity `(request: PageRequest, *args) -> Page`. A request whose limit is 0 is a survey: it asks how
many items there are, and where each `stride`-th of them starts, if that helps the activity to find it again. Any other
request asks for `limit` items from `offset` on, of at most `max_bytes` together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, SupportsIndex, TypeVar, overload

from temporal_fanout.checks import InvalidInput, duration, known, shown, task_queue, work_type

ItemT = TypeVar("ItemT", covariant=True)


class Items(Protocol[ItemT]):
    """Any sequence but text and bytes, which are sequences of themselves: those look for parts in `in`, not for any."""

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> ItemT: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[ItemT]: ...
    def __contains__(self, value: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[ItemT]: ...


@dataclass(frozen=True)
class Source:
    """Items that never pass through one payload: an activity that returns them page by page.

    `activity` is its function or name. It is called with a `temporal_fanout.sources.PageRequest` and then `args`,
    and returns a `temporal_fanout.sources.Page`. `Source.file` reads a file.
    """

    activity: Any
    args: Sequence[Any] = ()
    task_queue: str | None = None
    """Where the activity runs; none is the parent's task queue."""
    timeout: timedelta = timedelta(minutes=10)
    """For one page, waiting for a worker and five attempts included."""

    def __post_init__(self) -> None:
        if isinstance(self.activity, str):
            work_type("source.activity", self.activity)
        elif not callable(self.activity):
            raise InvalidInput(f"source.activity: must be an activity's function or name, not {shown(self.activity)}")
        if isinstance(self.args, str | bytes | bytearray) or not isinstance(self.args, Sequence):
            raise InvalidInput(f"source.args: must be an array, not {shown(self.args)}")
        if self.task_queue is not None:
            task_queue("source.task_queue", self.task_queue)
        object.__setattr__(self, "timeout", duration("source.timeout", self.timeout))

    @classmethod
    def file(cls, address: str, format: str | None = None) -> Source:
        """JSON lines or CSV at any address that fsspec knows, read by the worker.

        `format` is `jsonl` or `csv`; none takes it from the ending. A CSV's first line names the columns; its items
        are objects of texts. The worker reads only below its `source_roots` (see `FanOutPlugin`).
        """
        if not isinstance(address, str) or not address.strip():
            raise InvalidInput(f"source: must be an address, not {shown(address)}")
        if format is None:
            format = "csv" if address.lower().endswith(".csv") else "jsonl"
        if format not in ("jsonl", "csv"):
            raise InvalidInput(f"format: must be jsonl or csv, not {shown(format)}")
        return cls("fanout_read_file", [{"address": address, "format": format}])

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Source:
        """A source from its JSON form: `{"source": ADDRESS, "format": "csv"}` or `{"activity": NAME, "args": […]}`."""
        if "source" in given:
            extra = set(given) - {"source", "format"}
            if extra:
                raise InvalidInput(f"input.{min(extra)}: is not known; a source has source and format")
            return cls.file(given["source"], given.get("format"))
        taken = known("input", given, cls)
        if not isinstance(taken.get("activity"), str) or not isinstance(taken.get("args", []), list):
            raise InvalidInput('input: must be a JSON array, {"source": ADDRESS} or {"activity": NAME, "args": […]}')
        return cls(**taken)


PAGE_BYTES = 1024 * 1024
"""Of one page, at most; the server refuses a payload over 2 MiB."""

POSITIONS = 4096
"""Of a survey, at most: then every second one is left out, and the stride doubles."""

HEARTBEAT = timedelta(seconds=60)

READ_FILE = "fanout_read_file"

READ_HISTORY = "fanout_read_history"
"""The sources that are ours, which heartbeat."""


@dataclass(frozen=True)
class PageRequest:
    """What a fan-out asks of a source."""

    offset: int
    """Index of the first item wanted, from 0."""
    limit: int
    """Items wanted, at most; 0 is a survey."""
    max_bytes: int
    """Bytes of the items as JSON, at most. One item over it may be returned alone."""
    position: Any = None
    """Where the item at `offset` starts, in the source's own terms, if a survey or a page has said so."""
    stride: int = 0
    """Of a survey: positions wanted for every so many items from `offset` on."""
    count: int | None = None
    """Of a survey: how many items from `offset` on it is about; none is all."""


@dataclass(frozen=True)
class Page:
    """What a source answers."""

    items: list[Any] = field(default_factory=list)
    """JSON values, at most `limit` of them; fewer where `max_bytes` or the end was reached."""
    total: int | None = None
    """Of a survey: how many items there are."""
    positions: list[Any] = field(default_factory=list)
    """Of a survey: where every `stride`-th item starts, the first at `offset`."""
    stride: int = 0
    """Of a survey: the items between two positions, a multiple of what was asked for."""
    next: Any = None
    """Where the item after the last one starts."""
