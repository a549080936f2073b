"""The exporter, on dev servers of its own: what it shows equals the histories, to the item."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.converter import DataConverter

from temporal_fanout.exporter import exporter as exporter_module
from temporal_fanout.exporter import ledger, open_runs
from temporal_fanout.exporter.exporter import Exporter
from temporal_fanout.operations.connect import connect
from temporal_fanout.process.devserver import DevServer, dev_server
from temporal_fanout.results import Outcome
from tests import parents as p
from tests import workflows as w
from tests.conftest import Bench, until
from tests.histories import read, until_counted, working_for_all
from tests.integration.test_history import Zip
from tests.processes import a_queue, fanout, serving

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
TYPES = ["ParentWorkflow", "Anything", "Entity", "Retried", "Leaver", "Gather"]


@pytest.fixture
async def own() -> AsyncIterator[DevServer]:
    """A server on which nothing else runs."""
    soon = ("history.transferProcessorUpdateAckInterval", "history.visibilityProcessorUpdateAckInterval")
    async with dev_server(arguments=[a for key in soon for a in ("--dynamic-config-value", f'{key}="1s"')]) as server:
        yield server


@pytest.fixture
async def bench(own: DevServer) -> AsyncIterator[Bench]:
    async with working_for_all(await connect(30, target_host=own.address)) as bench:
        yield bench


def samples(exporter: Exporter, name: str, *labels: str, zeros: bool = False) -> dict[Any, float]:
    """The samples of a metric, by the values of these labels; those at 0 only where asked for."""
    found: dict[Any, float] = {}
    for line in exporter.metrics().decode().splitlines():
        match = re.fullmatch(rf"fanout_exporter_{name}\{{(.*)\}} (\S+)", line)
        if match and (zeros or float(match[2])):
            given = dict(re.findall(r'(\w+)="([^"]*)"', match[1]))
            assert given["namespace"] == "default"
            found[tuple(given[label] for label in labels)] = float(match[2])
    return found


def items(exporter: Exporter) -> dict[Any, float]:
    return samples(exporter, "items_total", "parent_type", "child_type", "outcome")


def runs(exporter: Exporter) -> dict[Any, float]:
    return samples(exporter, "runs_total", "parent_type", "outcome")


async def histories(client: Client) -> dict[Any, float]:
    """What the histories of all workflows of the parents' types say, by parent type, child type and outcome."""
    names = ", ".join(f'"{name}"' for name in TYPES)
    found: Counter[Any] = Counter()
    ids = {e.id: e.workflow_type async for e in client.list_workflows(f"WorkflowType IN ({names})")}
    for id, parent_type in ids.items():
        for item in await read(client, id):
            if item.outcome is not None:
                found[parent_type, item.child_type, str(item.outcome)] += 1
    return dict(found)


async def swept(exporter: Exporter, client: Client, closed: int) -> None:
    """Sweeps until so many runs are counted: visibility shows them after a moment."""

    async def all_counted() -> bool:
        await exporter.sweep(client)
        return sum(runs(exporter).values()) >= closed

    await until(all_counted, f"{closed} closed runs")


async def some_runs(bench: Bench) -> tuple[int, dict[str, int]]:
    """Runs that end in every way; how many, and the outcomes of those items that their results tell of."""
    results = Counter((await bench.parent([1, 2, 3, 4, 5]))["outcomes"])
    results += Counter((await bench.parent(list(range(21)), shard_size=4, activity="double"))["outcomes"])
    results += Counter((await bench.run(w.Anything.run, "Act", ["a", "sleep"], {"timeout": 4}))["outcomes"])
    handle = await bench.start("ParentWorkflow", list(range(40)), {"tolerated_failure_count": 1, "shard_size": 8})
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    results += Counter(caught.value.cause.details[0]["outcomes"])  # type: ignore[attr-defined]
    await bench.run("ParentWorkflow", [])
    ends = [
        await bench.start(w.Anything.run, "Act", ["a", "sleep", "sleep", "sleep"], {"max_concurrency": 2}),
        await bench.start(w.Anything.run, "Act", ["a", "sleep", "sleep"], {"shard_size": 1}),
        await bench.start(w.Anything.run, "Act", ["sleep"], {}, seconds=2),
    ]
    for handle in ends[:2]:
        await until_counted(bench.client, handle.id, completed=1, running=2)
    await ends[0].terminate()
    await ends[1].cancel()
    for handle in ends:
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    return 8, dict(results)


