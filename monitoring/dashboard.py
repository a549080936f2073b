"""Writes dashboard.json, the Grafana dashboard of temporal-fanout: `python -m monitoring.dashboard`.

Every query is PromQL with Grafana's variables, over the metrics of docs/metrics.md, the SDK's own, and the rules of
monitoring/rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

HERE = Path(__file__).parent
DATA_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

ITEMS = 'namespace="$namespace", task_queue=~"$task_queue", parent_type=~"$parent_type"'
"""Selects what the workers count of items and runs."""
RUNS = 'namespace="$namespace", parent_type=~"$parent_type"'
"""Selects what the exporter counts, and what the rules record."""
QUEUES = 'namespace="$namespace", task_queue=~"$task_queue"'
"""Selects the SDK's metrics."""
RATE = "$__rate_interval"
RANGE = "$__range"
OBJECTIVE = "scalar(max(fanout:objective:ratio))"
EXPORTED = "{{outcome}}, by the exporter"

NONE_YET = 'label_replace(vector(0), "failure_reason", "none", "", "")'
"""In place of a counter that appears with its first event."""


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Look:
    """A panel: what it shows and where to go on from it."""

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    runbook: str
    web_ui: str
    """List filter of the workflows that the panel's link shows in the Web UI."""
    width: int = 8
    decimals: int | None = None
    minimum: float | None = 0
    maximum: float | None = None
    steps: Sequence[tuple[float | None, str]] = ((None, "green"),)
    lines_at_steps: bool = False
    stacked: bool = False
    bars: bool = False


def setting(name: str) -> float:
    """A number of the group fanout-settings of the recording rules."""
    groups = yaml.safe_load((HERE / "rules/recording.yaml").read_text())["groups"]
    found = [rule["expr"] for group in groups for rule in group["rules"] if rule["record"] == name]
    return float(found[0].removeprefix("vector(").removesuffix(")"))


# -- PromQL


def over(total: str, part: str) -> str:
    """The share of `part` in `total`; absent where there was nothing, and 0, not absent, where there was no part."""
    return f"({part} or 0 * {total}) / ({total} > 0)"


def quantile(q: float, metric: str, selector: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{selector}}}[{RATE}])))"


def gained(metric: str, selector: str) -> str:
    """What workers counted in the time shown, also in series that began in it."""
    series = f"{metric}{{{selector}}}"
    return f"sum by (outcome) (({series} unless {series} offset {RANGE}) or increase({series}[{RANGE}]))"


def exported(metric: str, selector: str, labels: str) -> str:
    """What the exporter's total, which a new exporter takes up, gained in the time shown."""

    def total(at: str = "") -> str:
        return f"max by (outcome) (sum without ({labels}) ({metric}{{{selector}}}{at}))"

    return f"clamp_min({total()} - ({total(f' offset {RANGE}')} or 0 * {total()}), 0)"


def finished(outcome: str, window: str, by: str = "", how: str = "increase") -> str:
    """Items that finished, summed; `outcome` is a matcher such as `="completed"`, or nothing for all."""
    matcher = f", outcome{outcome}" if outcome else ""
    group = f" by ({by})" if by else ""
    return f"sum{group} ({how}(fanout_items_finished_total{{{ITEMS}{matcher}}}[{window}]))"


# -- list filters of the Web UI

PARENTS = "WorkflowType IN (${parent_type:doublequote})"
ON_QUEUES = "TaskQueue IN (${task_queue:doublequote})"
OPEN = 'ExecutionStatus="Running"'
FAILED_ITEMS = 'ParentWorkflowId IS NOT NULL AND ExecutionStatus IN ("Failed", "TimedOut", "Terminated", "Canceled")'
"""Of any parent: visibility does not know the type of an item's parent."""


