"""Events of histories: read from the server page by page, paired to what was started and how it ended.

Payloads stay as they are. Nothing here knows of fan-outs: see `history` for what the events mean.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ContinueAsNewInitiator, EventType, HistoryEventFilterType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryResponse,
)
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.exceptions import (
    CancelledError,
    ChildWorkflowError,
    RetryState,
    TerminatedError,
    TimeoutError,
    WorkflowAlreadyStartedError,
)
from temporalio.service import RPCError, RPCStatusCode

from temporal_fanout.results import Outcome
from temporal_fanout.wire.outcome import Ended, Limits, root_cause
from temporal_fanout.wire.starts import ACTIVITY

_PAGE = 1000
"""Events of one page, at most; the server gives 256 unless told otherwise."""
_RPC = timedelta(seconds=20)

_E = EventType
_CHILD_ENDS: dict[int, Outcome] = {
    _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: Outcome.FAILED,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: Outcome.COMPLETED,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: Outcome.FAILED,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: Outcome.TIMED_OUT,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: Outcome.CANCELLED,
    _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: Outcome.TERMINATED,
}
"""The events by which a child ends in its parent's history."""
_ACTIVITY_ENDS: dict[int, Outcome] = {
    _E.EVENT_TYPE_ACTIVITY_TASK_COMPLETED: Outcome.COMPLETED,
    _E.EVENT_TYPE_ACTIVITY_TASK_FAILED: Outcome.FAILED,
    _E.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT: Outcome.TIMED_OUT,
    _E.EVENT_TYPE_ACTIVITY_TASK_CANCELED: Outcome.CANCELLED,
}
_CLOSES: dict[int, Outcome | None] = {
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: Outcome.COMPLETED,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: Outcome.FAILED,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: Outcome.TIMED_OUT,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: Outcome.CANCELLED,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: Outcome.TERMINATED,
    _E.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: None,
}
"""The events by which a workflow ends in its own history."""
_ENDS = _CHILD_ENDS | _ACTIVITY_ENDS | _CLOSES


class HistoryGone(Exception):
    """There is no such history: retention has removed it, or there never was one. The message says whose."""


class End:
    """The event that ended something."""

    __slots__ = ("at", "attributes", "is_start_failure", "outcome")

    def __init__(self, event: HistoryEvent) -> None:
        name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower()
        self.attributes: Any = getattr(event, f"{name}_event_attributes")
        self.outcome = _ENDS[event.event_type]
        """None: it was continued as new."""
        self.at = _seconds(event)
        self.is_start_failure = event.event_type == _E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED


class Begun:
    """A child or an activity, from its start on."""

    __slots__ = ("at", "attempt", "attributes", "end", "id", "is_activity", "run_id", "type")

    def __init__(self, event: HistoryEvent) -> None:
        self.attributes: Any
        self.is_activity = event.event_type == _E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        if self.is_activity:
            self.attributes = event.activity_task_scheduled_event_attributes
            self.id: str = self.attributes.activity_id
            self.type: str = ACTIVITY + self.attributes.activity_type.name
        else:
            self.attributes = event.start_child_workflow_execution_initiated_event_attributes
            self.id = self.attributes.workflow_id
            self.type = self.attributes.workflow_type.name
        self.at = _seconds(event)
        """When it was started, in seconds since 1970."""
        self.run_id = ""
        """Of a child, its first run; empty before it was seen to run."""
        self.attempt = 0
        """Of an activity, its last attempt, which its history tells when that has ended; 0: not known here."""
        self.end: End | None = None

    async def ended(self, converter: DataConverter) -> Ended | None:
        """What became of it, as its parent would say; None before its end."""
        if self.end is None:
            return None
        attributes, outcome = self.end.attributes, self.end.outcome
        if outcome is Outcome.COMPLETED:
            return Ended(outcome, next(iter(attributes.result.payloads), None))
        error: BaseException
        if self.end.is_start_failure:
            error = WorkflowAlreadyStartedError(self.id, self.type)
        elif outcome is Outcome.TIMED_OUT:
            error = await self._timed_out(attributes, converter)
        elif outcome is Outcome.CANCELLED:
            error = CancelledError("Cancelled")
        elif outcome is Outcome.TERMINATED:
            error = TerminatedError("Terminated")
        else:
            error = _as_child_error(await _exception(attributes.failure, converter))
        return root_cause(error, self.type, Limits.of(self.attributes))

    async def _timed_out(self, end: Any, converter: DataConverter) -> BaseException:
        """The error that its parent has: which limit it was, and whether it could have been tried again."""
        retry_state = RetryState(end.retry_state) if end.retry_state else None
        timeout: BaseException = TimeoutError("Timed out", type=None, last_heartbeat_details=[])
        if self.is_activity and end.failure.HasField("timeout_failure_info"):
            timeout = await _exception(end.failure, converter)
        return _as_child_error(timeout, retry_state)


