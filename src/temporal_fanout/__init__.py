"""A Distributed Map for Temporal: fan one workflow out over any number of children, under limits."""

from temporal_fanout.fan_out import FanOutStopped, SourceFailed, ToleratedFailureExceeded, fan_out
from temporal_fanout.models import Failure, FanOutOptions, FanOutResult, InvalidInput, Outcome, Source

__all__ = [
    "Failure",
    "FanOutOptions",
    "FanOutResult",
    "FanOutStopped",
    "InvalidInput",
    "Outcome",
    "Source",
    "SourceFailed",
    "ToleratedFailureExceeded",
    "fan_out",
]