async def test_counts_equal_the_histories_and_the_results(bench: Bench) -> None:
    """Runs that end in every way, flat and in shards, have the counts of their histories and of their results."""
    closed, results = await some_runs(bench)
    exporter = Exporter("default", TYPES)
    await swept(exporter, bench.client, closed)
    found = items(exporter)
    assert found == await histories(bench.client)
    assert runs(exporter) == {
        ("ParentWorkflow", "completed"): 3, ("ParentWorkflow", "failed"): 1, ("Anything", "completed"): 1,
        ("Anything", "terminated"): 1, ("Anything", "cancelled"): 1, ("Anything", "timed_out"): 1,
    }  # fmt: skip
    told: Counter[str] = Counter()
    for (_, _, outcome), n in found.items():
        told[outcome] += int(n)
    of_those_without_a_result = {"completed": 2, "terminated": 3, "not_started": 1, "cancelled": 2}
    assert told == Counter(results) + Counter(of_those_without_a_result)


async def test_nothing_is_counted_twice_or_partly(bench: Bench, tmp_path: Path, monkeypatch: Any) -> None:
    """Over further sweeps and restarts, with and without a state, the counts stay; before the first sweep are none."""
    monkeypatch.setattr(exporter_module, "_PAGE", 3)
    closed, _ = await some_runs(bench)
    state = tmp_path / "state.json"
    first = Exporter("default", TYPES, state=state)
    assert "items_total" not in first.metrics().decode()
    assert "runs_total" not in first.metrics().decode()
    await swept(first, bench.client, closed)
    truth = items(first), runs(first)
    for _ in range(3):
        await first.sweep(bench.client)
    assert (items(first), runs(first)) == truth
    without = Exporter("default", TYPES)
    await without.sweep(bench.client)
    assert (items(without), runs(without)) == truth
    again = Exporter("default", TYPES, state=state)
    assert (items(again), runs(again)) == truth
    await again.sweep(bench.client)
    assert (items(again), runs(again)) == truth
    await bench.parent([1, 2])
    await swept(again, bench.client, closed + 1)
    late = Exporter("default", TYPES, state=state)
    assert items(late) == items(again) == await histories(bench.client)


async def test_a_further_parent_type_is_counted_from_its_beginning(
    bench: Bench, tmp_path: Path, monkeypatch: Any
) -> None:
    """One that is named after a restart has all its retained runs counted, and the others none twice."""
    monkeypatch.setattr(ledger, "LOOK_BACK_SECONDS", 0.0)
    await bench.run(w.Anything.run, "Act", ["a"], {})
    await bench.parent([1, 2])
    state = tmp_path / "state.json"
    first = Exporter("default", ["ParentWorkflow"], state=state)
    await swept(first, bench.client, 1)
    assert runs(first) == {("ParentWorkflow", "completed"): 1}
    both = Exporter("default", ["ParentWorkflow", "Anything"], state=state)
    await swept(both, bench.client, 2)
    assert items(both) == await histories(bench.client)


async def test_a_chain_is_one_run(bench: Bench) -> None:
    """Continue-as-new and attempts count as one run each, with the items of every part."""
    await bench.run(p.Entity.run, ["a", "b", "c", "d", "e"])
    retry = RetryPolicy(maximum_attempts=2, initial_interval=timedelta(milliseconds=100))
    await bench.client.execute_workflow(
        p.Retried.run, id=uuid.uuid4().hex, task_queue=bench.task_queue, retry_policy=retry
    )
    exporter = Exporter("default", TYPES)
    await swept(exporter, bench.client, 2)
    assert runs(exporter) == {("Entity", "completed"): 1, ("Retried", "completed"): 1}
    assert items(exporter) == await histories(bench.client) == {
        ("Entity", "Act", "completed"): 5, ("Retried", "Act", "completed"): 2, ("Retried", "Act", "failed"): 2,
    }  # fmt: skip