class Events:
    """A workflow's history, as far as it goes now."""

    def __init__(self) -> None:
        self.started: WorkflowExecutionStartedEventAttributes
        self.close: End | None = None
        """None: it is open."""
        self.begun: list[Begun] = []
        """Its children and activities, in the order in which they were started."""
        self.changed_at = 0.0
        """When one of them last started or ended, else when the workflow did, in seconds since 1970."""

    @property
    def continued_as(self) -> str:
        """The run that goes on for this one: it was continued as new, or is tried again. Not a schedule's next one."""
        if self.close is None or (self.started.cron_schedule and self.close.outcome is not None):
            return ""
        return str(getattr(self.close.attributes, "new_execution_run_id", ""))


async def read_events(client: Client, workflow_id: str, run_id: str) -> Events:
    """Reads a history. Raises `HistoryGone`, and `RPCError` when the server does not answer."""
    events = Events()
    begun: dict[int, Begun] = {}
    async for page in _pages(client, workflow_id, run_id):
        for event in page:
            take(event, events, begun)
    events.begun = list(begun.values())
    return events


def take(event: HistoryEvent, events: Events, begun: dict[int, Begun]) -> None:
    """Adds one event; `begun` are those that were started, by the id of the event that did so."""
    kind = event.event_type
    if kind in _CHILD_ENDS or kind in _ACTIVITY_ENDS:
        end = End(event)
        of_child = kind in _CHILD_ENDS
        one = begun.get(end.attributes.initiated_event_id if of_child else end.attributes.scheduled_event_id)
        if one is not None:
            one.end, events.changed_at = end, end.at
    elif kind == _E.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
        child = event.child_workflow_execution_started_event_attributes
        if child.initiated_event_id in begun:
            begun[child.initiated_event_id].run_id = child.workflow_execution.run_id
    elif kind == _E.EVENT_TYPE_ACTIVITY_TASK_STARTED:
        attempt = event.activity_task_started_event_attributes
        if attempt.scheduled_event_id in begun:
            begun[attempt.scheduled_event_id].attempt = attempt.attempt
    elif kind in (_E.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED, _E.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED):
        one = begun[event.event_id] = Begun(event)
        events.changed_at = one.at
    elif kind == _E.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        events.started = event.workflow_execution_started_event_attributes
        events.changed_at = _seconds(event)
    elif kind in _CLOSES:
        events.close = End(event)


async def read_end(client: Client, workflow_id: str, run_id: str) -> End | None:
    """How a workflow closed, after its retries and continue-as-new; None while it is open. Raises as `read_events`."""
    while True:
        end = await _read_close(client, workflow_id, run_id)
        run_id = getattr(end.attributes, "new_execution_run_id", "") if end else ""
        if not run_id:
            return end


async def _read_close(client: Client, workflow_id: str, run_id: str) -> End | None:
    request = _request(client, workflow_id, run_id)
    request.history_event_filter_type = HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
    events = (await _ask(client, request)).history.events
    return End(events[-1]) if events and events[-1].event_type in _CLOSES else None


async def run_ids(client: Client, workflow_id: str) -> list[str]:
    """The runs that the newest run of a workflow continues, the first of them first, and itself.

    Raises as `read_events`.
    """
    runs = [(await describe(client, workflow_id)).execution.run_id]
    while True:
        started = await read_started(client, workflow_id, runs[0])
        cron = ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE
        if not started.continued_execution_run_id or started.initiator == cron:
            return runs
        runs.insert(0, started.continued_execution_run_id)


