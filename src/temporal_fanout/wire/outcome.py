"""What became of an item: its outcome and its root cause."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    RetryState,
    TerminatedError,
    TimeoutError,
    TimeoutType,
    WorkflowAlreadyStartedError,
)

from temporal_fanout.results import Outcome
from temporal_fanout.wire.protocol import StartOptions
from temporal_fanout.wire.starts import ACTIVITY, Start, span

ERROR_BYTES = 2000
"""Of the message of a root cause, in UTF-8, at most: a result has hundreds of them, and takes 2 MiB."""
TYPE_BYTES = 200
"""Of its type."""

_OUTCOMES: dict[type, Outcome] = {
    TimeoutError: Outcome.TIMED_OUT,
    CancelledError: Outcome.CANCELLED,
    asyncio.CancelledError: Outcome.CANCELLED,
    TerminatedError: Outcome.TERMINATED,
}


@dataclass(frozen=True)
class Ended:
    """What became of an item: a raw result, or a root cause, cut at `ERROR_BYTES` and `TYPE_BYTES`."""

    outcome: Outcome
    result: Payload | None = None
    error: str = ""
    type: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", cut(self.error, ERROR_BYTES))
        object.__setattr__(self, "type", cut(self.type, TYPE_BYTES))


@dataclass(frozen=True)
class Limits:
    """The time limits of an item, in seconds, and its attempts; None and 0 attempts are no limit, or none known.

    The server replaces what is missing: a limit that is not given is that of the whole. So these are the same for an
    item whether they come from its options or from its history.
    """

    whole: float | None = None
    """From its start to its end, with all attempts: schedule-to-close, or the execution timeout of a child."""
    attempt: float | None = None
    """Of one attempt: start-to-close, or the run timeout of a child."""
    start: float | None = None
    """For a worker to take an activity: schedule-to-start."""
    heartbeat: float | None = None
    """From one heartbeat of an activity to the next."""
    maximum_attempts: int = 0

    @property
    def has_attempt(self) -> bool:
        """Whether one attempt has a limit of its own."""
        return self.attempt is not None and (self.whole is None or self.attempt < self.whole)

    @classmethod
    def of_options(cls, options: StartOptions) -> Limits:
        """Those of the items of a fan-out."""
        attempts = options.retry["maximum_attempts"]
        return cls(options.timeout, options.attempt_timeout, options.start_timeout, options.heartbeat_timeout, attempts)

    @classmethod
    def of(cls, start: Start) -> Limits:
        """Those of a recorded start."""
        attempts = start.retry_policy.maximum_attempts
        if isinstance(start, ActivityTaskScheduledEventAttributes):
            return cls(
                _seconds(start.schedule_to_close_timeout),
                _seconds(start.start_to_close_timeout),
                _seconds(start.schedule_to_start_timeout),
                _seconds(start.heartbeat_timeout),
                attempts,
            )
        whole, run = start.workflow_execution_timeout, start.workflow_run_timeout
        return cls(_seconds(whole), _seconds(run), maximum_attempts=attempts)


def _seconds(duration: Duration) -> float | None:
    limit = span(duration)
    return limit.total_seconds() if limit else None


def root_cause(error: BaseException, work: str = "", limits: Limits | None = None) -> Ended:
    """What an error of a child or an activity says of it: its outcome, and the message and type of the root cause.

    `work` and `limits` are of the item: they say why it ran out of time, where the server gives only the kind of limit.
    """
    own: BaseException = error
    if isinstance(error, ChildWorkflowError | ActivityError) and error.cause is not None:
        own = error.cause
    cause = own
    while isinstance(cause, ChildWorkflowError | ActivityError) and cause.cause is not None:
        cause = cause.cause
    outcome = _OUTCOMES.get(type(own), Outcome.FAILED)
    kind, message = _named(cause)
    if isinstance(own, TimeoutError):
        retry_state = getattr(error, "retry_state", None)
        message = _out_of_time(own, retry_state, work, limits or Limits())
    if isinstance(error, WorkflowAlreadyStartedError):
        message = f"a workflow with the id {error.workflow_id} is open and is not this run's child"
    return Ended(outcome, error=message or kind, type=kind)


def _named(cause: BaseException) -> tuple[str, str]:
    kind = (cause.type if isinstance(cause, ApplicationError) else None) or type(cause).__name__
    return kind, cause.message if isinstance(cause, FailureError) else str(cause)


def _out_of_time(error: TimeoutError, retry_state: RetryState | None, work: str, limits: Limits) -> str:
    """Which limit ended an item, after how many attempts where that is known, and what to do."""
    if work.startswith(ACTIVITY):
        return _activity_out_of_time(error, retry_state, work.removeprefix(ACTIVITY), limits)
    # the server reports start-to-close of every child; it says that no time is left only where the whole is over
    if retry_state is not RetryState.TIMEOUT and limits.has_attempt:
        what = f"a run of it did not complete{_within(limits.attempt)}{_attempts(retry_state, limits)}"
    else:
        what = f"did not complete{_within(limits.whole or limits.attempt)}"
    return f"{what}: is {work} registered, its task queue polled, and do its workflow tasks succeed?"


def _activity_out_of_time(error: TimeoutError, retry_state: RetryState | None, name: str, limits: Limits) -> str:
    attempts = _attempts(retry_state, limits)
    if error.type is TimeoutType.SCHEDULE_TO_START:
        within = _within(limits.start, limits.whole)
        return f"no worker took it{within}: is activity {name} registered, its task queue polled?"
    if (ended := _attempt_ended(error, limits)) is not None:
        what, cure = ended
        return f"{what}{attempts}: {cure}, unless its worker stopped"
    cure = "allow more time"
    if limits.heartbeat is None:
        cure += ", or set heartbeat_timeout to notice a worker that stopped"
    if error.cause is not None:
        of_attempt = _attempt_ended(error.cause, limits) if isinstance(error.cause, TimeoutError) else None
        earlier = of_attempt[0] if of_attempt else ": ".join(_named(error.cause))
        cure += f" (an earlier attempt: {earlier})"
    return f"did not complete{_within(limits.whole)}: {cure}"


def _attempt_ended(error: TimeoutError, limits: Limits) -> tuple[str, str] | None:
    """What one attempt did, and the cure; None where the limit was that of the whole."""
    if error.type is TimeoutType.HEARTBEAT:
        within = _within(limits.heartbeat, limits.attempt, limits.whole)
        return f"no heartbeat{within}", "heartbeat more often, or set heartbeat_timeout higher"
    if error.type is TimeoutType.START_TO_CLOSE and limits.has_attempt:
        return f"an attempt did not complete{_within(limits.attempt)}", "allow an attempt more time (attempt_timeout)"
    return None


def _within(*limits: float | None) -> str:
    """The shortest of these limits, in words."""
    seconds = min((limit for limit in limits if limit), default=None)
    return " in time" if seconds is None else f" within {seconds:.3f}".rstrip("0").rstrip(".") + " s"


def _attempts(retry_state: RetryState | None, limits: Limits) -> str:
    """How many attempts there were, which an error says only where all that are allowed were made."""
    most = limits.maximum_attempts
    return f" (attempt {most} of {most})" if retry_state is RetryState.MAXIMUM_ATTEMPTS_REACHED and most else ""


def cut(text: str, limit: int) -> str:
    """The text, or as much of its beginning as fits into `limit` bytes of UTF-8 with an … after it."""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= limit:
        return text
    end = limit - len("…".encode())
    while data[end] & 0xC0 == 0x80:  # within a character
        end -= 1
    return data[:end].decode("utf-8", "surrogatepass") + "…"