async def test_a_run_is_counted_when_its_last_child_has_ended(bench: Bench, tmp_path: Path) -> None:
    """A run that left a child behind waits, also over a restart, and then has the child's own outcome."""
    handle = await bench.start(p.Leaver.run)
    await handle.result()
    await bench.run(p.Gather.run, ["a"])
    state = tmp_path / "state.json"
    exporter = Exporter("default", TYPES, state=state)
    await swept(exporter, bench.client, 1)
    assert runs(exporter) == {("Gather", "completed"): 1}
    await bench.client.get_workflow_handle(f"{handle.id}-left").terminate()
    exporter = Exporter("default", TYPES, state=state)
    await swept(exporter, bench.client, 2)
    assert items(exporter) == {("Gather", "Act", "completed"): 1, ("Leaver", "Act", "terminated"): 1}


async def test_a_run_that_lost_a_shard_is_counted_from_its_result(bench: Bench) -> None:
    """Retention removes a shard before its parent, whose history says what became of the shard's items."""
    handle = await bench.start(w.Anything.run, "activity:double", [1, 2, 3, 4, 5], {"shard_size": 2})
    result = await handle.result()
    await _delete(bench.client, f"{handle.id}.s1")
    exporter = Exporter("default", TYPES)
    await swept(exporter, bench.client, 1)
    assert runs(exporter) == {("Anything", "completed"): 1}
    assert items(exporter) == {("Anything", "activity:double", o): n for o, n in result["outcomes"].items()}
    assert samples(exporter, "unread_runs_total", "parent_type") == {}


async def test_a_run_that_cannot_be_read_is_said_to_be_unread(bench: Bench) -> None:
    """Its shards are of a client with a codec: it is counted as a run and as unread, once, and none of its items."""
    converter = dataclasses.replace(DataConverter.default, payload_codec=Zip())
    address = bench.client.service_client.config.target_host
    async with working_for_all(await connect(30, target_host=address, data_converter=converter)) as coded:
        await coded.run(w.Anything.run, "activity:double", [1, 3, 5, 7], {"shard_size": 2})
    exporter = Exporter("default", TYPES)
    await swept(exporter, bench.client, 1)
    await exporter.sweep(bench.client)
    assert samples(exporter, "unread_runs_total", "parent_type") == {("Anything",): 1}
    assert runs(exporter) == {("Anything", "completed"): 1}
    assert items(exporter) == {}


async def _delete(client: Client, id: str) -> None:
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(namespace="default", workflow_execution=WorkflowExecution(workflow_id=id))
    )
    await until(lambda: _is_gone(client, id), "the deletion")


async def _is_gone(client: Client, id: str) -> bool:
    return (await client.count_workflows(f'WorkflowId="{id}"')).count == 0


async def test_open_runs_are_asked_for_what_they_do(bench: Bench, caplog: Any, monkeypatch: Any) -> None:
    """What is in flight and waits, of runs that answer and of those that cannot; the one that stalls is logged once."""
    monkeypatch.setattr(open_runs, "STALLED_SECONDS", 1.0)
    whats = ["a", "sleep"] * 4
    ours = await bench.start(w.Anything.run, "Act", whats, {"shard_size": 3, "max_concurrency": 2})
    foreign = await bench.start(p.Gather.run, ["a", "sleep", "sleep"])
    untaken = await bench.client.start_workflow("ParentWorkflow", args=[[1, 2]], id="untaken", task_queue="nobody")
    exporter = Exporter("default", TYPES)

    def open_items() -> dict[Any, float]:
        return samples(exporter, "open_items", "parent_type", "state")

    async def settled() -> bool:
        await exporter.sweep(bench.client)
        return open_items() == {
            ("Anything", "in_flight"): 2, ("Anything", "waiting"): 4, ("Gather", "in_flight"): 2,
            ("ParentWorkflow", "waiting"): 2,
        }  # fmt: skip

    await until(settled, "two items in flight of each")
    assert samples(exporter, "open_runs", "parent_type") == {
        ("Anything",): 1, ("Gather",): 1, ("ParentWorkflow",): 1,
    }  # fmt: skip
    known = samples(exporter, "items_total", "parent_type", "child_type", "outcome", zeros=True)
    assert known == {(parent, "Act", outcome): 0 for parent in ("Anything", "Gather") for outcome in map(str, Outcome)}

    def warned(id: str) -> int:
        return sum(getattr(record, "workflow_id", "") == id for record in caplog.records)

    async def stalled() -> bool:
        await exporter.sweep(bench.client)
        return min(warned(handle.id) for handle in (ours, foreign, untaken)) == 1

    with caplog.at_level(logging.WARNING):
        await until(stalled, "a warning of each")
        stalls = samples(exporter, "stalled_seconds", "parent_type")
        assert min(stalls["Gather",], stalls["Anything",]) > 1
        await exporter.sweep(bench.client)
        assert warned(ours.id) == 1
        now = time.time()
        await bench.client.get_workflow_handle(f"{ours.id}.1").terminate()

        async def moved() -> bool:
            await exporter.sweep(bench.client)  # which may take longer than a stall
            return time.time() - samples(exporter, "stalled_seconds", "parent_type").get(("Anything",), 0) > now

        await until(moved, "progress")

        async def warned_again() -> bool:
            await exporter.sweep(bench.client)
            return warned(ours.id) == 2

        await until(warned_again, "a second warning")
    for handle in (ours, foreign, untaken):
        await handle.terminate()
    await swept(exporter, bench.client, 3)
    assert open_items() == {}
    assert items(exporter) == await histories(bench.client)


