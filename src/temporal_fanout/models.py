"""What goes into a fan-out and what comes out: options, sources, outcomes, results.

Plain dataclasses, checked where they enter. Every object has one JSON form (`from_dict`, `to_dict`), used by the
workflows' input, by the command line and between a run and its shards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any

from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

MAX_SHARD_SIZE = 300
"""Items of one shard, at most: 14 events an item in the worst case (a timer, a child, a workflow task for each of
their events) keep its history under 5,000 events."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_RESERVED_NAME = re.compile(r"[sf]\d+")
_ON_FAILURE = ("continue", "hold")
_CLOSE_POLICIES = ("TERMINATE", "ABANDON", "REQUEST_CANCEL")


class InvalidInput(ApplicationError):
    """Input that can never work; the message is one sentence that starts with the offending field.

    An `ApplicationError` that is not retried: raised in a workflow, it fails the workflow, where any other exception
    would have its task tried for ever.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, type="InvalidInput", non_retryable=True)


class Outcome(StrEnum):
    """What became of an item. Success is `completed`, nothing else."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    NOT_STARTED = "not_started"


def _retry_policy(given: Any) -> RetryPolicy:
    """Temporal's `RetryPolicy`, checked, from itself or from its JSON form: the same names, intervals in seconds."""
    if isinstance(given, Mapping):
        known = _known("retry", given, RetryPolicy)
        for key in ("initial_interval", "maximum_interval"):
            if known.get(key) is not None:
                known[key] = _duration(f"retry.{key}", known[key])
        given = RetryPolicy(**{"maximum_attempts": 1} | known)
    if not isinstance(given, RetryPolicy):
        raise InvalidInput(f"retry: must be an object or a RetryPolicy, not {_shown(given)}")
    whole("retry.maximum_attempts", given.maximum_attempts, least=0)
    _duration("retry.initial_interval", given.initial_interval)
    number("retry.backoff_coefficient", given.backoff_coefficient, least=1)
    if given.maximum_interval is not None and given.maximum_interval < given.initial_interval:
        raise InvalidInput("retry.maximum_interval: must not be shorter than retry.initial_interval")
    if given.non_retryable_error_types is not None:
        _strings("retry.non_retryable_error_types", given.non_retryable_error_types)
    return given


