"""A Distributed Map for Temporal: fan one workflow out over any number of children, under limits."""

from temporal_fanout.checks import InvalidInput
from temporal_fanout.engine.fan_out import fan_out
from temporal_fanout.histories.events import HistoryGone
from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.run import outcomes
from temporal_fanout.options import FanOutOptions
from temporal_fanout.plugin import FanOutPlugin
from temporal_fanout.results import (
    Completed,
    Failure,
    FanOutResult,
    FanOutStopped,
    Outcome,
    SourceFailed,
    ToleratedFailureExceeded,
)
from temporal_fanout.retries.plan import retry
from temporal_fanout.source import Source

__all__ = [
    "Completed",
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
