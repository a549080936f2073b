"""The limits of a fan-out, checked where they enter; their JSON form has the same names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from temporalio.common import RetryPolicy

from temporal_fanout.checks import InvalidInput, duration, known, number, shown, strings, whole

MAX_SHARD_SIZE = 300
"""Items of one shard, at most: 14 events an item in the worst case (a timer, a child, a workflow task for each of
their events) keep its history under 5,000 events."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")

_RESERVED_NAME = re.compile(r"[sf]\d+")

_ON_FAILURE = ("continue", "hold")

_CLOSE_POLICIES = ("TERMINATE", "ABANDON", "REQUEST_CANCEL")


def _retry_policy(given: Any) -> RetryPolicy:
    """Temporal's `RetryPolicy`, checked, from itself or from its JSON form: the same names, intervals in seconds."""
    if isinstance(given, Mapping):
        taken = known("retry", given, RetryPolicy)
        for key in ("initial_interval", "maximum_interval"):
            if taken.get(key) is not None:
                taken[key] = duration(f"retry.{key}", taken[key])
        given = RetryPolicy(**{"maximum_attempts": 1} | taken)
    if not isinstance(given, RetryPolicy):
        raise InvalidInput(f"retry: must be an object or a RetryPolicy, not {shown(given)}")
    whole("retry.maximum_attempts", given.maximum_attempts, least=0)
    duration("retry.initial_interval", given.initial_interval)
    number("retry.backoff_coefficient", given.backoff_coefficient, least=1)
    if given.maximum_interval is not None and given.maximum_interval < given.initial_interval:
        raise InvalidInput("retry.maximum_interval: must not be shorter than retry.initial_interval")
    if given.non_retryable_error_types is not None:
        strings("retry.non_retryable_error_types", given.non_retryable_error_types)
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
        put(self, "timeout", duration("timeout", self.timeout))
        put(self, "retry", _retry_policy(self.retry))
        if self.heartbeat_timeout is not None:
            put(self, "heartbeat_timeout", duration("heartbeat_timeout", self.heartbeat_timeout))
        if self.task_queue is not None and (not isinstance(self.task_queue, str) or not self.task_queue.strip()):
            raise InvalidInput(f"task_queue: must be a name, not {shown(self.task_queue)}")
        if isinstance(self.args, str) or not isinstance(self.args, Sequence):
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
        for attribute, value in self.search_attributes.items():
            if isinstance(value, list):
                strings(f"search_attributes.{attribute}", value)
            elif not isinstance(value, str | int | float | bool):
                raise InvalidInput(
                    f"search_attributes.{attribute}: must be text, a number, true, false or a list of texts, "
                    f"not {shown(value)}"
                )
        if self.priority is not None:
            whole("priority", self.priority, least=1, most=5)
        if self.parent_close_policy not in _CLOSE_POLICIES:
            raise InvalidInput(
                f"parent_close_policy: must be {', '.join(_CLOSE_POLICIES)}, not {shown(self.parent_close_policy)}"
            )
        if self.tolerated_failure_count is not None:
            whole("tolerated_failure_count", self.tolerated_failure_count, least=0)
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