@dataclass(frozen=True, kw_only=True)
class FanOutOptions:
    """The limits of a fan-out. Every field has a default that is right for short children.

    Raises `InvalidInput`, naming the field, for a value that cannot work.
    """

    max_concurrency: int = 100
    """Items in flight at any moment, over all shards of the run."""
    shard_size: int = 200
    """Items that one workflow history takes, 1 to 300; more items than this run in shards."""
    starts_per_second: float | None = None
    """Items started per second over the whole run, at most; none is no limit."""
    timeout: timedelta = timedelta(hours=1)
    """From an item's start, waiting for a worker and every retry included, to its end; over it: `timed_out`."""
    retry: RetryPolicy = field(default_factory=lambda: RetryPolicy(maximum_attempts=1))
    """How often an item is tried: once, unless told. `maximum_attempts=0` has no limit but the item's timeout."""
    task_queue: str | None = None
    """Task queue of the items; none is the parent's."""
    args: Sequence[Any] = ()
    """Further arguments, given to every item after its own."""
    name: str | None = None
    """Distinguishes the fan-outs of one parent, and is part of their children's ids."""
    heartbeat_timeout: timedelta | None = None
    """For activities that heartbeat: how long one may be silent; without it, a dead worker is noticed at `timeout`."""
    search_attributes: Mapping[str, str | int | float | bool | list[str]] = field(default_factory=dict)
    """Set on every child: text is a Keyword, a list a KeywordList. They must be registered in the namespace."""
    memo: Mapping[str, Any] = field(default_factory=dict)
    """Set on every child."""
    priority: int | None = None
    """Temporal's priority key of every item, 1 (first) to 5."""
    parent_close_policy: str = "TERMINATE"
    """What the server does with open children when their parent closes: TERMINATE, ABANDON or REQUEST_CANCEL."""
    tolerated_failure_count: int | None = None
    """Failures after which the run stops starting; none tolerates all."""
    tolerated_failure_ratio: float | None = None
    """The same as a share of all items, 0 to 1; of both the smaller counts."""
    on_failure: str = "continue"
    """What happens when an item did not complete: `continue`, or `hold` it for a person, who retries or skips it."""
    max_result_bytes: int = 1024 * 1024
    """What a result may hold of values, results and errors; over it entries are left out and `truncated` says so."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        whole("max_concurrency", self.max_concurrency, least=1)
        whole("shard_size", self.shard_size, least=1, most=MAX_SHARD_SIZE)
        if self.starts_per_second is not None:
            number("starts_per_second", self.starts_per_second, above=0)
        put(self, "timeout", _duration("timeout", self.timeout))
        put(self, "retry", _retry_policy(self.retry))
        if self.heartbeat_timeout is not None:
            put(self, "heartbeat_timeout", _duration("heartbeat_timeout", self.heartbeat_timeout))
        if self.task_queue is not None and (not isinstance(self.task_queue, str) or not self.task_queue.strip()):
            raise InvalidInput(f"task_queue: must be a name, not {_shown(self.task_queue)}")
        if isinstance(self.args, str) or not isinstance(self.args, Sequence):
            raise InvalidInput(f"args: must be an array, not {_shown(self.args)}")
        put(self, "args", tuple(self.args))
        if self.name is not None and (
            not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or _RESERVED_NAME.fullmatch(self.name)
        ):
            raise InvalidInput(
                f"name: must be a letter and up to 63 letters, digits, - or _ (not s1, f1, …), not {_shown(self.name)}"
            )
        for key in ("search_attributes", "memo"):
            value = getattr(self, key)
            if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
                raise InvalidInput(f"{key}: must be an object, not {_shown(value)}")
        for attribute, value in self.search_attributes.items():
            if isinstance(value, list):
                _strings(f"search_attributes.{attribute}", value)
            elif not isinstance(value, str | int | float | bool):
                raise InvalidInput(
                    f"search_attributes.{attribute}: must be text, a number, true, false or a list of texts, "
                    f"not {_shown(value)}"
                )
        if self.priority is not None:
            whole("priority", self.priority, least=1, most=5)
        if self.parent_close_policy not in _CLOSE_POLICIES:
            raise InvalidInput(
                f"parent_close_policy: must be {', '.join(_CLOSE_POLICIES)}, not {_shown(self.parent_close_policy)}"
            )
        if self.tolerated_failure_count is not None:
            whole("tolerated_failure_count", self.tolerated_failure_count, least=0)
        if self.tolerated_failure_ratio is not None:
            number("tolerated_failure_ratio", self.tolerated_failure_ratio, least=0, most=1)
        if self.on_failure not in _ON_FAILURE:
            raise InvalidInput(f"on_failure: must be {' or '.join(_ON_FAILURE)}, not {_shown(self.on_failure)}")
        whole("max_result_bytes", self.max_result_bytes, least=0, most=1536 * 1024)

    @classmethod
    def from_dict(cls, given: Any) -> FanOutOptions:
        """Options from their JSON form: the same names, durations in seconds. An unknown name is `InvalidInput`."""
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise InvalidInput(f"options: must be an object, not {_shown(given)}")
        return cls(**_known("options", given, cls))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; what is at its default is left out."""
        default = FanOutOptions()
        result: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if value == getattr(default, f.name):
                continue
            if isinstance(value, RetryPolicy):
                value = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
            elif isinstance(value, Mapping):
                value = dict(value)
            result[f.name] = _plain(value)
        return result

    def tolerated(self, total: int) -> int | None:
        """How many of `total` items may fail; none is all of them."""
        bounds = []
        if self.tolerated_failure_count is not None:
            bounds.append(self.tolerated_failure_count)
        if self.tolerated_failure_ratio is not None:
            bounds.append(math.floor(self.tolerated_failure_ratio * total + 1e-9))
        return min(bounds) if bounds else None


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
        object.__setattr__(self, "timeout", _duration("timeout", self.timeout))

    @classmethod
    def file(cls, address: str, format: str | None = None) -> Source:
        """JSON lines or CSV at any address that fsspec knows, read by the worker.

        `format` is `jsonl` or `csv`; none takes it from the ending. A CSV's first line names the columns; its items
        are objects of texts. The worker reads only below its `source_roots` (see `FanOutPlugin`).
        """
        if not isinstance(address, str) or not address.strip():
            raise InvalidInput(f"source: must be an address, not {_shown(address)}")
        if format is None:
            format = "csv" if address.lower().endswith(".csv") else "jsonl"
        if format not in ("jsonl", "csv"):
            raise InvalidInput(f"format: must be jsonl or csv, not {_shown(format)}")
        return cls("fanout_read_file", [{"address": address, "format": format}])

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Source:
        """A source from its JSON form: `{"source": ADDRESS, "format": "csv"}` or `{"activity": NAME, "args": […]}`."""
        if "source" in given:
            extra = set(given) - {"source", "format"}
            if extra:
                raise InvalidInput(f"input.{min(extra)}: is not known; a source has source and format")
            return cls.file(given["source"], given.get("format"))
        known = _known("input", given, cls)
        if not isinstance(known.get("activity"), str) or not isinstance(known.get("args", []), list):
            raise InvalidInput('input: must be a JSON array, {"source": ADDRESS} or {"activity": NAME, "args": […]}')
        return cls(**known)