def success() -> list[Look]:
    """How many items complete, against the objective."""
    objective = setting("fanout:objective:ratio")
    not_completed = over(finished("", RANGE), finished('!="completed"', RANGE))
    rate_by_parent = over(
        finished("", RATE, "parent_type", "rate"), finished('="completed"', RATE, "parent_type", "rate")
    )
    ratio = "namespace_parent_type:fanout_items_completed_per_finished:ratio_increase"
    return [
        Look(
            "Success rate",
            "Of the items that finished in the time shown, the share that completed, as the workers counted.",
            "percentunit",
            [Query(over(finished("", RANGE), finished('="completed"', RANGE)))],
            "error-budget",
            PARENTS,
            width=6,
            decimals=2,
            maximum=1,
            steps=[(None, "red"), (objective, "green")],
        ),
        Look(
            "Error budget left",
            "Of the failures that the objective allows for the items of the time shown, the share that is left. "
            "Below 0 the objective is missed.",
            "percentunit",
            [Query(f"1 - {not_completed} / (1 - {OBJECTIVE})")],
            "error-budget",
            FAILED_ITEMS,
            width=6,
            decimals=1,
            minimum=None,
            steps=[(None, "red"), (0, "yellow"), (0.25, "green")],
        ),
        Look(
            "Items in flight now",
            "Items of open runs that were started and have not ended, as the exporter asked the runs.",
            "short",
            [Query(f'sum(max by (parent_type) (fanout_exporter_open_items{{{RUNS}, state="in_flight"}}))')],
            "run-stalled",
            f"{PARENTS} AND {OPEN}",
            width=6,
        ),
        Look(
            "Open runs now",
            "Runs that have started and have not ended, as the exporter found them.",
            "short",
            [Query(f"sum(max by (parent_type) (fanout_exporter_open_runs{{{RUNS}}}))")],
            "run-stalled",
            f"{PARENTS} AND {OPEN}",
            width=6,
        ),
        Look(
            "Success rate against the objective",
            "The share of finished items that completed, by parent type, and what the objective asks for. A gap "
            "is a time in which nothing finished.",
            "percentunit",
            [Query(rate_by_parent, "{{parent_type}}"), Query("max(fanout:objective:ratio)", "objective")],
            "error-budget",
            PARENTS,
            width=12,
            maximum=1,
        ),
        Look(
            "Burn rate",
            "How many times as fast as allowed the error budget is used up, over one hour, six hours and three "
            "days. Alerts fire from 14.4, 6 and 1 on, if it is as much over their shorter window.",
            "none",
            [
                Query(f"(1 - {ratio}{span}{{{RUNS}}}) / (1 - {OBJECTIVE})", f"{{{{parent_type}}}}, {span}")
                for span in ("1h", "6h", "3d")
            ],
            "error-budget",
            FAILED_ITEMS,
            width=12,
            steps=[(None, "green"), (1, "yellow"), (6, "orange"), (14.4, "red")],
            lines_at_steps=True,
        ),
    ]


