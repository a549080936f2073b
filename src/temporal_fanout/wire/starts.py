"""Starts as histories record them: how a child or an activity was called, and how it is called so once more.

A recorded start is what its parent's history says of it: type, task queue, every input, timeouts, retry policy, memo,
search attributes, priority. Payloads in it are passed on as they are, whatever their encoding. Headers are not: those
that a worker's interceptors add are added anew. As an item of a source it is a payload of its own, a `HistoryEvent`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import ParentClosePolicy
from temporalio.api.history.v1 import (
    ActivityTaskScheduledEventAttributes,
    HistoryEvent,
    StartChildWorkflowExecutionInitiatedEventAttributes,
)
from temporalio.common import (
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)
from temporalio.converter import encode_search_attributes

from temporal_fanout.checks import InvalidInput, shown, work_type
from temporal_fanout.options import FanOutOptions

ACTIVITY = "activity:"
"""Marks the name of an activity where the name of a child workflow could stand too."""


def name_of(work: Any) -> str:
    """The name under which a worker knows `work`; an activity's is marked with `activity:`.

    `work` is a workflow class, its run method, an activity function, or a name. Raises `InvalidInput`.
    """
    found = _name_of(work)
    work_type("work", found.removeprefix(ACTIVITY))
    return found


def _name_of(work: Any) -> str:
    if isinstance(work, str):
        return work
    if inspect.isclass(work):
        definition: Any = workflow._Definition.from_class(work)
    else:
        definition = workflow._Definition.from_run_fn(work) if callable(work) else None
    if definition is None and callable(work):
        act = activity._Definition.from_callable(work)
        if act is not None and act.name:
            return ACTIVITY + act.name
    if definition is None or not definition.name:
        raise InvalidInput(
            "work: must be a workflow class with @workflow.defn, its run method, a function with @activity.defn, "
            f"or a name, not {shown(work)}"
        )
    return str(definition.name)


def result_type_of(work: Any) -> type | None:
    """The type that a workflow's run method or an activity is annotated to return; None where nothing says it."""
    if isinstance(work, str):
        return None
    definition: Any = None
    if inspect.isclass(work):
        definition = workflow._Definition.from_class(work)
    elif callable(work):
        definition = workflow._Definition.from_run_fn(work) or activity._Definition.from_callable(work)
    return definition.ret_type if definition else None


def search_attributes(given: Mapping[str, Any]) -> TypedSearchAttributes | None:
    """Those of a fan-out's options, as the SDK has them."""
    if not given:
        return None
    make: dict[type, Callable[[str], SearchAttributeKey[Any]]] = {
        bool: SearchAttributeKey.for_bool,  # before int, which it is too
        int: SearchAttributeKey.for_int,
        float: SearchAttributeKey.for_float,
        str: SearchAttributeKey.for_keyword,
        list: SearchAttributeKey.for_keyword_list,
    }
    return TypedSearchAttributes(
        [
            SearchAttributePair(next(key for kind, key in make.items() if isinstance(value, kind))(name), value)
            for name, value in sorted(given.items())
        ]
    )


RECORDED = "recorded:"
"""Marks work whose items are recorded starts; what follows is only a name for it."""

UNBOUNDED_SECONDS = 24 * 3600.0
"""For what had no time limit when it was first started: without any, one that hangs would hang its parent."""

MAX_BYTES = 1400 * 1024
"""Of a recorded start, at most, as encoded: alone in a page it may take more than `PAGE_BYTES`, but under 2 MiB."""

_ITEM = {"encoding": b"binary/protobuf", "messageType": HistoryEvent.DESCRIPTOR.full_name.encode()}

Start: TypeAlias = StartChildWorkflowExecutionInitiatedEventAttributes | ActivityTaskScheduledEventAttributes


def work_of(start: Start) -> str:
    """The type of the workflow, or `activity:NAME`."""
    if isinstance(start, ActivityTaskScheduledEventAttributes):
        return ACTIVITY + start.activity_type.name
    return start.workflow_type.name


def planned(
    work: str, options: FanOutOptions, task_queue: str, args: Sequence[Payload], memo: Mapping[str, Payload]
) -> Start:
    """How a fan-out over `work` with these options starts an item on `task_queue`; the item itself is left empty.

    `args` and `memo` are those of the options, as payloads.
    """
    start = _blank(work)
    start.task_queue.name = options.task_queue or task_queue
    start.input.payloads.add()
    start.input.payloads.extend(args)
    if options.priority:
        start.priority.priority_key = options.priority
    if options.retry.maximum_attempts != 1 or isinstance(start, ActivityTaskScheduledEventAttributes):
        options.retry.apply_to_proto(start.retry_policy)
    if isinstance(start, ActivityTaskScheduledEventAttributes):
        _limit(start.heartbeat_timeout, options.heartbeat_timeout)
        _limit(start.start_to_close_timeout, options.attempt_timeout)
        _limit(start.schedule_to_start_timeout, options.start_timeout)
        _limit(start.schedule_to_close_timeout, options.timeout)
    else:
        _limit(start.workflow_run_timeout, options.attempt_timeout)
        _limit(start.workflow_execution_timeout, options.timeout)
        start.parent_close_policy = ParentClosePolicy.Value(f"PARENT_CLOSE_POLICY_{options.parent_close_policy}")
        for key, value in memo.items():
            start.memo.fields[key].CopyFrom(value)
        attributes = search_attributes(options.search_attributes)
        if attributes is not None:
            encode_search_attributes(attributes, start.search_attributes)
    return start


