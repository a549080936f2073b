"""How items run: each a child workflow or an activity, from its start to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf.message import DecodeError
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import (
    ActivityTaskScheduledEventAttributes,
    StartChildWorkflowExecutionInitiatedEventAttributes,
)
from temporalio.common import (
    Priority,
    RawValue,
    RetryPolicy,
    TypedSearchAttributes,
)
from temporalio.converter import decode_typed_search_attributes
from temporalio.exceptions import (
    FailureError,
)

from temporal_fanout.checks import InvalidInput
from temporal_fanout.options import FanOutOptions
from temporal_fanout.results import Outcome
from temporal_fanout.wire.outcome import Ended, out_of_time, root_cause
from temporal_fanout.wire.payloads import as_json
from temporal_fanout.wire.starts import ACTIVITY, RECORDED, Start, from_text, search_attributes, span, to_text, work_of


class Caller:
    """Runs items of one fan-out, each to one `Ended`."""

    def __init__(self, work: str, options: FanOutOptions) -> None:
        self._options = options
        self._work = work
        self._name = work.removeprefix(ACTIVITY)
        self._is_activity = work.startswith(ACTIVITY)
        convert = workflow.payload_converter()
        self._args = [RawValue(convert.to_payload(arg)) for arg in options.args]
        self.overhead = 512 + sum(len(arg.payload.data) for arg in self._args)
        self._priority = Priority(priority_key=options.priority) if options.priority else Priority.default
        self._close_policy = workflow.ParentClosePolicy[options.parent_close_policy]
        self._search_attributes = search_attributes(options)
        self.starting = 0
        """Children that have been asked for and have not started: not to be cancelled now. The SDK would not wait for
        such a child. It would start all the same, not hear of it, and be terminated with its parent, in mid-work."""

    @contextmanager
    def starts_a_child(self) -> Iterator[None]:
        """Around the start of a child."""
        self.starting += 1
        try:
            yield
        finally:
            self.starting -= 1

    async def call(self, id: str, item: Payload) -> Ended:
        """Runs one item under this id, to its end; raises only what is not the item's fault."""
        args = [RawValue(item), *self._args]
        try:
            raw = await (self._activity(id, args) if self._is_activity else self._child(id, args))
        except FailureError as error:
            return root_cause(error, out_of_time(self._work, self._options.timeout.total_seconds()))
        return Ended(Outcome.COMPLETED, raw.payload)

    def shown(self, item: Payload) -> Any:
        """The item as JSON, for results."""
        return as_json(item)

    def given(self, item: Payload, value: Any) -> Payload:
        """The item with another input."""
        return workflow.payload_converter().to_payload(value)

    async def _child(self, id: str, args: list[RawValue]) -> RawValue:
        options = self._options
        with self.starts_a_child():
            handle = await workflow.start_child_workflow(
                self._name,
                args=args,
                id=id,
                task_queue=options.task_queue,
                result_type=RawValue,
                execution_timeout=options.timeout,
                retry_policy=options.retry if options.retry.maximum_attempts != 1 else None,
                parent_close_policy=self._close_policy,
                memo=options.memo or None,
                search_attributes=self._search_attributes,
                priority=self._priority,
            )
        result: RawValue = await handle
        return result

    async def _activity(self, id: str, args: list[RawValue]) -> RawValue:
        options = self._options
        result: RawValue = await workflow.execute_activity(
            self._name,
            args=args,
            activity_id=id,
            task_queue=options.task_queue,
            result_type=RawValue,
            schedule_to_close_timeout=options.timeout,
            heartbeat_timeout=options.heartbeat_timeout,
            retry_policy=options.retry,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            priority=self._priority,
        )
        return result


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
                execution_timeout=span(start.workflow_execution_timeout),
                run_timeout=span(start.workflow_run_timeout),
                task_timeout=span(start.workflow_task_timeout),
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
        schedule_to_close_timeout=span(start.schedule_to_close_timeout),
        schedule_to_start_timeout=span(start.schedule_to_start_timeout),
        start_to_close_timeout=span(start.start_to_close_timeout),
        heartbeat_timeout=span(start.heartbeat_timeout),
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
        limit = span(start.schedule_to_close_timeout)
    else:
        limit = span(start.workflow_execution_timeout)
    return limit.total_seconds() if limit else None
