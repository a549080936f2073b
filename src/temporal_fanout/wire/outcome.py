"""What became of an item: its outcome and its root cause."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    TerminatedError,
    TimeoutError,
    WorkflowAlreadyStartedError,
)

from temporal_fanout.results import Outcome
from temporal_fanout.wire.starts import ACTIVITY

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


def out_of_time(work: str, seconds: float | None) -> str:
    """What to say of an item that timed out, and what to look at; no seconds: its limit is not known."""
    within = "in time" if seconds is None else f"within {seconds:g} s"
    if work.startswith(ACTIVITY):
        name = work.removeprefix(ACTIVITY)
        return f"did not complete {within}: is activity {name} registered, its task queue polled?"
    return f"did not complete {within}: is {work} registered, its task queue polled, and do its workflow tasks succeed?"


def root_cause(error: BaseException, timed_out: str) -> Ended:
    """What an error of a child or an activity says of it: its outcome, and the message and type of the root cause.

    `timed_out` is the message for one that ran out of time: the server gives none.
    """
    own: BaseException = error
    if isinstance(error, ChildWorkflowError | ActivityError) and error.cause is not None:
        own = error.cause
    cause = own
    while isinstance(cause, ChildWorkflowError | ActivityError) and cause.cause is not None:
        cause = cause.cause
    outcome = _OUTCOMES.get(type(own), Outcome.FAILED)
    kind = (cause.type if isinstance(cause, ApplicationError) else None) or type(cause).__name__
    message = cause.message if isinstance(cause, FailureError) else str(cause)
    if outcome is Outcome.TIMED_OUT:
        message = timed_out
    if isinstance(error, WorkflowAlreadyStartedError):
        message = f"a workflow with the id {error.workflow_id} is open and is not this run's child"
    return Ended(outcome, error=message or kind, type=kind)


def cut(text: str, limit: int) -> str:
    """The text, or as much of its beginning as fits into `limit` bytes of UTF-8 with an … after it."""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= limit:
        return text
    end = limit - len("…".encode())
    while data[end] & 0xC0 == 0x80:  # within a character
        end -= 1
    return data[:end].decode("utf-8", "surrogatepass") + "…"
