"""Rules and dashboard, asked of a real Prometheus that scrapes two real workers and the exporter as scenarios run."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from temporalio.client import Client

from temporal_fanout.histories.run import outcomes
from temporal_fanout.operations.connect import connect
from temporal_fanout.process.devserver import dev_server
from tests.conftest import until
from tests.monitoring.queries import queries
from tests.monitoring.stack import RULES, Stack, stack
from tests.needs import needs
from tests.processes import Serving, fanout

DASHBOARD = Path(__file__).parents[2] / "monitoring" / "dashboard.json"
QUEUE = "parent-and-child-task-queue"
RUNS = ["default", "all-success", "all-failures", "large-scale", "activities", "strict", "default"]
SHOWN = {"namespace": "default", "task_queue": QUEUE, "parent_type": "ParentWorkflow", "webui": "http://127.0.0.1:8233"}

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("prometheus")]


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stack, Client]]:
    """All of it, after the scenarios have run and one workflow task has failed."""
    needs("prometheus", "apt-get install prometheus")
    async with dev_server() as server, stack(server.address, QUEUE, tmp_path_factory.mktemp("prometheus")) as running:
        client = await connect(30, target_host=server.address)
        for n, scenario in enumerate(RUNS):
            ended = await fanout("run", scenario, "--id", f"run-{n}", address=server.address, seconds=200)
            assert ended.code == (1 if scenario == "strict" else 0), ended.err
        unknown = await client.start_workflow("NoSuchWorkflow", id="unknown", task_queue=QUEUE)
        total = sum((await counted(client)).values())

        for expression in (
            f"sum({FINISHED}) >= {total}",
            f'sum(fanout_exporter_items_total{{outcome!="not_started"}}) == {total}',
            f"sum(fanout_exporter_runs_total) == {len(RUNS)}",
            f"count({RATIO}) > 0",
            f"count({RATIO.replace('5m', '3d')}) > 0",  # at the next whole minute
            "sum(temporal_workflow_task_execution_failed_total) > 0",
        ):

            async def seen(expression: str = expression) -> bool:
                return bool(await running.query(expression))

            await until(seen, expression, 90)
        yield running, client
        await unknown.terminate()


FINISHED = "fanout_items_finished_total"
RATIO = "namespace_parent_type:fanout_items_completed_per_finished:ratio_increase5m"


async def counted(client: Client) -> Counter[str]:
    """Of all runs, items by outcome as the histories have them; without those that were not started."""
    found: Counter[str] = Counter()
    for n in range(len(RUNS)):
        async for item in outcomes(client, f"run-{n}"):
            found[str(item.outcome)] += 1
    del found["not_started"]
    return found


async def test_workers_exporter_and_histories_agree(running: tuple[Stack, Client]) -> None:
    """The exporter is equal to the histories, outcome by outcome, and so are the workers' counters; but for a workflow
    task that a worker ran and could not complete in time, and another ran again: its outcomes are counted by both."""
    prometheus, client = running
    histories = await counted(client)
    assert histories["completed"] > 1000
    by_outcome = 'sum by (outcome) (fanout_exporter_items_total{outcome!="not_started"}) > 0'
    assert {labels["outcome"]: n for labels, n in await prometheus.query(by_outcome)} == histories
    counters = {labels["outcome"]: n for labels, n in await prometheus.query(f"sum by (outcome) ({FINISHED}) > 0")}
    twice = sum(counters.values()) - sum(histories.values())
    assert 0 <= twice <= MOST_OF_A_TASK * await lost_tasks(client), counters
    if not twice:
        assert counters == histories
        assert await prometheus.number("sum(fanout_items_started_total)") == sum(histories.values())
    assert await prometheus.number("sum(fanout_tolerance_breaches_total)") == 1


MOST_OF_A_TASK = 50
"""Outcomes of one workflow task: at most as many as a shard has lanes."""


async def lost_tasks(client: Client) -> int:
    """Workflow tasks of runs and shards that a worker began and did not complete."""
    lost = 0
    async for run in client.list_workflows('WorkflowType IN ("ParentWorkflow", "FanOutShard")'):
        for event in (await client.get_workflow_handle(run.id).fetch_history()).events:
            lost += event.HasField("workflow_task_timed_out_event_attributes")
            lost += event.HasField("workflow_task_failed_event_attributes")
    return lost


async def test_the_success_rate_is_that_of_the_histories(running: tuple[Stack, Client]) -> None:
    """The one number that an operator trusts is within 1 % of what the histories say."""
    prometheus, client = running
    histories = await counted(client)
    truth = histories["completed"] / sum(histories.values())
    window = RATIO.replace("5m", "1h")
    assert await prometheus.number(window) == pytest.approx(truth, rel=0.01)


async def test_every_panel_answers(running: tuple[Stack, Client]) -> None:
    """Each query of each panel gives at least one series, and a number."""
    prometheus, _ = running
    asked = queries(json.loads(DASHBOARD.read_text()), SHOWN | {"__rate_interval": "5m", "__range": "1h"})
    assert len(asked) > 15
    silent = []
    for title, expression in asked:
        found = await prometheus.query(expression)
        if not found or all(math.isnan(value) for _, value in found):
            silent.append((title, expression))
    assert silent == []


async def test_every_rule_answers(running: tuple[Stack, Client]) -> None:
    """Prometheus evaluates each rule without an error; each recording rule gives data, and each metric that an alert
    reads is there."""
    prometheus, _ = running
    groups = (await prometheus.ask("rules"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
    assert {rule["health"] for rule in rules} == {"ok"}
    written = [
        rule for file in RULES.glob("*.yaml") for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]  # fmt: skip
    assert len(rules) == len(written)
    for rule in written:
        if "record" in rule:
            assert await prometheus.query(rule["record"]), rule["record"]
        else:
            names = re.findall(r"\b(?:\w+:)*(?:fanout|temporal)[:_][\w:]+", rule["expr"])
            assert names, rule["alert"]
            for metric in names:
                found = await prometheus.query(f'count({{__name__="{metric}"}})')
                assert found, f"{rule['alert']} reads {metric}"


async def test_alerts_are_quiet_where_nothing_is_wrong(running: tuple[Stack, Client]) -> None:
    """Of the alerts only those fire that the scenarios give a reason for."""
    prometheus, _ = running
    firing = {alert["labels"]["alertname"] for alert in (await prometheus.ask("alerts"))["alerts"]}
    assert firing <= {
        "FanoutErrorBudgetBurnFast", "FanoutErrorBudgetBurn", "FanoutErrorBudgetBurnSlow",  # half of the items fail
        "FanoutToleranceBreached", "FanoutWorkflowTasksFailing",
        "FanoutTasksWaiting",  # 2,500 items on two cores
    }  # fmt: skip


async def test_promtool_accepts_what_is_served(running: tuple[Stack, Client]) -> None:
    """`promtool check metrics` reads the text of worker and exporter, and has nothing to say of our metrics."""
    promtool = needs("promtool", "apt-get install prometheus")
    prometheus, _ = running
    for served in (prometheus.workers[0], prometheus.exporter):
        said = await check(promtool, served)
        assert [line for line in said.splitlines() if line.startswith("fanout_")] == []


async def check(promtool: str, served: Serving) -> str:
    _, text = await served.get("/metrics")
    process = await asyncio.create_subprocess_exec(
        promtool, "check", "metrics",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate(text.encode())
    assert "error while linting" not in said.decode()
    return said.decode()