def _limit(duration: Duration, limit: timedelta | None) -> None:
    if limit is not None:
        duration.FromTimedelta(limit)


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of a run over recorded starts: what they change of each start, and the limits of the run, as JSON.

    Only `args`, of the changes, stay as they are. Raises `InvalidInput` for options that cannot work, and for those of
    the starts that cannot be changed.
    """
    given = FanOutOptions.from_dict(options)
    for name in (
        "memo", "search_attributes", "priority", "parent_close_policy", "heartbeat_timeout", "attempt_timeout",
        "start_timeout",
    ):  # fmt: skip
        if name in options:
            raise InvalidInput(f"options.{name}: is as it was when each item was first started")
    plain = given.to_dict()  # without what is at its default
    whole = {
        "task_queue": given.task_queue,
        "timeout": given.timeout.total_seconds(),
        "retry": plain.get("retry", {"maximum_attempts": 1}),
        "args": given.args,
    }
    changes = {name: value for name, value in whole.items() if name in options and value is not None}
    return changes, {name: value for name, value in plain.items() if name not in whole}


def changed(
    start: Start, changes: Mapping[str, Any], work: str | None = None, args: Sequence[Payload] | None = None
) -> Start:
    """A copy with other work, with some options changed, and with other arguments after the item; none keeps them.

    What had no time limit is given one of a day.
    """
    start = _as(start, work or work_of(start))
    if "task_queue" in changes:
        start.task_queue.name = changes["task_queue"]
    if args is not None:
        del start.input.payloads[1:]
        start.input.payloads.extend(args)
    if "retry" in changes:
        policy = FanOutOptions.from_dict({"retry": changes["retry"]}).retry
        start.ClearField("retry_policy")
        if policy.maximum_attempts != 1 or isinstance(start, ActivityTaskScheduledEventAttributes):
            policy.apply_to_proto(start.retry_policy)
    seconds = changes.get("timeout")
    if isinstance(start, ActivityTaskScheduledEventAttributes):
        if seconds is not None:
            start.ClearField("schedule_to_start_timeout")
            start.ClearField("start_to_close_timeout")
        if seconds is not None or not span(start.schedule_to_close_timeout):
            start.schedule_to_close_timeout.FromTimedelta(timedelta(seconds=seconds or UNBOUNDED_SECONDS))
    else:
        if seconds is not None:
            start.ClearField("workflow_run_timeout")
        if seconds is not None or not span(start.workflow_execution_timeout):
            start.workflow_execution_timeout.FromTimedelta(timedelta(seconds=seconds or UNBOUNDED_SECONDS))
    return start


def _as(start: Start, work: str) -> Start:
    """A copy, as a start of this work; between a child and an activity, inputs, queue and time limit are kept."""
    copy = _blank(work)
    if isinstance(copy, ActivityTaskScheduledEventAttributes):
        if isinstance(start, ActivityTaskScheduledEventAttributes):
            kind = copy.activity_type.name
            copy.CopyFrom(start)
            copy.activity_type.name = kind
            return copy
        copy.schedule_to_close_timeout.CopyFrom(start.workflow_execution_timeout)
        RetryPolicy(maximum_attempts=1).apply_to_proto(copy.retry_policy)
    else:
        if isinstance(start, StartChildWorkflowExecutionInitiatedEventAttributes):
            kind = copy.workflow_type.name
            copy.CopyFrom(start)
            copy.workflow_type.name = kind
            return copy
        copy.workflow_execution_timeout.CopyFrom(start.schedule_to_close_timeout)
    copy.task_queue.name = start.task_queue.name
    copy.input.CopyFrom(start.input)
    copy.priority.CopyFrom(start.priority)
    return copy


def _blank(work: str) -> Start:
    if work.startswith(ACTIVITY):
        activity = ActivityTaskScheduledEventAttributes()
        activity.activity_type.name = work.removeprefix(ACTIVITY)
        return activity
    child = StartChildWorkflowExecutionInitiatedEventAttributes()
    child.workflow_type.name = work
    return child


async def pass_through(start: Start, codec: Callable[[Sequence[Payload]], Awaitable[list[Payload]]]) -> None:
    """Replaces every payload of a start by what a codec's `encode` or `decode` makes of it."""
    payloads = await codec(start.input.payloads) if start.input.payloads else []
    del start.input.payloads[:]
    start.input.payloads.extend(payloads)
    if isinstance(start, StartChildWorkflowExecutionInitiatedEventAttributes):
        for value in start.memo.fields.values():
            value.CopyFrom((await codec([value]))[0])


def to_item(start: Start) -> Payload:
    """The start as an item of a source."""
    if isinstance(start, ActivityTaskScheduledEventAttributes):
        event = HistoryEvent(activity_task_scheduled_event_attributes=start)
    else:
        event = HistoryEvent(start_child_workflow_execution_initiated_event_attributes=start)
    return Payload(metadata=_ITEM, data=event.SerializeToString())


def from_item(payload: Payload) -> Start:
    """The start that this item of a source is. Raises `ValueError` for one that is none."""
    if payload.metadata.get("messageType") != _ITEM["messageType"]:
        raise ValueError("is no recorded start")
    try:
        event = HistoryEvent.FromString(payload.data)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    if event.HasField("activity_task_scheduled_event_attributes"):
        return event.activity_task_scheduled_event_attributes
    return event.start_child_workflow_execution_initiated_event_attributes


def span(duration: Duration) -> timedelta | None:
    """None is no limit, which histories write as 0."""
    return duration.ToTimedelta() or None
