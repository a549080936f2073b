"""The exporter's metrics by name: docs/metrics.md says what each means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from temporal_fanout.exporter.ledger import Ledger
from temporal_fanout.exporter.open_runs import OpenRun
from temporal_fanout.results import Outcome

_RUN_OUTCOMES = [outcome for outcome in Outcome if outcome is not Outcome.NOT_STARTED]


def sweeps(namespace: str, errors: int, ended_at: float) -> list[Metric]:
    """Of the sweeps: how many failed since the start, and when the last one that did not ended, or 0."""
    return [
        _family(
            CounterMetricFamily,
            "fanout_exporter_sweep_errors_total",
            "Sweeps that failed, as when the server does not answer.",
            ["namespace"],
            [((namespace,), errors)],
        ),
        _family(
            GaugeMetricFamily,
            "fanout_exporter_last_sweep_timestamp_seconds",
            "When the exporter last read everything it wanted; 0 before it has.",
            ["namespace"],
            [((namespace,), ended_at)],
        ),
    ]


def counters(ledger: Ledger, parent_types: Sequence[str]) -> list[Metric]:
    """Of closed runs: these parent types, and those that were counted before."""
    own = (ledger.namespace,)
    all_types = list(dict.fromkeys([*parent_types, *(parent_type for parent_type, _ in ledger.runs)]))
    return [
        _family(
            CounterMetricFamily,
            "fanout_exporter_items_total",
            "Items of closed runs, from their histories.",
            ["namespace", "parent_type", "child_type", "outcome"],
            [((*own, *pair, outcome), ledger.items[*pair, outcome]) for pair in ledger.pairs for outcome in Outcome],
        ),
        _family(
            CounterMetricFamily,
            "fanout_exporter_runs_total",
            "Closed runs.",
            ["namespace", "parent_type", "outcome"],
            [((*own, type, outcome), ledger.runs[type, outcome]) for type in all_types for outcome in _RUN_OUTCOMES],
        ),
        _family(
            CounterMetricFamily,
            "fanout_exporter_unread_runs_total",
            "Closed runs whose history was gone before it was read.",
            ["namespace", "parent_type"],
            [((*own, type), ledger.unread[type]) for type in all_types],
        ),
    ]


def gauges(
    namespace: str,
    parent_types: Sequence[str],
    runs: Iterable[OpenRun],
    queues: Mapping[tuple[str, str], tuple[int, int]],
) -> list[Metric]:
    """Of open runs, and of task queues, which have pollers and a backlog by name and type."""
    own = (namespace,)
    by_type: dict[str, list[OpenRun]] = {parent_type: [] for parent_type in parent_types}
    for run in runs:
        by_type[run.parent_type].append(run)
    in_flight = [((*own, type, "in_flight"), sum(run.in_flight for run in open)) for type, open in by_type.items()]
    waiting = [((*own, type, "waiting"), sum(run.waiting for run in open)) for type, open in by_type.items()]
    held = [((*own, type, "held"), sum(run.held for run in open)) for type, open in by_type.items()]
    return [
        _family(
            GaugeMetricFamily,
            "fanout_exporter_open_runs",
            "Runs that are open.",
            ["namespace", "parent_type"],
            [((*own, type), len(open)) for type, open in by_type.items()],
        ),
        _family(
            GaugeMetricFamily,
            "fanout_exporter_open_items",
            "Items of open runs that were started and have not ended, and that were not started yet.",
            ["namespace", "parent_type", "state"],
            in_flight + waiting + held,
        ),
        _family(
            GaugeMetricFamily,
            "fanout_exporter_stalled_seconds",
            "Of the open run that has waited longest: time since one of its items started or ended.",
            ["namespace", "parent_type"],
            [((*own, type), max((run.stalled for run in open), default=0.0)) for type, open in by_type.items()],
        ),
        _family(
            GaugeMetricFamily,
            "fanout_exporter_task_queue_pollers",
            "Pollers that the server saw within the last five minutes.",
            ["namespace", "task_queue", "task_queue_type"],
            [((*own, *queue), pollers) for queue, (pollers, _) in queues.items()],
        ),
        _family(
            GaugeMetricFamily,
            "fanout_exporter_task_queue_backlog",
            "Tasks that wait for a worker.",
            ["namespace", "task_queue", "task_queue_type"],
            [((*own, *queue), backlog) for queue, (_, backlog) in queues.items()],
        ),
    ]


def _family(
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
    name: str,
    meaning: str,
    labels: Sequence[str],
    rows: Iterable[tuple[Sequence[str], float]],
) -> Metric:
    family = kind(name, meaning, labels=labels)
    for row, value in rows:
        family.add_metric(row, value)
    return family
