"""The limits of a fan-out, checked where they enter; their JSON form has the same names."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from temporalio.common import RetryPolicy

from temporal_fanout.checks import (
    COUNT,
    InvalidInput,
    duration,
    known,
    number,
    shown,
    strings,
    task_queue,
    utf8,
    whole,
)

MAX_SHARD_SIZE = 300
"""Items of one shard, at most: 14 events an item in the worst case (a timer, a child, a workflow task for each of
their events) keep its history under 5,000 events."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")

_RESERVED_NAME = re.compile(r"[sf]\d+")

_ON_FAILURE = ("continue", "hold")

_CLOSE_POLICIES = ("TERMINATE", "ABANDON", "REQUEST_CANCEL")


MIN_STARTS_PER_SECOND = 0.0001
"""A start every three hours."""
ERROR_TYPES_BYTES = 4096
"""Of all names of errors that are not retried: each start of an item says them."""
ATTRIBUTE_BYTES = 2048
"""Of one search attribute as JSON; over it the server terminates the workflow that starts a child with it."""
ATTRIBUTES_BYTES = 40 * 1024
"""Of all of them, with their names."""

_TIMEOUT_TYPE = "TemporalTimeout:"
"""Before the kind of a time-out, where the name of an error stands."""
_TIMEOUT_TYPES = ("StartToClose", "ScheduleToStart", "ScheduleToClose", "Heartbeat")

_SYSTEM_ATTRIBUTES = frozenset(
    (
        "WorkflowId", "RunId", "WorkflowType", "StartTime", "ExecutionTime", "CloseTime", "ExecutionStatus",
        "TaskQueue", "HistoryLength", "HistorySizeBytes", "ExecutionDuration", "StateTransitionCount",
        "ParentWorkflowId", "ParentRunId", "RootWorkflowId", "RootRunId",
    )
)  # fmt: skip


def _retry_policy(given: Any) -> RetryPolicy:
    """Temporal's `RetryPolicy`, checked, from itself or from its JSON form: the same names, intervals in seconds."""
    if isinstance(given, RetryPolicy):
        given = {f.name: getattr(given, f.name) for f in fields(RetryPolicy)}
    if not isinstance(given, Mapping):
        raise InvalidInput(f"retry: must be an object or a RetryPolicy, not {shown(given)}")
    taken = {"maximum_attempts": 1} | known("retry", given, RetryPolicy)
    if "initial_interval" in taken:
        taken["initial_interval"] = duration("retry.initial_interval", taken["initial_interval"])
    if taken.get("maximum_interval") is not None:
        taken["maximum_interval"] = duration("retry.maximum_interval", taken["maximum_interval"])
    policy = RetryPolicy(**taken)
    whole("retry.maximum_attempts", policy.maximum_attempts, least=0, most=COUNT)
    number("retry.backoff_coefficient", policy.backoff_coefficient, least=1)
    if policy.maximum_interval is not None and policy.maximum_interval < policy.initial_interval:
        raise InvalidInput("retry.maximum_interval: must not be shorter than retry.initial_interval")
    if policy.non_retryable_error_types is not None:
        _error_types("retry.non_retryable_error_types", policy.non_retryable_error_types)
    return policy


def _error_types(path: str, types: Any) -> None:
    strings(path, types)
    size = sum(utf8(f"{path}[{index}]", type) for index, type in enumerate(types))
    if size > ERROR_TYPES_BYTES:
        raise InvalidInput(f"{path}: must take at most {ERROR_TYPES_BYTES} bytes of UTF-8 together, not {size}")
    for index, type in enumerate(types):
        if type.startswith(_TIMEOUT_TYPE) and type.removeprefix(_TIMEOUT_TYPE) not in _TIMEOUT_TYPES:
            raise InvalidInput(
                f"{path}[{index}]: must end with {', '.join(_TIMEOUT_TYPES)} after {_TIMEOUT_TYPE}, not {shown(type)}"
            )


