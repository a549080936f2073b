"""How an item is called: as a child workflow or an activity, of the options or as a history has recorded it.

The one module that knows the difference between the two. Payloads pass through it undecoded, so that a child of any
language or data converter works and nothing that a child returns can harm its parent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from google.protobuf.message import DecodeError
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import (
    ActivityTaskScheduledEventAttributes,
    StartChildWorkflowExecutionInitiatedEventAttributes,
)
from temporalio.common import Priority, RawValue, RetryPolicy, TypedSearchAttributes
from temporalio.converter import decode_typed_search_attributes
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

from temporal_fanout.checks import InvalidInput
from temporal_fanout.results import Outcome
from temporal_fanout.wire.outcome import Ended, Limits, root_cause
from temporal_fanout.wire.protocol import StartOptions
from temporal_fanout.wire.starts import (
    ACTIVITY,
    RECORDED,
    Start,
    from_item,
    search_attributes,
    span,
    to_item,
    work_of,
)

START_OVERHEAD = 1024
"""Bytes of a start beside its payloads: ids, names, headers of the user's interceptors."""
IDS_TRIED = 30
"""How many ids an item or a shard is started under, at most, where one is taken: each reset of a run takes one."""


def ids_of(id: str) -> Iterator[str]:
    """The id, and those that are tried where it is taken: by a child of this run before a reset, or of one that it
    continues, which is open still. Derived, so that a replay gives them again."""
    yield id
    for attempt in range(2, IDS_TRIED + 1):
        yield f"{id}.a{attempt}"


class Caller:
    """Calls the items of one fan-out, each to one `Ended`."""

    def __init__(self, work: str, options: StartOptions, args: Sequence[Payload], memo: Mapping[str, Payload]) -> None:
        self._options = options
        self._work = work
        self._name = work.removeprefix(ACTIVITY)
        self._is_activity = work.startswith(ACTIVITY)
        self._limits = Limits.of_options(options)
        self._args = [RawValue(arg) for arg in args]
        self._memo = {key: RawValue(value) for key, value in memo.items()}
        self._retry = retry_policy(options.retry)
        self._priority = Priority(priority_key=options.priority) if options.priority else Priority.default
        self._close_policy = workflow.ParentClosePolicy[options.parent_close_policy]
        self._search_attributes = search_attributes(options.search_attributes)
        self._overhead = start_overhead(options, args, memo)
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
            return root_cause(error, self._work, self._limits)
        return completed(raw)

    def size(self, item: Payload) -> int:
        """Bytes that the start of this item takes in the commands of a workflow task."""
        return item.ByteSize() + self._overhead

    def shown(self, item: Payload) -> Payload | None:
        """The payload that the item is for a reader."""
        return item

    def given(self, item: Payload, input: Payload) -> Payload:
        """The item with another input."""
        return input

    async def _child(self, id: str, args: list[RawValue]) -> RawValue | None:
        options = self._options

        def start(own: str) -> Any:
            return workflow.start_child_workflow(
                self._name,
                args=args,
                id=own,
                task_queue=options.task_queue,
                result_type=RawValue,
                execution_timeout=timedelta(seconds=options.timeout),
                run_timeout=_span(options.attempt_timeout),
                retry_policy=self._retry if self._retry.maximum_attempts != 1 else None,
                parent_close_policy=self._close_policy,
                memo=self._memo or None,
                search_attributes=self._search_attributes,
                priority=self._priority,
            )

        return await self._run_child(id, start)

    async def _run_child(self, id: str, start: Any) -> RawValue | None:
        with self.starts_a_child():
            handle = await started(id, start)
        result: RawValue | None = await handle
        return result

    async def _activity(self, id: str, args: list[RawValue]) -> RawValue | None:
        options = self._options
        result: RawValue | None = await workflow.execute_activity(
            self._name,
            args=args,
            activity_id=id,
            task_queue=options.task_queue,
            result_type=RawValue,
            schedule_to_close_timeout=timedelta(seconds=options.timeout),
            schedule_to_start_timeout=_span(options.start_timeout),
            start_to_close_timeout=_span(options.attempt_timeout),
            heartbeat_timeout=_span(options.heartbeat_timeout),
            retry_policy=self._retry,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            priority=self._priority,
        )
        return result