def items() -> list[Look]:
    """What becomes of items, how many at once, how fast."""
    return [
        Look(
            "Throughput",
            "Items that started and items that finished, a second.",
            "cps",
            [
                Query(f"sum(rate(fanout_items_started_total{{{ITEMS}}}[{RATE}]))", "started"),
                Query(finished("", RATE, how="rate"), "finished"),
            ],
            "tasks-waiting",
            f"{PARENTS} AND {OPEN}",
        ),
        Look(
            "In flight and waiting",
            "Items of open runs: started and not ended, and not yet started. From the exporter.",
            "short",
            [
                Query(
                    f"max by (parent_type, state) (fanout_exporter_open_items{{{RUNS}}})",
                    "{{parent_type}}, {{state}}",
                )
            ],
            "run-stalled",
            f"{PARENTS} AND {OPEN}",
        ),
        Look(
            "Duration of items",
            "From an item's start to its outcome, as its parent sees both: waiting for a worker is in it.",
            "s",
            [Query(quantile(q, "fanout_item_duration_seconds", ITEMS), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)],
            "tasks-waiting",
            f"{PARENTS} AND {OPEN}",
        ),
        Look(
            "Failures by outcome",
            "Items that did not complete, a second, by what became of them. Time-outs and failures have other "
            "causes: see the runbook.",
            "cps",
            [Query(finished('!="completed"', RATE, "outcome", "rate"), "{{outcome}}")],
            "error-budget",
            FAILED_ITEMS,
            stacked=True,
        ),
        Look(
            "Failures by child type",
            "Items that did not complete, a second, by the workflow or activity that handles them.",
            "cps",
            [Query(finished('!="completed"', RATE, "child_type", "rate"), "{{child_type}}")],
            "error-budget",
            FAILED_ITEMS,
            stacked=True,
        ),
        Look(
            "Items, by the workers and by the exporter",
            "Items by outcome in the time shown. The workers count as outcomes arrive, and lose what was not "
            "scraped when they are killed; the exporter counts a run when it has closed, from its history, to the "
            "item. They differ by open runs, and by what killed workers lost or counted again.",
            "short",
            [
                Query(gained("fanout_items_finished_total", ITEMS), "{{outcome}}, by the workers"),
                Query(
                    exported(
                        "fanout_exporter_items_total", f'{RUNS}, outcome!="not_started"', "parent_type, child_type"
                    ),
                    EXPORTED,
                ),
            ],
            "exporter",
            PARENTS,
            bars=True,
            decimals=0,
        ),
    ]


def runs() -> list[Look]:
    """What becomes of runs."""
    return [
        Look(
            "Runs that finished",
            "Runs that ended in a worker, by how, in each interval. Those that time out or are terminated end in "
            "no worker: see the exporter's.",
            "short",
            [Query(f"sum by (outcome) (increase(fanout_runs_finished_total{{{ITEMS}}}[{RATE}]))", "{{outcome}}")],
            "tolerance-breached",
            PARENTS,
            width=6,
            stacked=True,
        ),
        Look(
            "Closed runs, by the exporter",
            "Runs that closed in the time shown, by how, as the server has it.",
            "short",
            [Query(exported("fanout_exporter_runs_total", RUNS, "parent_type"), EXPORTED)],
            "tolerance-breached",
            PARENTS,
            width=6,
            bars=True,
            decimals=0,
        ),
        Look(
            "Longest without progress",
            "Of the open run that has waited longest: time since one of its items started or ended, and the limit "
            "from which on the alert fires.",
            "s",
            [
                Query(f"max by (parent_type) (fanout_exporter_stalled_seconds{{{RUNS}}})", "{{parent_type}}"),
                Query("max(fanout:stalled_limit:seconds)", "limit"),
            ],
            "run-stalled",
            f"{PARENTS} AND {OPEN}",
            width=6,
        ),
        Look(
            "Breaches of tolerance",
            "Fan-outs that stopped since more of their items failed than they tolerate, in each interval.",
            "short",
            [
                Query(
                    f"sum by (parent_type) (increase(fanout_tolerance_breaches_total{{{ITEMS}}}[{RATE}]))",
                    "{{parent_type}}",
                )
            ],
            "tolerance-breached",
            f'{PARENTS} AND ExecutionStatus="Failed"',
            width=6,
        ),
    ]


