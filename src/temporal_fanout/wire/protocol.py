"""What a run, its shards and clients say to one another: messages, and the names of signals, queries and updates.

Messages are dataclasses. Each is one JSON payload, whatever the user's payload converter, and passes through the user's
codec like every other. What belongs to the user, such as items, arguments and results, is never in that JSON: it stays
the payloads that the user's converter made, which travel beside it, packed as one.

A message that says more than this code knows is an `UnknownMessage`. It fails the workflow *task*, which a newer worker
takes: a rolling upgrade loses no item. Any change here needs a new version (see `tuning`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from temporal_fanout.wire.payloads import from_json, pack, to_json, unpack
from temporal_fanout.wire.tuning import VERSION, Tuning

M = TypeVar("M", bound="Message")

SHARD_WORKFLOW = "FanOutShard"
"""The workflow of a shard. Its inputs are a `ShardSpec`, and what is `Carried` with it."""
SHARD_INPUTS = 2
RETRY_WORKFLOW = "FanOutRetry"
"""The workflow of a retry."""

PROGRESS = "fanout_progress"
"""Query: the progress of each fan-out of the workflow, by name. An ended one is only counted."""
HELD = "fanout_held"
"""Query `{name?, after?, limit?, inputs?}`: the items that wait for a person, of each fan-out, by name, from the index
after `after` on, at most `limit` of each; a shard answers for its own. Each answer is `{items, more}`. Inputs are as
JSON and cut, then with `input_truncated`; `inputs: false` leaves them out. `more` says that others follow."""

PAUSE = "fanout_pause"
"""Update `{name?}`: start no item; answers once no shard does."""
RESUME = "fanout_resume"
"""Update `{name?}`: start items again."""
RESIZE = "fanout_resize"
"""Update `{name?, max_concurrency}`: have so many items in flight, at most; answers once every shard keeps to it."""
ABORT = "fanout_abort"
"""Update, or signal, `{name?, cancel?}`: start no item any more, and cancel those in flight, or wait for them. The
signal is for runs whose updates are used up: the server lets a run have 2,000."""
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


class UnknownMessage(Exception):
    """A message that this code cannot read: it is of a newer version, or none of ours. It fails the workflow task."""


class Message:
    """One JSON payload."""

    def to_payload(self) -> Payload:
        return to_json(asdict(self))  # type: ignore[call-overload]

    def to_raw(self) -> RawValue:
        return RawValue(self.to_payload())

    @classmethod
    def from_payload(cls: type[M], payload: Payload) -> M:
        """Raises `UnknownMessage`."""
        try:
            given = from_json(payload)
        except ValueError as error:
            raise UnknownMessage(f"{cls.__name__}: {error}") from None
        return cls.from_dict(given)

    @classmethod
    def from_dict(cls: type[M], given: Any) -> M:
        """Raises `UnknownMessage`."""
        own = fields(cls)  # type: ignore[arg-type]
        if not isinstance(given, dict):
            raise UnknownMessage(f"{cls.__name__}: is not an object")
        if unknown := given.keys() - {one.name for one in own}:
            raise UnknownMessage(f"{cls.__name__}.{min(unknown)}: is not known here; a newer worker knows it")
        needed = {one.name for one in own if one.default is MISSING and one.default_factory is MISSING}
        if missing := needed - given.keys():
            raise UnknownMessage(f"{cls.__name__}.{min(missing)}: is missing")
        return cls(**given)


@dataclass(frozen=True)
class StartOptions(Message):
    """How items are started, in full: nothing is left to the defaults of a release."""

    timeout: float
    """Seconds, as all durations here."""
    retry: dict[str, Any]
    """Of a `RetryPolicy`, by its names."""
    task_queue: str | None
    attempt_timeout: float | None
    start_timeout: float | None
    heartbeat_timeout: float | None
    search_attributes: dict[str, Any]
    priority: int | None
    parent_close_policy: str


@dataclass(frozen=True)
class SourceSpec(Message):
    """Where items come from; its arguments are payloads."""

    activity: str
    task_queue: str | None
    timeout: float


@dataclass(frozen=True)
class HeldSpec(Message):
    """An item that did not complete and waits for a person, in a shard to which it was handed."""

    index: int
    id: str
    outcome: str
    error: str
    type: str
    seconds: float
    again: bool
    """It runs again, as soon as it may."""


@dataclass(frozen=True)
class ShardSpec(Message):
    """What a shard is told: which items, and all that it may do with them."""

    version: int
    """Of the engine, of the whole run."""
    tuning: dict[str, Any]
    """The fields of `Tuning`, in full."""
    id: str
    """Prefix of the ids of its own shards."""
    item_prefix: str
    """Of the ids of items: what follows is the index."""
    name: str
    """Of the fan-out; empty for the first that has none."""
    work: str
    origin: dict[str, str]
    """Of the run: `parent_type` and `scenario`, for metrics."""
    start: int
    """Index of its first item."""
    count: int
    """How many items follow from there, or how many `indexes` there are."""
    shard_size: int
    on_failure: str
    lanes: int
    limit: int
    """`max_concurrency` of the whole run."""
    rate: float | None
    """Starts a second of this shard, at most; none is no limit."""
    first_at: float
    """When its first start may be, under a rate, in seconds since 1970; it makes up for beginning later."""
    tolerated: int | None
    """How many of its items may fail before it stops."""
    result_bytes: int
    with_values: bool
    """Whether its result has the items too: the root does not have those of a source."""
    largest_result: int
    start_options: dict[str, Any]
    """The fields of `StartOptions`."""
    source: dict[str, Any] | None
    """The fields of `SourceSpec`; none where the items are payloads beside the spec."""
    position: Any
    """Of a source: where its first item starts, in the source's own terms."""
    indexes: list[int] | None
    """The items' indexes where they do not follow one another: held items that were handed on."""
    held: list[dict[str, Any]]
    """The fields of `HeldSpec` of those of its items that have run before."""
    args: int
    """How many of the payloads are arguments after each item."""
    memo: list[str]
    """Keys of the memo, whose values are the payloads after these."""
    source_args: int
    """How many payloads after those are the source's arguments; all that follow are items."""


