"""The scenarios: named, documented inputs for a parent. The one place that names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from temporal_fanout import lab


@dataclass(frozen=True)
class Scenario:
    """An input for a parent workflow, and what is to be expected of it."""

    name: str
    values: Sequence[Any] | Mapping[str, Any]
    """The parent's first input: its items, or for a parent that makes them, an object."""
    teaches: str
    expected: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """The parent's second input."""
    workflow: str = lab.PARENT
    fans_out_over: Sequence[str] | None = None
    """Child workflows of a parent that chooses them itself; none is for one that is told, as `ParentWorkflow` is."""

    @property
    def inputs(self) -> list[Any]:
        """What the parent is started with, as JSON."""
        values = dict(self.values) if isinstance(self.values, Mapping) else list(self.values)
        return [values, dict(self.options)] if self.options else [values]

    @property
    def items(self) -> int | None:
        """How many items it is given; none for a parent that makes them."""
        return None if isinstance(self.values, Mapping) else len(self.values)

    @property
    def works(self) -> list[str]:
        """What it fans out over: names of child workflows, or of an activity, marked."""
        if self.fans_out_over is not None:
            return list(self.fans_out_over)
        return [lab.parent_input([[], self.options])[0]]


_PEOPLE = (
    {"name": "Ada Lovelace", "email": "ada@example.com"},
    {"name": "Grace Hopper", "email": "grace@example.org"},
    {"name": "Alan Turing"},
    {"name": "", "email": "nobody@example.com"},
    {"name": "Mary Jackson", "email": "mary@example.net"},
)
"""Records, of which two lack something."""


def _child(**behaviour: Any) -> dict[str, Any]:
    """Options by which `ChildWorkflow` behaves so (`temporal_fanout.behaviour`)."""
    return {"args": [behaviour]}


_ALL = (
    Scenario(
        "default",
        range(1, 6),
        "success and failure side by side: a child that fails is part of the result",
        "3 of 5 complete: the odd ones",
    ),
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
        # A task whose worker, or whose way to it, is lost is tried again after this, not only at the item's timeout.
        {"activity": "double", "heartbeat_timeout": 30, "retry": {"maximum_attempts": 2}},
    ),
    Scenario(
        "multiples-of-3",
        range(1, 10),
        "which child fails is an option of the child, not an edit of its code",
        "6 of 9 complete: all but 3, 6 and 9",
        _child(fail_multiples_of=3),
    ),
    Scenario(
        "random-failures",
        range(1, 21),
        "chance in a workflow comes from a seed, so that a replay finds what the first run found",
        "14 of 20 complete: always all but 1, 2, 6, 16, 18 and 20",
        _child(failure_rate=0.3, seed=13),
    ),
    Scenario(
        "random-delays",
        range(1, 11),
        "a run in parallel takes about as long as its slowest child, not as all of them together",
        "10 of 10 complete, in about 5 s: the slowest takes 4.8 s, all together 32.1 s",
        _child(failure_rate=0, delay_seconds=[1, 5], seed=1),
    ),
    Scenario(
        "sequential",
        range(1, 6),
        "one child after another: max_concurrency 1",
        "5 of 5 complete, in more than 2.5 s: five times half a second",
        {"max_concurrency": 1} | _child(failure_rate=0, delay_seconds=0.5),
        workflow="TimedParentWorkflow",
    ),
    Scenario(
        "parallel",
        range(1, 6),
        "the same five children at once, to compare with sequential",
        "5 of 5 complete, in about a second",
        _child(failure_rate=0, delay_seconds=0.5),
        workflow="TimedParentWorkflow",
    ),
    Scenario(
        "validation",
        _PEOPLE,
        "another type of child: one that says whether a record is whole",
        "5 of 5 complete: three are valid, two are not",
        {"child": "DataValidationWorkflow"},
    ),
    Scenario(
        "transformation",
        _PEOPLE,
        "another type of child, which refuses records that lack a field: InvalidInput, never retried",
        "3 of 5 complete",
        {"child": "DataTransformationWorkflow"},
    ),
    Scenario(
        "conditional",
        _PEOPLE,
        "which children run depends on the data: of several fan-outs in one parent, one decides on the next",
        "5 validated, 3 transformed, 2 rejected",
        workflow="ConditionalWorkflow",
        fans_out_over=["DataValidationWorkflow", "DataTransformationWorkflow"],
    ),
    Scenario(
        "batches",
        {"batch_size": 10, "total_items": 25},
        "how many children there are is known only when the parent runs; each handles many items",
        "3 batches processed: batch-0-10, batch-10-20 and batch-20-25",
        workflow="BatchProcessingWorkflow",
        fans_out_over=["BatchWorkflow"],
    ),
    Scenario(
        "retries",
        range(1, 4),
        "an activity that fails is tried again, and its child never knows",
        "3 of 3 complete, each at the third attempt",
        {"child": "FlakyActivityWorkflow", "args": [{"failures": 2, "attempts": 3}]},
    ),
    Scenario(
        "try-except",
        range(1, 6),
        "the same as default in plain Temporal style: what fan_out spares its caller",
        "3 of 5 complete: the odd ones",
        workflow="TryExceptWorkflow",
        fans_out_over=[],
    ),
    Scenario(
        "compensation",
        [1, 3, 5, 2, 7, 9],
        "where too many items fail, what had completed is undone by a second fan-out, the last first",
        "2 fails; 5, 3 and 1 are undone; 7 and 9 are never started",
        {"tolerated_failure_count": 0, "max_concurrency": 1},
        workflow="CompensationWorkflow",
        fans_out_over=[lab.CHILD, "UndoWorkflow"],
    ),
    Scenario(
        "hold",
        range(1, 6),
        "failed items wait for a person, who runs them again or skips them: fanout held, retry-item, skip",
        "3 of 5 complete; 2 and 4 wait, and the run with them, for as long as nobody decides",
        {"on_failure": "hold"},
    ),
    Scenario(
        "scaling",
        range(1, 61),
        "how many children are in flight can be changed while a run goes on: fanout resize",
        "60 of 60 complete, in more than a minute: in less once it is resized",
        {"max_concurrency": 2} | _child(failure_rate=0, delay_seconds=2),
    ),
)

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
