"""The scenarios: named, documented inputs for a parent. The one place that names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from temporal_fanout import lab


@dataclass(frozen=True)
class Scenario:
    """An input for `ParentWorkflow`, and what is to be expected of it."""

    name: str
    values: Sequence[Any]
    shows: str
    expected: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def work(self) -> str:
        """What it fans out over: a child workflow's name, or an activity's, marked."""
        return lab.parent_input([[], self.options])[0]


_ALL = (
    Scenario("default", range(1, 6), "success and failure side by side", "3 of 5 complete: the odd ones"),
    Scenario("all-success", range(1, 10, 2), "a run without a failure", "5 of 5 complete"),
    Scenario(
        "all-failures", range(2, 9, 2), "a run in which every child fails, and which completes", "0 of 4 complete"
    ),
    Scenario("large-scale", range(1, 16), "fifteen children at once", "8 of 15 complete: the odd ones"),
    Scenario(
        "stress",
        range(1, 2501),
        "more children than the 2,000 at which a plain fan-out hangs for ever",
        "1,250 of 2,500 complete, in shards",
    ),
    Scenario(
        "strict",
        range(1, 101),
        "a tolerance that is breached: the run stops early and fails",
        "the run fails with ToleratedFailureExceeded",
        {"tolerated_failure_ratio": 0.05, "max_concurrency": 10},
    ),
    Scenario(
        "activities",
        range(1, 2501),
        "the same over an activity: several times as fast",
        "1,250 of 2,500 complete",
        {"activity": "double"},
    ),
)

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
