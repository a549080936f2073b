"""A Distributed Map for Temporal: fan one workflow out over any number of children, under limits."""

from temporal_fanout.events import HistoryGone
from temporal_fanout.fan_out import fan_out
from temporal_fanout.history import ItemOutcome, outcomes
from temporal_fanout.models import (
    Failure,
    FanOutOptions,
    FanOutResult,
    FanOutStopped,
    InvalidInput,
    Outcome,
    Source,
    SourceFailed,
    ToleratedFailureExceeded,
)
from temporal_fanout.plugin import FanOutPlugin
from temporal_fanout.retry import retry

__all__ = [
    "Failure",
    "FanOutOptions",
    "FanOutPlugin",
    "FanOutResult",
    "FanOutStopped",
    "HistoryGone",
    "InvalidInput",
    "ItemOutcome",
    "Outcome",
    "Source",
    "SourceFailed",
    "ToleratedFailureExceeded",
    "fan_out",
    "outcomes",
    "retry",
]