@dataclass(frozen=True)
class Carried:
    """The user's payloads that travel with a `ShardSpec`."""

    args: Sequence[Payload] = ()
    memo: Mapping[str, Payload] = field(default_factory=dict)
    source_args: Sequence[Payload] = ()
    items: Sequence[Payload] = ()

    def packed(self) -> Payload:
        return pack([*self.args, *self.memo.values(), *self.source_args, *self.items])

    @classmethod
    def of(cls, spec: ShardSpec, payload: Payload) -> Carried:
        """Those that were packed for this spec. Raises `UnknownMessage`."""
        try:
            every = unpack(payload)
        except ValueError as error:
            raise UnknownMessage(f"ShardSpec: its payloads: {error}") from None
        args, memo = spec.args, spec.args + len(spec.memo)
        items = memo + spec.source_args
        return cls(every[:args], dict(zip(spec.memo, every[args:memo], strict=True)), every[memo:items], every[items:])


@dataclass(frozen=True)
class ShardResult(Message):
    """What a shard returns: packed as the first payload, before those that its entries point to."""

    version: int
    outcomes: dict[str, int]
    completed: list[list[int]]
    """`[index, value, result]`: of the latter two the number of its payload, from 0; -1 is none."""
    failed: list[list[Any]]
    """`[index, value, outcome, error, type]`."""
    truncated: bool
    stop: dict[str, str] | None
    """`type` and `message` of why it stopped before its end."""

    def packed(self, payloads: Sequence[Payload]) -> Payload:
        return pack([self.to_payload(), *payloads])

    @classmethod
    def unpacked(cls, payload: Payload) -> tuple[ShardResult, list[Payload]]:
        """Raises `UnknownMessage`."""
        try:
            first, *rest = unpack(payload)
        except ValueError as error:
            raise UnknownMessage(f"ShardResult: {error}") from None
        return cls.from_payload(first), rest


@dataclass(frozen=True)
class LanesMessage(Message):
    """To a shard: what it may use from now on."""

    shard: str
    seq: int
    lanes: int
    limit: int
    rate: float | None
    answer: bool
    """Whether it is to report at once."""


@dataclass(frozen=True)
class StopMessage(Message):
    """To a shard: start nothing more."""

    shard: str
    cancel: bool


@dataclass(frozen=True)
class ReportMessage(Message):
    """From a shard."""

    shard: str
    seq: int
    heard: int
    """The last `LanesMessage` that it has heard."""
    holds: int
    """Lanes that it keeps."""
    has_units: bool
    """Whether it could use more lanes."""
    starting: bool
    """Whether it, or a shard of its own, has items left to start: only then it needs its part of the rate."""
    failures: int
    rest: list[Any] | None = None
    """`[start, count, position]` of items of a source that it gives back, since its history has no room for them."""


def tuning_of(spec: ShardSpec) -> Tuning:
    """Raises `UnknownMessage` for a version or a number that this code does not know."""
    if spec.version > VERSION:
        raise UnknownMessage(f"ShardSpec.version: is {spec.version}, and this worker knows up to {VERSION}")
    known = {one.name for one in fields(Tuning)}
    if unknown := spec.tuning.keys() - known:
        raise UnknownMessage(f"ShardSpec.tuning.{min(unknown)}: is not known here; a newer worker knows it")
    return Tuning(**spec.tuning)


def spec_of(inputs: Sequence[Payload]) -> ShardSpec:
    """Of the inputs of a shard. Raises `UnknownMessage`."""
    if len(inputs) != SHARD_INPUTS:
        raise UnknownMessage(f"ShardSpec: a shard has {SHARD_INPUTS} inputs, not {len(inputs)}")
    return ShardSpec.from_payload(inputs[0])