async def test_task_queues_show_pollers_and_backlog(bench: Bench) -> None:
    """A queue of a run has pollers of both types; one that was named has none, and the task that waits in it."""
    await bench.parent([1])
    await bench.client.start_workflow("ParentWorkflow", args=[[1]], id="waits", task_queue="nobody")
    exporter = Exporter("default", TYPES, ["named"])
    await swept(exporter, bench.client, 1)
    pollers = samples(exporter, "task_queue_pollers", "task_queue", "task_queue_type")
    assert set(pollers) == {(bench.task_queue, "workflow"), (bench.task_queue, "activity")}

    async def backlog() -> bool:
        await exporter.sweep(bench.client)
        return samples(exporter, "task_queue_backlog", "task_queue", "task_queue_type") == {("nobody", "workflow"): 1}

    await until(backlog, "a task that waits")
    zeros = samples(exporter, "task_queue_pollers", "task_queue", "task_queue_type", zeros=True)
    assert zeros["named", "activity"] == zeros["nobody", "workflow"] == 0
    await bench.client.get_workflow_handle("waits").terminate()


async def test_names_and_labels_are_those_of_the_page(bench: Bench) -> None:
    """Each metric of docs/metrics.md is there with its type and labels, and no other; each outcome is there at 0."""
    await bench.parent([1])
    exporter = Exporter("default", ["ParentWorkflow"])
    await swept(exporter, bench.client, 1)
    text = exporter.metrics().decode()
    rows = re.findall(r"^\| `(fanout_exporter_\w+)` \| (\w+) \| (.*?) \|", PAGE.read_text(), re.M)
    assert {name: kind for name, kind, _ in rows} == dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    labels = {"parent_type", "child_type", "outcome", "state", "task_queue", "task_queue_type"}
    for name, _, said in rows:
        series = re.findall(rf"^{name}\{{(.*)\}} ", text, re.M)
        assert series, name
        found = {label for label, _ in re.findall(r'(\w+)="([^"]*)"', series[0])}
        assert found == {"namespace"} | labels & set(re.findall(r"`(\w+)`", said)), name
    outcomes = {str(outcome) for outcome in Outcome}
    assert {outcome for (outcome,) in samples(exporter, "items_total", "outcome", zeros=True)} == outcomes
    assert {outcome for (outcome,) in samples(exporter, "runs_total", "outcome", zeros=True)} == outcomes - {
        "not_started"
    }


async def test_the_command_serves_what_it_counts_and_drains(bench: Bench, own: DevServer, tmp_path: Path) -> None:
    """`fanout exporter` counts the lab's parent, goes on from its state after a restart, and exits with 0."""
    await bench.parent([1, 2, 3])
    state = str(tmp_path / "state.json")
    name = 'fanout_exporter_runs_total{namespace="default",outcome="completed",parent_type="ParentWorkflow"}'
    for n in (1, 2):
        async with serving("exporter", "--interval", "1", "--state", state, address=own.address) as exporter:

            async def counts(n: int = n, exporter: Any = exporter) -> bool:
                return bool((await exporter.samples("fanout_exporter_runs_total")).get(name) == n)

            await until(counts, f"{n} runs")
            assert await exporter.is_ready()
            assert (await exporter.get("/livez"))[0] == 200
        assert exporter.lines[-1]["event"] == "exporter stopped"
        await bench.parent([1])