@dataclass(frozen=True)
class Failure:
    """An item that was started and did not complete, with its root cause."""

    index: int
    """Place in the input, from 0."""
    value: Any
    """The item, as JSON."""
    outcome: Outcome
    error: str
    """The message of the root cause: of the activity's error where that is the cause."""
    type: str
    """The `type` of an `ApplicationError`, else the name of the error's class."""


@dataclass(frozen=True)
class Completed:
    """An item that completed."""

    index: int
    value: Any
    result: Any
    """As JSON; what is not JSON is `{"encoding": …, "size": bytes}`: the history has it whole."""


@dataclass
class FanOutResult:
    """What became of every item, in the order of the input.

    The counts are always whole; `completed` and `failed` are cut at `max_result_bytes`, and `truncated` says so.
    """

    total_children: int
    outcomes: dict[Outcome, int]
    """Items by outcome; together `total_children`."""
    completed: list[Completed]
    failed: list[Failure]
    truncated: bool = False

    @property
    def success_count(self) -> int:
        """Items that completed."""
        return self.outcomes.get(Outcome.COMPLETED, 0)

    @property
    def not_started_count(self) -> int:
        """Items that were never started, since the run was stopped before."""
        return self.outcomes.get(Outcome.NOT_STARTED, 0)

    @property
    def failure_count(self) -> int:
        """Items that were started and did not complete."""
        return self.total_children - self.success_count - self.not_started_count

    @property
    def success_rate(self) -> float:
        """Completed of all items, 0 to 1; 0 for no items."""
        return self.success_count / self.total_children if self.total_children else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: the six keys that never change, then more."""
        return {
            "total_children": self.total_children,
            "successful_results": [{"value": c.value, "result": c.result} for c in self.completed],
            "failed_children": [{"value": f.value, "error": f.error, "type": f.type} for f in self.failed],
            "success_count": self.success_count,
            "failure_count": self.failure_count,
            "success_rate": self.success_rate,
            "outcomes": {str(o): n for o, n in self.outcomes.items() if n},
            "failed_indexes": [f.index for f in self.failed],
            "failed_outcomes": [str(f.outcome) for f in self.failed],
            "truncated": self.truncated,
        }

    def summary(self, failures: int = 20) -> dict[str, Any]:
        """The counts and the first failures: small enough for the details of an error."""
        return {
            "total_children": self.total_children,
            "success_count": self.success_count,
            "failure_count": self.failure_count,
            "success_rate": self.success_rate,
            "outcomes": {str(o): n for o, n in self.outcomes.items() if n},
            "failed_children": [
                {"index": f.index, "outcome": str(f.outcome), "error": f.error, "type": f.type}
                for f in self.failed[:failures]
            ],
        }


class FanOutStopped(ApplicationError):
    """The run was stopped before its end; `result` is what became of every item so far."""

    result: FanOutResult

    def __init__(self, message: str, type: str, result: FanOutResult) -> None:
        super().__init__(message, result.summary(), type=type, non_retryable=True)
        self.result = result


class ToleratedFailureExceeded(FanOutStopped):
    """More items failed than `tolerated_failure_count` or `tolerated_failure_ratio` allow."""


class SourceFailed(FanOutStopped):
    """The source gave an error, or not the items that it had promised."""


def _known(path: str, given: Mapping[str, Any], cls: type) -> dict[str, Any]:
    names = [f.name for f in fields(cls)]
    for key in given:
        if key not in names:
            raise InvalidInput(f"{path}.{key}: is not known; known are {', '.join(names)}")
    return dict(given)


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def whole(path: str, value: Any, *, least: int, most: int | None = None) -> None:
    """Raises `InvalidInput` unless the value is a whole number in these bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        bound = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InvalidInput(f"{path}: must be a whole number {bound}, not {_shown(value)}")


def number(
    path: str, value: Any, *, above: float | None = None, least: float | None = None, most: float | None = None
) -> None:
    """Raises `InvalidInput` unless the value is a finite number in these bounds."""
    good = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    good = good and (above is None or value > above) and (least is None or value >= least)
    if not good or (most is not None and value > most):
        bound = f"above {above}" if above is not None else f"of at least {least}"
        bound = bound if most is None else f"from {least} to {most}"
        raise InvalidInput(f"{path}: must be a number {bound}, not {_shown(value)}")


def _duration(path: str, value: Any) -> timedelta:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    number(path, seconds, above=0, least=0.001, most=10 * 365 * 86400)
    return value if isinstance(value, timedelta) else timedelta(seconds=seconds)


def _strings(path: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise InvalidInput(f"{path}: must be an array of texts, not {_shown(value)}")
