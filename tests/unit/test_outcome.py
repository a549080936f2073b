"""Root causes: which limit ended an item that timed out, and how much of a message is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    RetryState,
    TimeoutError,
    TimeoutType,
)

from temporal_fanout import Outcome
from temporal_fanout.wire.outcome import ERROR_BYTES, TYPE_BYTES, Ended, Limits, cut, root_cause

EXHAUSTED, NO_TIME = RetryState.MAXIMUM_ATTEMPTS_REACHED, RetryState.TIMEOUT
HEARTBEAT, ATTEMPT = TimeoutType.HEARTBEAT, TimeoutType.START_TO_CLOSE
START, WHOLE = TimeoutType.SCHEDULE_TO_START, TimeoutType.SCHEDULE_TO_CLOSE


def a_timeout(type: TimeoutType | None, cause: BaseException | None = None) -> TimeoutError:
    error = TimeoutError("Timed out", type=type, last_heartbeat_details=[])
    error.__cause__ = cause
    return error


def of_activity(cause: BaseException, retry_state: RetryState | None = None) -> ActivityError:
    error = ActivityError(
        "Activity task timed out", scheduled_event_id=1, started_event_id=2, identity="", activity_type="slow",
        activity_id="1", retry_state=retry_state,
    )  # fmt: skip
    error.__cause__ = cause
    return error


def of_child(cause: BaseException, retry_state: RetryState | None = None) -> ChildWorkflowError:
    error = ChildWorkflowError(
        "Child Workflow execution timed out", namespace="", workflow_id="", run_id="", workflow_type="",
        initiated_event_id=1, started_event_id=2, retry_state=retry_state,
    )  # fmt: skip
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "retry_state", "limits", "message"),
    [
        (
            a_timeout(HEARTBEAT, a_timeout(HEARTBEAT)), EXHAUSTED, Limits(3600, heartbeat=10, maximum_attempts=3),
            "no heartbeat within 10 s (attempt 3 of 3): heartbeat more often, or set heartbeat_timeout higher, "
            "unless its worker stopped",
        ),
        (
            a_timeout(HEARTBEAT), RetryState.NON_RETRYABLE_FAILURE, Limits(5, heartbeat=10, maximum_attempts=3),
            "no heartbeat within 5 s: heartbeat more often, or set heartbeat_timeout higher, unless its worker stopped",
        ),
        (
            a_timeout(ATTEMPT), EXHAUSTED, Limits(3600, 2.5, maximum_attempts=2),
            "an attempt did not complete within 2.5 s (attempt 2 of 2): allow an attempt more time (attempt_timeout), "
            "unless its worker stopped",
        ),
        (
            a_timeout(START), NO_TIME, Limits(3600),
            "no worker took it within 3600 s: is activity slow registered, its task queue polled?",
        ),
        (
            a_timeout(START), NO_TIME, Limits(3600, start=1),
            "no worker took it within 1 s: is activity slow registered, its task queue polled?",
        ),
        (
            a_timeout(WHOLE), NO_TIME, Limits(2, maximum_attempts=1),
            "did not complete within 2 s: allow more time, or set heartbeat_timeout to notice a worker that stopped",
        ),
        (
            a_timeout(WHOLE, a_timeout(HEARTBEAT)), NO_TIME, Limits(3, heartbeat=1),
            "did not complete within 3 s: allow more time (an earlier attempt: no heartbeat within 1 s)",
        ),
        (
            a_timeout(WHOLE, ApplicationError("no money", type="Declined")), NO_TIME, Limits(3, heartbeat=1),
            "did not complete within 3 s: allow more time (an earlier attempt: Declined: no money)",
        ),
        (
            a_timeout(ATTEMPT), NO_TIME, Limits(2, 2, heartbeat=1),  # as a history has it where no attempt was limited
            "did not complete within 2 s: allow more time",
        ),
        (a_timeout(None), None, Limits(heartbeat=1), "did not complete in time: allow more time"),
    ],
)  # fmt: skip
def test_an_activity_that_ran_out_of_time_says_which_limit_it_was(
    cause: TimeoutError, retry_state: RetryState | None, limits: Limits, message: str
) -> None:
    """The limit and its seconds, the attempts where all were made, and what to do."""
    expected = Ended(Outcome.TIMED_OUT, error=message, type="TimeoutError")
    assert root_cause(of_activity(cause, retry_state), "activity:slow", limits) == expected


@pytest.mark.parametrize(
    ("retry_state", "limits", "message"),
    [
        (NO_TIME, Limits(90), "did not complete within 90 s"),
        (NO_TIME, Limits(90, 90, maximum_attempts=3), "did not complete within 90 s"),
        (NO_TIME, Limits(90, 5), "did not complete within 90 s"),
        (RetryState.RETRY_POLICY_NOT_SET, Limits(90, 90), "did not complete within 90 s"),
        (RetryState.RETRY_POLICY_NOT_SET, Limits(90, 5), "a run of it did not complete within 5 s"),
        (EXHAUSTED, Limits(None, 5, maximum_attempts=2), "a run of it did not complete within 5 s (attempt 2 of 2)"),
        (None, Limits(), "did not complete in time"),
    ],
)
def test_a_child_that_ran_out_of_time_says_which_limit_it_was(
    retry_state: RetryState | None, limits: Limits, message: str
) -> None:
    """That of one run, or that of all of them."""
    ended = root_cause(of_child(a_timeout(ATTEMPT), retry_state), "Slow", limits)
    cure = "is Slow registered, its task queue polled, and do its workflow tasks succeed?"
    assert ended == Ended(Outcome.TIMED_OUT, error=f"{message}: {cure}", type="TimeoutError")


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("", 3, ""),
        ("abc", 3, "abc"),
        ("abcd", 3, "…"),
        ("abcdef", 5, "ab…"),
        ("яяя", 6, "яяя"),
        ("яяяя", 7, "яя…"),
        ("яяяя", 6, "я…"),
        ("😀😀", 7, "😀…"),
        ("😀😀", 6, "…"),
        ("a\ud800b\ud800", 7, "a\ud800…"),
        ("\ud83d\ude00", 6, "\ud83d\ude00"),
    ],
)
def test_text_is_cut_by_its_bytes_at_a_character(text: str, limit: int, kept: str) -> None:
    """What fits stays as it is; else whole characters and an …, within the limit."""
    assert cut(text, limit) == kept


ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=60)


@given(ANY_TEXT, st.integers(3, 100))
def test_what_is_cut_begins_as_the_text_does(text: str, limit: int) -> None:
    """Never more bytes than the limit, never less than a character too few, always characters of the text."""
    kept = cut(text, limit)
    size = len(kept.encode("utf-8", "surrogatepass"))
    assert size <= limit
    if kept != text:
        assert kept[-1] == "…"
        assert text.startswith(kept[:-1])
        assert size + 4 > limit or len(text) == len(kept[:-1])


@given(ANY_TEXT, st.integers(0, 300))
def test_a_root_cause_is_bounded_as_it_is_encoded(text: str, times: int) -> None:
    """Whatever an activity raises, its message and its type stay within their bytes."""
    error = of_activity(ApplicationError(text * times, type=text * times))
    ended = root_cause(error)
    assert len(ended.error.encode("utf-8", "surrogatepass")) <= ERROR_BYTES
    assert len(ended.type.encode("utf-8", "surrogatepass")) <= TYPE_BYTES


def test_a_message_of_cyrillic_is_cut_by_its_bytes() -> None:
    """2,000 characters of two bytes each are 4,000 bytes: half of them stay."""
    ended = root_cause(of_activity(ApplicationError("я" * 2000, type="Ж" * 2000)))
    assert ended.error == "я" * 998 + "…"
    assert ended.type == "Ж" * 98 + "…"