async def test_a_server_that_is_away_is_said_once_and_waited_for(tmp_path: Path) -> None:
    """Live, not ready, the counters as they were, one line in the log; when the server is back it goes on."""
    async with dev_server(database=tmp_path / "temporal.db") as server:
        async with working_for_all(await connect(30, target_host=server.address)) as bench:
            await bench.parent([1, 2])
        async with serving("exporter", "--interval", "1", address=server.address) as exporter:
            await until(exporter.is_ready, "the first sweep")

            async def shown() -> dict[str, float]:
                return await exporter.samples("fanout_exporter_items_total")

            before = await until(shown, "the items")
            await server.stop(kill=True)

            async def errors() -> float:
                return sum((await exporter.samples("fanout_exporter_sweep_errors_total")).values())

            async def several() -> bool:
                return await errors() >= 2

            await until(several, "errors", 90)
            code, text = await exporter.get("/readyz")
            assert (code, json.loads(text)["reason"].split(":")[0]) == (503, "the last sweep failed")
            assert (await exporter.get("/livez"))[0] == 200
            assert await shown() == before
            await server.start()
            await until(exporter.is_ready, "a sweep", 90)
            assert await shown() == before
            events = [line["event"] for line in exporter.lines]
            assert events.count("a sweep failed, trying again") == 1
            assert events.count("a sweep succeeded again") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--state", "/no/where/state.json"], "--state: /no/where/state.json cannot be used: No such file"),
        (["--parent-type", 'a"b'], "--parent-type: must be the type of a workflow"),
        (["--interval", "0"], "Invalid value for '--interval'"),
    ],
)
async def test_wrong_usage_exits_with_2(args: list[str], message: str) -> None:
    """Before a server is asked, in one line."""
    ended = await fanout("exporter", *args)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert message in ended.err


@pytest.mark.timeout(300)
async def test_a_killed_worker_costs_no_count(own: DevServer) -> None:
    """Workers are killed in the middle of runs, which timed-out workflow tasks prove: every item is counted once.

    An activity that a killed worker had begun times out, which is its outcome everywhere. The workers' own counters,
    read just before each kill, stand beside: they are off by at most what was in flight at the kills.
    """
    client = await connect(30, target_host=own.address)
    queue = a_queue()
    options = {"max_concurrency": 20, "shard_size": 60}
    workers = contextlib.AsyncExitStack()
    worker = await workers.enter_async_context(serving("worker", "--task-queue", queue, address=own.address))
    counted = 0.0
    handles = [
        await client.start_workflow(
            "ParentWorkflow",
            args=[list(range(1, 241)), options | extra],
            id=f"killed-{child_type}",
            task_queue=queue,
            execution_timeout=timedelta(seconds=240),
        )
        for child_type, extra in (("ChildWorkflow", {}), ("activity:double", {"activity": "double", "timeout": 15}))
    ]
    exporter = Exporter("default", TYPES)

    async def done() -> int:
        return (await client.count_workflows('WorkflowType="ChildWorkflow" AND ExecutionStatus != "Running"')).count

    for few in (20, 100):

        async def some(few: int = few) -> bool:
            return await done() >= few

        await until(some, f"{few} children", 120)
        counted += sum((await worker.samples("fanout_items_finished_total")).values())
        worker.process.kill()
        await worker.process.wait()
        worker = await workers.enter_async_context(serving("worker", "--task-queue", queue, address=own.address))
        await exporter.sweep(client)
    told = {}
    for handle in handles:
        for outcome, n in (await handle.result())["outcomes"].items():
            told["ParentWorkflow", handle.id.removeprefix("killed-"), outcome] = n
    assert told["ParentWorkflow", "ChildWorkflow", "completed"] == 120
    assert sum(told.values()) == 480
    timed_out = 0
    async for execution in client.list_workflows('WorkflowType IN ("ParentWorkflow", "FanOutShard")'):
        history = await client.get_workflow_handle(execution.id).fetch_history()
        timed_out += sum(e.HasField("workflow_task_timed_out_event_attributes") for e in history.events)
    assert timed_out
    await swept(exporter, client, 2)
    assert items(exporter) == await histories(client) == told
    counted += sum((await worker.samples("fanout_items_finished_total")).values())
    in_flight = 2 * 2 * options["max_concurrency"]  # two kills, two runs
    assert abs(counted - sum(told.values())) <= in_flight, f"counters {counted}, histories and exporter {told}"
    await workers.aclose()