def workers() -> list[Look]:
    """Who does the work, and what waits for it; and how fresh the exporter is."""
    return [
        Look(
            "Slots",
            "What the workers have in hand, and how much more they could take, by kind of task. Workers with a "
            "resource-based tuner have no number of free slots.",
            "short",
            [
                Query(
                    f"sum by (worker_type) (temporal_worker_task_slots_{state}{{{QUEUES}}})",
                    f"{{{{worker_type}}}}, {state}",
                )
                for state in ("used", "available")
            ],
            "tasks-waiting",
            f"{ON_QUEUES} AND {OPEN}",
        ),
        Look(
            "Pollers",
            "Calls by which workers wait for tasks, as they count them, and workers that the server has seen "
            "within five minutes, from the exporter.",
            "short",
            [
                Query(
                    f"sum by (task_queue, poller_type) (temporal_num_pollers{{{QUEUES}}})",
                    "{{task_queue}}, {{poller_type}}",
                ),
                Query(
                    f"max by (task_queue, task_queue_type) (fanout_exporter_task_queue_pollers{{{QUEUES}}})",
                    "{{task_queue}}, {{task_queue_type}}, by the server",
                ),
            ],
            "no-workers",
            f"{ON_QUEUES} AND {OPEN}",
        ),
        Look(
            "Backlog",
            "Tasks that wait in their queue for a worker, about, from the exporter.",
            "short",
            [
                Query(
                    f"max by (task_queue, task_queue_type) (fanout_exporter_task_queue_backlog{{{QUEUES}}})",
                    "{{task_queue}}, {{task_queue_type}}",
                )
            ],
            "no-workers",
            f"{ON_QUEUES} AND {OPEN}",
        ),
        Look(
            "Task wait",
            "95 of 100 tasks were taken by a worker within this time of being scheduled; and the limit from which "
            "on the alert fires.",
            "s",
            [
                Query(
                    quantile(0.95, f"temporal_{kind}_schedule_to_start_latency_seconds", QUEUES, "task_queue"),
                    f"{{{{task_queue}}}}, {legend}",
                )
                for kind, legend in (("workflow_task", "workflow tasks"), ("activity", "activities"))
            ]
            + [Query("max(fanout:task_wait_limit:seconds)", "limit")],
            "tasks-waiting",
            f"{ON_QUEUES} AND {OPEN}",
        ),
        Look(
            "Duration of workflow tasks",
            "95 of 100 workflow tasks took a worker no longer than this, and as much of it was replay of the "
            "history. Ten seconds is the server's limit.",
            "s",
            [
                Query(quantile(0.95, f"temporal_workflow_task_{what}_latency_seconds", QUEUES), what)
                for what in ("execution", "replay")
            ],
            "workflow-tasks-failing",
            f"{ON_QUEUES} AND {OPEN}",
        ),
        Look(
            "Workflow tasks that failed",
            "In each interval, by workflow type and reason. The server tries them for ever; the workflow stands still.",
            "short",
            [
                Query(
                    "sum by (workflow_type, failure_reason) "
                    f"(increase(temporal_workflow_task_execution_failed_total{{{QUEUES}}}[{RATE}])) or {NONE_YET}",
                    "{{workflow_type}} {{failure_reason}}",
                )
            ],
            "workflow-tasks-failing",
            f"{ON_QUEUES} AND {OPEN}",
            stacked=True,
        ),
        Look(
            "Requests to the server",
            "95 of 100 requests of the workers were answered within this time, by operation.",
            "s",
            [
                Query(
                    quantile(0.95, "temporal_request_latency_seconds", 'namespace="$namespace"', "operation"),
                    "{{operation}}",
                )
            ],
            "tasks-waiting",
            f"{ON_QUEUES} AND {OPEN}",
        ),
        Look(
            "Age of the last sweep",
            "How long ago the exporter last read everything, and the limit from which on the alert fires. What it "
            "shows elsewhere is as old.",
            "s",
            [
                Query('time() - max(fanout_exporter_last_sweep_timestamp_seconds{namespace="$namespace"})', "age"),
                Query("max(fanout:sweep_age_limit:seconds)", "limit"),
            ],
            "exporter",
            PARENTS,
        ),
        Look(
            "Sweeps that failed, runs unread",
            "In each interval: sweeps of the exporter that failed, and closed runs whose history was gone before "
            "it was read.",
            "short",
            [
                Query(
                    f'sum(increase(fanout_exporter_sweep_errors_total{{namespace="$namespace"}}[{RATE}]))',
                    "sweeps that failed",
                ),
                Query(
                    f"sum(increase(fanout_exporter_unread_runs_total{{{RUNS}}}[{RATE}])) or vector(0)",
                    "runs unread",
                ),
            ],
            "exporter",
            PARENTS,
        ),
    ]