def _search_attributes(given: Mapping[str, Any]) -> None:
    total = 0
    for key, value in given.items():
        path = f"search_attributes.{key}"
        if not key.strip() or key in _SYSTEM_ATTRIBUTES:
            raise InvalidInput(f"{path}: must be an attribute of the namespace that its users set; name another")
        if isinstance(value, list):
            strings(path, value)
        elif not isinstance(value, str | int | float):
            raise InvalidInput(f"{path}: must be text, a number, true, false or a list of texts, not {shown(value)}")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise InvalidInput(f"{path}: must be a whole number of 64 bits, not {shown(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidInput(f"{path}: must be a finite number, not {shown(value)}")
        size = len(json.dumps(value, separators=(",", ":")))
        if size > ATTRIBUTE_BYTES:
            raise InvalidInput(
                f"{path}: must take at most {ATTRIBUTE_BYTES} bytes as JSON, not {size}; put it in the memo instead"
            )
        total += utf8(path, key) + size
    if total > ATTRIBUTES_BYTES:
        raise InvalidInput(f"search_attributes: must take at most {ATTRIBUTES_BYTES} bytes together, not {total}")


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
    """Items started per second over the whole run, at most, from 0.0001 on; none is no limit."""
    timeout: timedelta = timedelta(hours=1)
    """From an item's start, waiting for a worker and every retry included, to its end; over it: `timed_out`."""
    attempt_timeout: timedelta | None = None
    """Of one attempt: start-to-close of an activity, run timeout of a child; none is what is left of `timeout`."""
    start_timeout: timedelta | None = None
    """For a worker to take an activity; none is what is left of `timeout`. Over it the item is not tried again."""
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
    """Set on every child: text is a Keyword, a list a KeywordList; each at most 2,048 bytes as JSON. They must be
    registered in the namespace."""
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
        whole("max_concurrency", self.max_concurrency, least=1, most=COUNT)
        whole("shard_size", self.shard_size, least=1, most=MAX_SHARD_SIZE)
        if self.starts_per_second is not None:
            number("starts_per_second", self.starts_per_second, least=MIN_STARTS_PER_SECOND)
        put(self, "timeout", duration("timeout", self.timeout))
        put(self, "retry", _retry_policy(self.retry))
        for key in ("attempt_timeout", "start_timeout", "heartbeat_timeout"):
            if (limit := getattr(self, key)) is not None:
                put(self, key, duration(key, limit))
        for key in ("attempt_timeout", "start_timeout"):
            if (limit := getattr(self, key)) is not None and limit > self.timeout:
                raise InvalidInput(f"{key}: must be at most the timeout, which is {self.timeout.total_seconds():g} s")
        if self.task_queue is not None:
            task_queue("task_queue", self.task_queue)
        if isinstance(self.args, str | bytes | bytearray) or not isinstance(self.args, Sequence):
            raise InvalidInput(f"args: must be an array, not {shown(self.args)}")
        put(self, "args", tuple(self.args))
        if self.name is not None and (
            not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or _RESERVED_NAME.fullmatch(self.name)
        ):
            raise InvalidInput(
                f"name: must be a letter and up to 63 letters, digits, - or _ (not s1, f1, …), not {shown(self.name)}"
            )
        for key in ("search_attributes", "memo"):
            value = getattr(self, key)
            if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
                raise InvalidInput(f"{key}: must be an object, not {shown(value)}")
        _search_attributes(self.search_attributes)
        for key in self.memo:
            utf8(f"memo.{key}", key)
        if self.priority is not None:
            whole("priority", self.priority, least=1, most=5)
        if self.parent_close_policy not in _CLOSE_POLICIES:
            raise InvalidInput(
                f"parent_close_policy: must be {', '.join(_CLOSE_POLICIES)}, not {shown(self.parent_close_policy)}"
            )
        if self.tolerated_failure_count is not None:
            whole("tolerated_failure_count", self.tolerated_failure_count, least=0, most=COUNT)
        if self.tolerated_failure_ratio is not None:
            number("tolerated_failure_ratio", self.tolerated_failure_ratio, least=0, most=1)
        if self.on_failure not in _ON_FAILURE:
            raise InvalidInput(f"on_failure: must be {' or '.join(_ON_FAILURE)}, not {shown(self.on_failure)}")
        whole("max_result_bytes", self.max_result_bytes, least=0, most=1536 * 1024)

    @classmethod
    def from_dict(cls, given: Any) -> FanOutOptions:
        """Options from their JSON form: the same names, durations in seconds. An unknown name is `InvalidInput`."""
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise InvalidInput(f"options: must be an object, not {shown(given)}")
        return cls(**known("options", given, cls))

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


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return list(value) if isinstance(value, tuple) else value
