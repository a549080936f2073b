"""What a worker counts of the items of its runs, through the SDK's meter.

A `Recorder` lives in the worker process, outside of the workflows' sandbox, one for each worker. Names, labels and
meaning: docs/metrics.md. Workflows import this module, also in the sandbox of a worker without the plugin.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from temporalio.common import MetricMeter
from temporalio.runtime import PrometheusConfig

from temporal_fanout.results import Outcome

RECORDER = "__temporal_fanout_recorder"
"""Name of the extern function by which a workflow gets its worker's recorder."""
SCENARIO_MEMO = "fanout_scenario"
"""Memo field of a run that was started by a scenario: its name."""
NO_SCENARIO = "none"
OTHER = "other"
"""In place of labels that one process has had too many of."""

ITEM_OUTCOMES = (Outcome.COMPLETED, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.CANCELLED, Outcome.TERMINATED)
RUN_OUTCOMES = (Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED)

_ITEM_SECONDS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_TASK_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_BUCKETS: Mapping[str, Sequence[float]] = {
    "fanout_item_duration": _ITEM_SECONDS,
    "temporal_workflow_endtoend_latency": _ITEM_SECONDS,
    "temporal_activity_execution_latency": _ITEM_SECONDS,
    "temporal_activity_succeed_endtoend_latency": _ITEM_SECONDS,
    "temporal_workflow_task_schedule_to_start_latency": _TASK_SECONDS,
    "temporal_activity_schedule_to_start_latency": _TASK_SECONDS,
    "temporal_workflow_task_execution_latency": _TASK_SECONDS,
    "temporal_workflow_task_replay_latency": _TASK_SECONDS,
    "temporal_request_latency": _TASK_SECONDS,
}

_MOST_COMBINATIONS = 200
_MOST_RUNS = 2000


class Run(NamedTuple):
    """Labels: where a run belongs."""

    namespace: str
    task_queue: str
    parent_type: str
    scenario: str


class Seen:
    """What was counted of one fan-out of one run, items as bits: a workflow task may be tried again."""

    __slots__ = ("ended", "finished", "started")

    def __init__(self) -> None:
        self.started = 0
        self.finished = 0
        self.ended = False


class Recorder:
    """Gives the counters of a run and of its items, there at 0 once asked for, and bounds what labels there are."""

    def __init__(self, meter: MetricMeter) -> None:
        self.started = meter.create_counter("fanout_items_started", "Items started.")
        self.finished = meter.create_counter("fanout_items_finished", "Items that ended, by what became of them.")
        self.seconds = meter.create_histogram_timedelta(
            "fanout_item_duration", "From an item's start to its outcome, as its parent sees both.", "duration"
        )
        self.runs = meter.create_counter("fanout_runs_finished", "Runs that ended in a worker, by how.")
        self.breaches = meter.create_counter(
            "fanout_tolerance_breaches", "Fan-outs that stopped since more items failed than are tolerated."
        )
        self._runs: dict[Run, RunCounters] = {}
        self._items: dict[tuple[Run, str], ItemCounters] = {}
        self._seen: OrderedDict[tuple[str, str], Seen] = OrderedDict()

    def run(self, run: Run) -> RunCounters:
        if run not in self._runs and len(self._runs) >= _MOST_COMBINATIONS:
            run = run._replace(parent_type=OTHER, scenario=OTHER)
        if run not in self._runs:
            self._runs[run] = RunCounters(self, run)
        return self._runs[run]

    def items(self, run: Run, child_type: str) -> ItemCounters:
        key = run, child_type
        if key not in self._items and len(self._items) >= _MOST_COMBINATIONS:
            key = run._replace(parent_type=OTHER, scenario=OTHER), OTHER
        if key not in self._items:
            self._items[key] = ItemCounters(self, *key)
        return self._items[key]

    def seen(self, run_id: str, name: str) -> Seen:
        """What was counted of the fan-out of this name; forgotten with the oldest run once there are many."""
        seen = self._seen.get((run_id, name))
        if seen is None:
            seen = self._seen[run_id, name] = Seen()
            if len(self._seen) > _MOST_RUNS:
                self._seen.popitem(last=False)
        return seen


class RunCounters:
    """What is counted of the runs of one combination of labels."""

    def __init__(self, recorder: Recorder, run: Run) -> None:
        self._breaches = recorder.breaches.with_additional_attributes(run._asdict())
        self._finished = {
            outcome: recorder.runs.with_additional_attributes(run._asdict() | {"outcome": str(outcome)})
            for outcome in RUN_OUTCOMES
        }
        for counter in (self._breaches, *self._finished.values()):
            counter.add(0)

    def finished(self, outcome: Outcome) -> None:
        self._finished[outcome].add(1)

    def breached(self) -> None:
        self._breaches.add(1)


class ItemCounters:
    """What is counted of the items of one combination of labels."""

    def __init__(self, recorder: Recorder, run: Run, child_type: str) -> None:
        labels = run._asdict() | {"child_type": child_type}
        self._started = recorder.started.with_additional_attributes(labels)
        self._finished = {
            outcome: recorder.finished.with_additional_attributes(labels | {"outcome": str(outcome)})
            for outcome in ITEM_OUTCOMES
        }
        self._seconds = recorder.seconds.with_additional_attributes(labels)
        for counter in (self._started, *self._finished.values()):
            counter.add(0)

    def started(self) -> None:
        self._started.add(1)

    def finished(self, outcome: Outcome, seconds: float) -> None:
        self._finished[outcome].add(1)
        self._seconds.record(timedelta(seconds=seconds))


def prometheus(bind_address: str) -> PrometheusConfig:
    """The SDK's exporter with the names, units and buckets of docs/metrics.md, for a worker's own `Runtime`."""
    return PrometheusConfig(
        bind_address=bind_address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=_BUCKETS,
    )