class RecordedCaller(Caller):
    """Calls items that are recorded starts, each as it says."""

    def size(self, item: Payload) -> int:
        return item.ByteSize() + START_OVERHEAD

    def shown(self, item: Payload) -> Payload | None:
        return next(iter(_start_in(item).input.payloads), None)

    def given(self, item: Payload, input: Payload) -> Payload:
        start = _start_in(item)
        rest = list(start.input.payloads)[1:]
        del start.input.payloads[:]
        start.input.payloads.extend([input, *rest])
        return to_item(start)

    async def call(self, id: str, item: Payload) -> Ended:
        start = _start_in(item)
        try:
            raw = await (
                _recorded_activity(id, start)
                if isinstance(start, ActivityTaskScheduledEventAttributes)
                else self._recorded_child(id, start)
            )
        except FailureError as error:
            return root_cause(error, work_of(start), Limits.of(start))
        return completed(raw)

    async def _recorded_child(
        self, id: str, recorded: StartChildWorkflowExecutionInitiatedEventAttributes
    ) -> RawValue | None:
        attributes: TypedSearchAttributes | None = None
        if recorded.search_attributes.indexed_fields:
            attributes = decode_typed_search_attributes(recorded.search_attributes)

        def start(own: str) -> Any:
            return workflow.start_child_workflow(
                recorded.workflow_type.name,
                args=[RawValue(payload) for payload in recorded.input.payloads],
                id=own,
                task_queue=recorded.task_queue.name or None,
                result_type=RawValue,
                execution_timeout=span(recorded.workflow_execution_timeout),
                run_timeout=span(recorded.workflow_run_timeout),
                task_timeout=span(recorded.workflow_task_timeout),
                retry_policy=(
                    RetryPolicy.from_proto(recorded.retry_policy) if recorded.HasField("retry_policy") else None
                ),
                parent_close_policy=workflow.ParentClosePolicy(recorded.parent_close_policy or 1),
                memo={key: RawValue(value) for key, value in recorded.memo.fields.items()} or None,
                search_attributes=attributes,
                priority=Priority._from_proto(recorded.priority),
            )

        return await self._run_child(id, start)


def caller_for(
    work: str, options: StartOptions, args: Sequence[Payload] = (), memo: Mapping[str, Payload] | None = None
) -> Caller:
    """What calls the items of a fan-out over this work."""
    of_history = work.startswith(RECORDED)
    return (RecordedCaller if of_history else Caller)(work, options, args, memo or {})


async def started(id: str, start: Any) -> Any:
    """The handle of a child that `start(id)` starts, under the first of its ids that is free."""
    taken: FailureError | None = None
    for own in ids_of(id):
        try:
            return await start(own)
        except WorkflowAlreadyStartedError as error:
            taken = taken or error
    raise taken or AssertionError


def completed(raw: RawValue | None) -> Ended:
    """Of an item that returned; where its history has no result, as of a Go function without one, it is null."""
    return Ended(Outcome.COMPLETED, None if raw is None else raw.payload)


def start_overhead(options: StartOptions, args: Sequence[Payload], memo: Mapping[str, Payload]) -> int:
    """Bytes of a start beside its item, as encoded."""
    payloads = sum(arg.ByteSize() for arg in args)
    payloads += sum(len(key.encode()) + value.ByteSize() for key, value in memo.items())
    attributes = sum(len(str(key).encode()) + 4 * len(str(value)) for key, value in options.search_attributes.items())
    return START_OVERHEAD + payloads + attributes


def retry_policy(given: Mapping[str, Any]) -> RetryPolicy:
    """From its form on the wire: intervals in seconds."""
    longest = given["maximum_interval"]
    return RetryPolicy(
        initial_interval=timedelta(seconds=given["initial_interval"]),
        backoff_coefficient=given["backoff_coefficient"],
        maximum_interval=None if longest is None else timedelta(seconds=longest),
        maximum_attempts=given["maximum_attempts"],
        non_retryable_error_types=given["non_retryable_error_types"],
    )


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


async def _recorded_activity(id: str, start: ActivityTaskScheduledEventAttributes) -> RawValue | None:
    result: RawValue | None = await workflow.execute_activity(
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
        return from_item(item)
    except (ValueError, TypeError, DecodeError):
        raise InvalidInput("items: are no recorded starts, which only the history source gives") from None
