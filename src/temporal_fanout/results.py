"""What comes out of a fan-out: outcomes, results, and what a stopped run raises."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic

from temporalio.exceptions import ApplicationError

if TYPE_CHECKING:  # a plain FanOutResult is one of Any; Python's own TypeVar has a default from 3.13 on
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")


class Outcome(StrEnum):
    """What became of an item. Success is `completed`, nothing else."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    NOT_STARTED = "not_started"


@dataclass(frozen=True)
class Failure:
    """An item that was started and did not complete, with its root cause."""

    index: int
    """Place in the input, from 0."""
    value: Any
    """The item: the value that was given, or as a source has it."""
    outcome: Outcome
    error: str
    """The message of the root cause: of the activity's error where that is the cause."""
    type: str
    """The `type` of an `ApplicationError`, else the name of the error's class."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"value": self.value, "error": self.error, "type": self.type}


@dataclass(frozen=True)
class Completed(Generic[T]):
    """An item that completed."""

    index: int
    """Place in the input, from 0."""
    value: Any
    """The item: the value that was given, or as a source has it."""
    result: T
    """What its work returned, decoded when it is first looked at. Raises `InvalidInput` where it is of another type."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; what is not JSON of it is `{"encoding": …, "size": bytes}`: the history has it whole."""
        return {"value": self.value, "result": self.result}


@dataclass
class FanOutResult(Generic[T]):
    """What became of every item, in the order of the input.

    The counts are always whole; `completed` and `failed` are cut at `max_result_bytes`, and `truncated` says so.
    """

    total_children: int
    outcomes: dict[Outcome, int]
    """Items by outcome; together `total_children`."""
    completed: list[Completed[T]]
    failed: list[Failure]
    truncated: bool = False

    @property
    def success_count(self) -> int:
        """Items that completed."""
        return self.outcomes.get(Outcome.COMPLETED, 0)

    @property
    def not_started_count(self) -> int:
        """Items that were never started, since the run was stopped before."""
        return self.outcomes.get(Outcome.NOT_STARTED, 0)

    @property
    def failure_count(self) -> int:
        """Items that were started and did not complete."""
        return self.total_children - self.success_count - self.not_started_count

    @property
    def success_rate(self) -> float:
        """Completed of all items, 0 to 1; 0 for no items."""
        return self.success_count / self.total_children if self.total_children else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: the six keys that never change, then more."""
        return {
            "total_children": self.total_children,
            "successful_results": [one.to_dict() for one in self.completed],
            "failed_children": [one.to_dict() for one in self.failed],
            "success_count": self.success_count,
            "failure_count": self.failure_count,
            "success_rate": self.success_rate,
            "outcomes": {str(o): n for o, n in self.outcomes.items() if n},
            "failed_indexes": [f.index for f in self.failed],
            "failed_outcomes": [str(f.outcome) for f in self.failed],
            "truncated": self.truncated,
        }

    def summary(self, failures: int = 20) -> dict[str, Any]:
        """The counts and the first failures: small enough for the details of an error."""
        return {
            "total_children": self.total_children,
            "success_count": self.success_count,
            "failure_count": self.failure_count,
            "success_rate": self.success_rate,
            "outcomes": {str(o): n for o, n in self.outcomes.items() if n},
            "failed_children": [
                {"index": f.index, "outcome": str(f.outcome), "error": f.error, "type": f.type}
                for f in self.failed[:failures]
            ],
        }


class FanOutStopped(ApplicationError):
    """The run was stopped before its end; `result` is what became of every item so far."""

    result: FanOutResult[Any]

    def __init__(self, message: str, type: str, result: FanOutResult[Any]) -> None:
        super().__init__(message, result.summary(), type=type, non_retryable=True)
        self.result = result


class ToleratedFailureExceeded(FanOutStopped):
    """More items failed than `tolerated_failure_count` or `tolerated_failure_ratio` allow."""


class SourceFailed(FanOutStopped):
    """The source gave an error, or not the items that it had promised."""
