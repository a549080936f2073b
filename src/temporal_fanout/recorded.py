"""Starts as histories record them: how a child or an activity was called, and how it is called so once more.

A recorded start is what its parent's history says of it: type, task queue, every input, timeouts, retry policy, memo,
search attributes, priority. Payloads in it are passed on as they are, whatever their encoding. Headers are not: those
that a worker's interceptors add are added anew.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import ParentClosePolicy
from temporalio.api.history.v1 import (
    ActivityTaskScheduledEventAttributes,
    HistoryEvent,
    StartChildWorkflowExecutionInitiatedEventAttributes,
)
from temporalio.common import Priority, RawValue, RetryPolicy, TypedSearchAttributes
from temporalio.converter import DataConverter, decode_typed_search_attributes, encode_search_attributes
from temporalio.exceptions import FailureError

from temporal_fanout.models import FanOutOptions, InvalidInput, Outcome
from temporal_fanout.work import (
    ACTIVITY,
    Caller,
    Ended,
    as_json,
    out_of_time,
    root_cause,
    search_attributes,
)

RECORDED = "recorded:"
"""Marks work whose items are recorded starts; what follows is only a name for it."""
UNBOUNDED_SECONDS = 24 * 3600.0
"""For what had no time limit when it was first started: without any, one that hangs would hang its parent."""
MAX_BYTES = 1400 * 1024
"""Of a recorded start, at most: as text it is a third longer, and the server refuses a payload over 2 MiB."""

_CHANGES = ("task_queue", "timeout", "retry", "args")

Start: TypeAlias = StartChildWorkflowExecutionInitiatedEventAttributes | ActivityTaskScheduledEventAttributes


def work_of(start: Start) -> str:
    """The type of the workflow, or `activity:NAME`."""
    if isinstance(start, ActivityTaskScheduledEventAttributes):
        return ACTIVITY + start.activity_type.name
    return start.workflow_type.name


async def planned(work: str, options: FanOutOptions, task_queue: str, converter: DataConverter) -> Start:
    """How a fan-out over `work` with these options starts an item on `task_queue`; the item itself is left empty."""
    start = _blank(work)
    start.task_queue.name = options.task_queue or task_queue
    start.input.payloads.add()
    if options.args:
        start.input.payloads.extend(await converter.encode(options.args))
    if options.priority:
        start.priority.priority_key = options.priority
    if options.retry.maximum_attempts != 1 or isinstance(start, ActivityTaskScheduledEventAttributes):
        options.retry.apply_to_proto(start.retry_policy)
    if isinstance(start, ActivityTaskScheduledEventAttributes):
        if options.heartbeat_timeout is not None:
            start.heartbeat_timeout.FromTimedelta(options.heartbeat_timeout)
    else:
        start.parent_close_policy = ParentClosePolicy.Value(f"PARENT_CLOSE_POLICY_{options.parent_close_policy}")
        for key, value in options.memo.items():
            start.memo.fields[key].CopyFrom((await converter.encode([value]))[0])
        attributes = search_attributes(options)
        if attributes is not None:
            encode_search_attributes(attributes, start.search_attributes)
    return changed(start, {"timeout": options.timeout.total_seconds()})


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of a run over recorded starts: what they change of each start, and the limits of the run.

    Raises `InvalidInput` for options that cannot work, and for those of the starts that cannot be changed.
    """
    FanOutOptions.from_dict(options)
    for name in ("memo", "search_attributes", "priority", "parent_close_policy", "heartbeat_timeout"):
        if name in options:
            raise InvalidInput(f"options.{name}: is as it was when each item was first started")
    changes = {name: options[name] for name in _CHANGES if name in options}
    return changes, {name: value for name, value in options.items() if name not in changes}


def changed(start: Start, changes: Mapping[str, Any], work: str | None = None, args: Sequence[Payload] = ()) -> Start:
    """A copy with other work and with some options changed; `args` are those of the changes, as payloads.

    What had no time limit is given one of a day.
    """
    start = _as(start, work or work_of(start))
    if "task_queue" in changes:
        start.task_queue.name = changes["task_queue"]
    if "args" in changes:
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
        if seconds is not None or not _span(start.schedule_to_close_timeout):
            start.schedule_to_close_timeout.FromTimedelta(timedelta(seconds=seconds or UNBOUNDED_SECONDS))
    else:
        if seconds is not None:
            start.ClearField("workflow_run_timeout")
        if seconds is not None or not _span(start.workflow_execution_timeout):
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
    payloads = await codec(start.input.payloads)
    del start.input.payloads[:]
    start.input.payloads.extend(payloads)
    if isinstance(start, StartChildWorkflowExecutionInitiatedEventAttributes):
        for value in start.memo.fields.values():
            value.CopyFrom((await codec([value]))[0])