async def read_started(client: Client, workflow_id: str, run_id: str) -> WorkflowExecutionStartedEventAttributes:
    """How a run was started. Raises as `read_events`."""
    request = _request(client, workflow_id, run_id)
    request.maximum_page_size = 1
    return (await _ask(client, request)).history.events[0].workflow_execution_started_event_attributes


async def read_attempts(client: Client, workflow_id: str, run_id: str) -> int:
    """How often a workflow was tried, from its first run on; what it is at where it runs. Raises as `read_events`."""
    while True:
        end = await _read_close(client, workflow_id, run_id)
        following = getattr(end.attributes, "new_execution_run_id", "") if end else ""
        if not following:
            return (await read_started(client, workflow_id, run_id)).attempt
        run_id = following


async def describe(client: Client, workflow_id: str) -> WorkflowExecutionInfo:
    """What the server says of the newest run of a workflow. Raises as `read_events`."""
    request = DescribeWorkflowExecutionRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
    )
    try:
        answer = await client.workflow_service.describe_workflow_execution(request, retry=True, timeout=_RPC)
    except RPCError as error:
        raise _gone(error, workflow_id, "") from None
    return answer.workflow_execution_info


async def _pages(client: Client, workflow_id: str, run_id: str) -> AsyncIterator[Iterable[HistoryEvent]]:
    request = _request(client, workflow_id, run_id)
    while True:
        response = await _ask(client, request)
        yield response.history.events
        if not response.next_page_token:
            return
        request.next_page_token = response.next_page_token


def _request(client: Client, workflow_id: str, run_id: str) -> GetWorkflowExecutionHistoryRequest:
    return GetWorkflowExecutionHistoryRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        maximum_page_size=_PAGE,
    )


async def _ask(client: Client, request: GetWorkflowExecutionHistoryRequest) -> GetWorkflowExecutionHistoryResponse:
    try:
        return await client.workflow_service.get_workflow_execution_history(request, retry=True, timeout=_RPC)
    except RPCError as error:
        raise _gone(error, request.execution.workflow_id, request.execution.run_id) from None


def _gone(error: RPCError, workflow_id: str, run_id: str) -> Exception:
    if error.status is not RPCStatusCode.NOT_FOUND or "namespace" in error.message.lower():
        return error
    run = f", run {run_id}" if run_id else ""
    return HistoryGone(
        f"there is no history of workflow {workflow_id}{run}: it never ran in this namespace, "
        "or the namespace's retention has removed it"
    )


def _seconds(event: HistoryEvent) -> float:
    return event.event_time.seconds + event.event_time.nanos / 1e9


# -- failures


async def _exception(failure: Failure, converter: DataConverter) -> BaseException:
    try:
        return await converter.decode_failure(failure)
    except Exception:  # of details of another language, or encrypted by others: they are not needed
        return converter.failure_converter.from_failure(_bare(failure), converter.payload_converter)


def _bare(failure: Failure) -> Failure:
    """The failure and its causes, without the payloads in it."""
    bare = Failure()
    bare.CopyFrom(failure)
    layer = bare
    while True:
        if layer.HasField("application_failure_info"):
            layer.application_failure_info.ClearField("details")
        elif layer.HasField("canceled_failure_info"):
            layer.canceled_failure_info.ClearField("details")
        elif layer.HasField("timeout_failure_info"):
            layer.timeout_failure_info.ClearField("last_heartbeat_details")
        if not layer.HasField("cause"):
            return bare
        layer = layer.cause


def _as_child_error(error: BaseException, retry_state: RetryState | None = None) -> BaseException:
    """As a parent sees the error of its child: `root_cause` takes off one layer."""
    seen = ChildWorkflowError(
        "", namespace="", workflow_id="", run_id="", workflow_type="",
        initiated_event_id=0, started_event_id=0, retry_state=retry_state,
    )  # fmt: skip
    seen.__cause__ = error
    return seen