ROWS = {"Success": success, "Items": items, "Runs": runs, "Workers": workers}
"""The rows, top to bottom. The widths of each add up to multiples of 24."""


# -- Grafana's JSON


def target(query: Query, ref: str, instant: bool) -> prometheus.Dataquery:
    made = prometheus.Dataquery().datasource(DATA_SOURCE).ref_id(ref).expr(query.expr).legend_format(query.legend)
    return made.instant() if instant else made.range()


def panel(look: Look, number: int) -> Any:
    """A single number, bars, or lines over time."""
    instant = look.bars or not any(query.legend for query in look.queries)
    made: Any = bargauge.Panel() if look.bars else stat.Panel() if instant else timeseries.Panel()
    made.id(number).title(look.title).datasource(DATA_SOURCE)
    made.description(f"{look.description}\n\nRunbook: docs/runbooks/{look.runbook}.md")
    made.links([web_ui(look.web_ui)])
    made.span(look.width).height(4 if instant and not look.bars else 8)
    made.unit(look.unit)
    steps = [Threshold(value=value, color=color) for value, color in look.steps]
    made.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    if look.decimals is not None:
        made.decimals(look.decimals)
    if look.minimum is not None:
        made.min(look.minimum)
    if look.maximum is not None:
        made.max(look.maximum)
    for index, query in enumerate(look.queries):
        made.with_target(target(query, chr(ord("A") + index), instant))
    if look.bars:
        made.orientation(VizOrientation.HORIZONTAL)
    elif instant:
        made.graph_mode(BigValueGraphMode.NONE)
    else:
        lines(made, look)
    if instant:
        made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return made


def lines(made: Any, look: Look) -> None:
    made.draw_style(GraphDrawStyle.LINE).line_width(1).fill_opacity(25 if look.stacked else 5)
    made.show_points(VisibilityMode.AUTO)
    made.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    made.legend(legend.show_legend(True))
    if look.stacked:
        made.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if look.lines_at_steps:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))


def web_ui(list_filter: str) -> dashboard.DashboardLink:
    """The workflows that the filter finds, in Temporal's Web UI."""
    found = quote(list_filter, safe="${}:")
    link = dashboard.DashboardLink("These workflows in Temporal's Web UI").type(DashboardLinkType.LINK)
    return link.url(f"${{web_ui}}/namespaces/${{namespace}}/workflows?query={found}").target_blank(True)


def choice(name: str, label: str, selector: str, many: bool) -> dashboard.QueryVariable:
    """The values of a label of the items that were started."""
    made = dashboard.QueryVariable(name).label(label).datasource(DATA_SOURCE)
    made.query(f"label_values(fanout_items_started_total{selector}, {name})")
    made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
    if many:
        made.multi(True).include_all(True).current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    return made


def build() -> str:
    """The dashboard as JSON, as it is in dashboard.json."""
    made = (
        dashboard.Dashboard("Fan-outs")
        .uid("temporal-fanout")
        .description("Runs, items and workers of temporal-fanout. Which metrics: docs/metrics.md.")
        .tags(["temporal", "temporal-fanout"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(choice("namespace", "Namespace", "", many=False))
        .with_variable(choice("task_queue", "Task queue", '{namespace="$namespace"}', many=True))
        .with_variable(
            choice("parent_type", "Parent type", '{namespace="$namespace", task_queue=~"$task_queue"}', many=True)
        )
        .with_variable(dashboard.TextBoxVariable("web_ui").label("Web UI").default_value("http://localhost:8233"))
    )
    number = 0
    for title, looks in ROWS.items():
        made.with_row(dashboard.Row(title))
        for look in looks():
            number += 1
            made.with_panel(panel(look, number))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


if __name__ == "__main__":
    (HERE / "dashboard.json").write_text(build())