# -- as text, which is an item of a source


def to_text(start: Start) -> str:
    """The start as an item of a source."""
    if isinstance(start, ActivityTaskScheduledEventAttributes):
        event = HistoryEvent(activity_task_scheduled_event_attributes=start)
    else:
        event = HistoryEvent(start_child_workflow_execution_initiated_event_attributes=start)
    return base64.b64encode(event.SerializeToString()).decode()


def from_text(text: str) -> Start:
    """The start that this item of a source is."""
    event = HistoryEvent.FromString(base64.b64decode(text))
    if event.HasField("activity_task_scheduled_event_attributes"):
        return event.activity_task_scheduled_event_attributes
    return event.start_child_workflow_execution_initiated_event_attributes


# -- inside a workflow


def caller_for(work: str, options: FanOutOptions) -> Caller:
    """What runs the items of a fan-out over this work."""
    return RecordedCaller(work, options) if work.startswith(RECORDED) else Caller(work, options)


class RecordedCaller(Caller):
    """Runs items that are recorded starts, each as it says."""

    def shown(self, item: Payload) -> Any:
        return as_json(next(iter(_start_in(item).input.payloads), None))

    def given(self, item: Payload, value: Any) -> Payload:
        start = _start_in(item)
        del start.input.payloads[:1]
        start.input.payloads.insert(0, super().given(item, value))
        return super().given(item, to_text(start))

    async def call(self, id: str, item: Payload) -> Ended:
        start = _start_in(item)
        try:
            raw = await (
                _activity(id, start)
                if isinstance(start, ActivityTaskScheduledEventAttributes)
                else self._recorded_child(id, start)
            )
        except FailureError as error:
            return root_cause(error, out_of_time(work_of(start), _limit(start)))
        return Ended(Outcome.COMPLETED, raw.payload)

    async def _recorded_child(self, id: str, start: StartChildWorkflowExecutionInitiatedEventAttributes) -> RawValue:
        attributes: TypedSearchAttributes | None = None
        if start.search_attributes.indexed_fields:
            attributes = decode_typed_search_attributes(start.search_attributes)
        with self.starts_a_child():
            handle = await workflow.start_child_workflow(
                start.workflow_type.name,
                args=[RawValue(payload) for payload in start.input.payloads],
                id=id,
                task_queue=start.task_queue.name or None,
                result_type=RawValue,
                execution_timeout=_span(start.workflow_execution_timeout),
                run_timeout=_span(start.workflow_run_timeout),
                task_timeout=_span(start.workflow_task_timeout),
                retry_policy=RetryPolicy.from_proto(start.retry_policy) if start.HasField("retry_policy") else None,
                parent_close_policy=workflow.ParentClosePolicy(start.parent_close_policy or 1),
                memo={key: RawValue(value) for key, value in start.memo.fields.items()} or None,
                search_attributes=attributes,
                priority=Priority._from_proto(start.priority),
            )
        result: RawValue = await handle
        return result


async def _activity(id: str, start: ActivityTaskScheduledEventAttributes) -> RawValue:
    result: RawValue = await workflow.execute_activity(
        start.activity_type.name,
        args=[RawValue(payload) for payload in start.input.payloads],
        activity_id=id,
        task_queue=start.task_queue.name or None,
        result_type=RawValue,
        schedule_to_close_timeout=_span(start.schedule_to_close_timeout),
        schedule_to_start_timeout=_span(start.schedule_to_start_timeout),
        start_to_close_timeout=_span(start.start_to_close_timeout),
        heartbeat_timeout=_span(start.heartbeat_timeout),
        retry_policy=RetryPolicy.from_proto(start.retry_policy) if start.HasField("retry_policy") else None,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        priority=Priority._from_proto(start.priority),
    )
    return result


def _start_in(item: Payload) -> Start:
    try:
        return from_text(as_json(item))
    except (ValueError, TypeError, DecodeError):
        raise InvalidInput("items: are no recorded starts, which only the history source gives") from None


def _limit(start: Start) -> float | None:
    if isinstance(start, ActivityTaskScheduledEventAttributes):
        span = _span(start.schedule_to_close_timeout)
    else:
        span = _span(start.workflow_execution_timeout)
    return span.total_seconds() if span else None


def _span(duration: Duration) -> timedelta | None:
    """None is no limit, which histories write as 0."""
    return duration.ToTimedelta() or None
