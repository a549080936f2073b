"""How a child or an activity ended, as its parent would say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType, RetryState, TimeoutType
from temporalio.api.failure.v1 import ActivityFailureInfo, ApplicationFailureInfo, Failure, TimeoutFailureInfo
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from temporal_fanout import Outcome
from temporal_fanout.histories.events import Begun, Events, take
from temporal_fanout.wire.outcome import Ended

TIMED_OUT = Failure(
    message="activity StartToClose timeout",
    timeout_failure_info=TimeoutFailureInfo(timeout_type=TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE),
)


async def ended(start: HistoryEvent, end: HistoryEvent) -> Ended | None:
    begun: dict[int, Begun] = {}
    for event in (start, end):
        take(event, Events(), begun)
    return await begun[5].ended(DataConverter.default)


def a_child() -> HistoryEvent:
    event = HistoryEvent(event_id=5, event_type=EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED)
    start = event.start_child_workflow_execution_initiated_event_attributes
    start.workflow_id, start.workflow_type.name = "p.0", "Child"
    start.workflow_execution_timeout.FromTimedelta(timedelta(seconds=90))
    return event


def a_failed_child(failure: Failure) -> HistoryEvent:
    event = HistoryEvent(event_type=EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED)
    event.child_workflow_execution_failed_event_attributes.initiated_event_id = 5
    event.child_workflow_execution_failed_event_attributes.failure.CopyFrom(failure)
    return event


async def test_a_child_whose_activity_timed_out_has_failed() -> None:
    """The root cause is the activity's, the outcome the child's own."""
    failure = Failure(message="Activity task timed out", activity_failure_info=ActivityFailureInfo(), cause=TIMED_OUT)
    assert await ended(a_child(), a_failed_child(failure)) == Ended(
        Outcome.FAILED, error="activity StartToClose timeout", type="TimeoutError"
    )


async def test_details_that_nobody_can_decode_hide_no_root_cause() -> None:
    """Details of an unknown encoding, in the failure and in its cause, are left out."""
    details = Payloads(payloads=[Payload(metadata={"encoding": b"binary/other"}, data=b"?")])
    info = ApplicationFailureInfo(type="Declined", details=details)
    failure = Failure(
        message="Activity task failed",
        activity_failure_info=ActivityFailureInfo(),
        cause=Failure(message="no money", application_failure_info=info),
    )
    expected = Ended(Outcome.FAILED, error="no money", type="Declined")
    assert await ended(a_child(), a_failed_child(failure)) == expected
    assert await ended(a_child(), a_failed_child(failure.cause)) == expected


@pytest.mark.parametrize(
    ("timeout_type", "error"),
    [
        (TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE, "an attempt did not complete within 2 s (attempt 4 of 4): "),
        (TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, "did not complete within 60 s: "),
        (TimeoutType.TIMEOUT_TYPE_HEARTBEAT, "no heartbeat within 1 s (attempt 4 of 4): "),
        (TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START, "no worker took it within 60 s: is activity pay registered, "),
        (None, "did not complete within 60 s: "),
    ],
)
async def test_an_activity_that_timed_out_says_which_limit_it_broke(
    timeout_type: TimeoutType.ValueType | None, error: str
) -> None:
    """The history's kind of limit, its seconds and its attempts are in the message."""
    event = HistoryEvent(event_id=5, event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
    start = event.activity_task_scheduled_event_attributes
    start.activity_type.name = "pay"
    start.heartbeat_timeout.FromTimedelta(timedelta(seconds=1))
    start.start_to_close_timeout.FromTimedelta(timedelta(seconds=2))
    start.schedule_to_close_timeout.FromTimedelta(timedelta(seconds=60))
    start.retry_policy.maximum_attempts = 4
    end = HistoryEvent(event_type=EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT)
    end.activity_task_timed_out_event_attributes.scheduled_event_id = 5
    end.activity_task_timed_out_event_attributes.retry_state = RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED
    if timeout_type is not None:
        end.activity_task_timed_out_event_attributes.failure.timeout_failure_info.timeout_type = timeout_type
    said = await ended(event, end)
    assert said is not None
    assert said.outcome is Outcome.TIMED_OUT
    assert said.error.startswith(error)


async def test_a_start_that_was_refused_is_a_failure() -> None:
    """An id that an open workflow has is named."""
    end = HistoryEvent(event_type=EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED)
    end.start_child_workflow_execution_failed_event_attributes.initiated_event_id = 5
    assert await ended(a_child(), end) == Ended(
        Outcome.FAILED,
        error="a workflow with the id p.0 is open and is not this run's child",
        type="WorkflowAlreadyStartedError",
    )
