"""What a worker counts."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from temporal_fanout import lab
from temporal_fanout.lab.scenarios import SCENARIOS
from temporal_fanout.metrics import ITEM_OUTCOMES, Recorder, Run
from temporal_fanout.operations.connect import connect
from temporal_fanout.process.devserver import DevServer
from temporal_fanout.process.endpoint import metered
from tests import workflows as w
from tests.conftest import Bench, until, working
from tests.processes import a_queue, fanout, serving

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


class Metered:
    """A worker in this process whose runtime has an exporter of its own."""

    def __init__(self, bench: Bench, endpoint: Any) -> None:
        self.bench = bench
        self._endpoint = endpoint

    async def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name with these labels."""
        text = (await asyncio.to_thread(self._endpoint.text)).decode()
        total = 0.0
        for line in text.splitlines():
            found = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line)
            if found and found[1] == name and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', found[2])).items():
                total += float(found[3])
        return total


@contextlib.asynccontextmanager
async def counting(server: DevServer, **options: Any) -> AsyncIterator[Metered]:
    endpoint, core = metered()
    client = await connect(30, core=core, target_host=server.address)
    async with working(client, **options) as bench:
        yield Metered(bench, endpoint)


@pytest.fixture
async def metrics(server: DevServer) -> AsyncIterator[Metered]:
    async with counting(server) as metrics:
        yield metrics


@pytest.mark.parametrize("options", [{}, {"shard_size": 3}], ids=["flat", "shards"])
async def test_each_item_is_counted_by_its_outcome(metrics: Metered, options: dict[str, Any]) -> None:
    """Started, finished by outcome, durations and runs are what the result says, under the type of the parent."""
    await metrics.bench.parent(list(range(1, 11)), **options)
    of = {"parent_type": "ParentWorkflow", "child_type": "ChildWorkflow", "scenario": "none"}
    assert await metrics.value("fanout_items_started_total", **of) == 10
    assert await metrics.value("fanout_items_finished_total", outcome="completed", **of) == 5
    assert await metrics.value("fanout_items_finished_total", outcome="failed", **of) == 5
    assert await metrics.value("fanout_item_duration_seconds_count", **of) == 10
    assert 0 < await metrics.value("fanout_item_duration_seconds_sum", **of) < 300
    assert await metrics.value("fanout_runs_finished_total", outcome="completed", parent_type="ParentWorkflow") == 1
    assert await metrics.value("fanout_runs_finished_total", parent_type="FanOutShard") == 0


async def test_activities_are_counted_under_their_name(metrics: Metered) -> None:
    """The type of an activity is marked."""
    await metrics.bench.parent([1, 2, 3], activity="double")
    assert await metrics.value("fanout_items_finished_total", child_type="activity:double") == 3


async def test_items_that_the_server_ends_are_counted(metrics: Metered, client: Client) -> None:
    """A child that times out, is cancelled or is terminated counts as that: the child's own worker never knows."""
    timed_out = await metrics.bench.start("Anything", "NotRegistered", [1], {"timeout": 1})
    sleepers = await metrics.bench.start("Anything", "Sleep", [60, 60], {})
    for n, end in enumerate(("cancel", "terminate")):
        child = client.get_workflow_handle(f"{sleepers.id}.{n}")

        async def ended(child: Any = child, end: str = end) -> bool:
            with contextlib.suppress(RPCError):  # it has not started yet
                await getattr(child, end)()
                return True
            return False

        await until(ended, f"a child to {end}")
    await asyncio.gather(timed_out.result(), sleepers.result())
    for outcome in ("timed_out", "cancelled", "terminated"):
        assert await metrics.value("fanout_items_finished_total", outcome=outcome) == 1, outcome


async def test_runs_are_counted_by_how_they_ended(metrics: Metered) -> None:
    """A breach fails its run and counts once; a cancelled run counts as cancelled; a child is no run."""
    with pytest.raises(WorkflowFailureError):
        await metrics.bench.parent(list(range(20)), tolerated_failure_count=1, shard_size=5)
    handle = await metrics.bench.start("Anything", "Sleep", [60], {})

    async def started() -> bool:
        return await metrics.value("fanout_items_started_total", child_type="Sleep") == 1

    await until(started, "the item of the run to cancel")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert await metrics.value("fanout_tolerance_breaches_total") == 1
    assert await metrics.value("fanout_runs_finished_total", outcome="failed", parent_type="ParentWorkflow") == 1
    assert await metrics.value("fanout_runs_finished_total", outcome="cancelled", parent_type="Anything") == 1
    assert await metrics.value("fanout_runs_finished_total") == 2
    assert await metrics.value("fanout_items_finished_total", outcome="cancelled", child_type="Sleep") == 1


async def test_replay_counts_nothing(server: DevServer) -> None:
    """A worker without a cache, which replays a run from its start for each task, counts each item once."""
    async with counting(server, max_cached_workflows=0) as metrics:
        await metrics.bench.parent(list(range(1, 21)), max_concurrency=3)
        assert await metrics.value("temporal_workflow_task_replay_latency_seconds_count") > 0
        assert await metrics.value("fanout_items_started_total") == 20
        assert await metrics.value("fanout_items_finished_total") == 20
        assert await metrics.value("fanout_runs_finished_total") == 1


async def test_a_task_that_is_tried_again_counts_nothing_twice(metrics: Metered) -> None:
    """A parent whose tasks fail three times after its items' outcomes, and then pass, counts each item once."""
    handle = await metrics.bench.start(w.FailsItsTasks.run, 3)
    await handle.result()
    events = (await handle.fetch_history()).events
    assert any(event.HasField("workflow_task_failed_event_attributes") for event in events), "the fault did not hit"
    assert await metrics.value("fanout_items_started_total") == 4
    assert await metrics.value("fanout_items_finished_total") == 4
    assert await metrics.value("fanout_runs_finished_total") == 1


async def test_labels_of_one_process_are_bounded() -> None:
    """After 200 combinations further ones, which whoever starts a run can make up, count as other."""
    recorder = Recorder(Runtime.default().metric_meter)
    run = Run("default", "q", "ParentWorkflow", "none")
    first = recorder.items(run, "Child0")
    many = [recorder.items(run, f"Child{n}") for n in range(1, 400)]
    assert len(set(map(id, many))) == 200
    assert recorder.items(run, "Child0") is first
    runs = [recorder.run(run._replace(scenario=str(n))) for n in range(400)]
    assert len(set(map(id, runs))) == 201


async def test_the_page_lists_what_a_worker_serves(server: DevServer) -> None:
    """docs/metrics.md and a live scrape of a fresh worker name the same metrics, types and labels, and each series
    by which a rule divides is there at 0."""
    queue = a_queue()
    async with serving("worker", "--task-queue", queue, address=server.address) as worker:
        await until(worker.is_ready, "a worker that is ready")
        before = await worker.samples("fanout_items_finished_total")
        assert set(before.values()) == {0.0}
        known = [(one.name, one.workflow, work) for one in SCENARIOS.values() for work in one.works]
        for scenario, parent, work in (("none", lab.PARENT, lab.CHILD), *known):
            for outcome in ITEM_OUTCOMES:
                wanted = f'child_type="{work}",namespace="default",outcome="{outcome}",parent_type="{parent}"'
                assert any(wanted in name and f'scenario="{scenario}"' in name for name in before), (scenario, outcome)
        ended = await fanout("run", "default", "--task-queue", queue, address=server.address)
        assert ended.code == 0, ended.err
        samples = await worker.samples("fanout_items_finished_total")
        assert {n for n, value in samples.items() if value} == {
            n for n in samples if 'scenario="default"' in n and re.search('outcome="(completed|failed)"', n)
        }
        text = (await worker.get("/metrics"))[1]
    assert _served(text) == _documented(PAGE.read_text(), "## Of a worker")
    assert "process_resident_memory_bytes" in text
    assert "temporal_num_pollers" in text


def _documented(page: str, heading: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Names, types and labels of the table under this heading."""
    section = page.split(heading)[1].split("\n## ")[0]
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4 or not cells[0].startswith("`"):
            continue
        labels = re.findall(r"`(\w+)`(?=[,:;]|$)", re.sub(r": (`\w+`(, )?)+", ":", cells[2]))
        if cells[2].startswith("the same"):
            labels += found["fanout_items_started_total"][1]
        found[cells[0].strip("`")] = cells[1], frozenset(labels)
    assert found
    return found


def _served(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """The same of a scrape; `le` and the SDK's `service_name` aside."""
    types = dict(re.findall(r"^# TYPE (fanout_\w+) (\w+)$", text, re.M))
    served: dict[str, tuple[str, frozenset[str]]] = {}
    for name, labels in re.findall(r"^(fanout_\w+)\{(.*)\} \S+$", text, re.M):
        base = name if name in types else re.sub("_(bucket|count|sum)$", "", name)
        known = served.get(base, (types[base], frozenset()))[1]
        served[base] = types[base], known | set(re.findall(r'(\w+)="', labels)) - {"le", "service_name"}
    return served


@pytest.mark.timeout(180)
async def test_a_worker_that_takes_over_counts_at_most_the_last_items_again(server: DevServer, client: Client) -> None:
    """Of a worker that is killed, and the one that goes on, the counts together hold every item; those that both
    counted are the outcomes of workflow tasks that had not completed when the kill hit."""
    queue, id = a_queue(), f"t-{uuid.uuid4().hex[:12]}"
    async with serving("worker", "--task-queue", queue, address=server.address) as first:
        await until(first.is_ready, "the first worker")
        values = ",".join(str(n) for n in range(1, 401, 2))
        run = asyncio.create_task(
            fanout(
                "run", "--values", f"[{values}]", "--id", id, "--task-queue", queue, "--max-concurrency", "10",
                address=server.address, seconds=150,
            )
        )  # fmt: skip
        counted = 0.0

        async def some() -> bool:
            nonlocal counted
            counted = sum((await first.samples("fanout_items_finished_total")).values())
            return counted >= 40

        await until(some, "outcomes at the first worker")
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
    async with serving("worker", "--task-queue", queue, address=server.address) as second:
        assert (await run).code == 0
        more = sum((await second.samples("fanout_items_finished_total")).values())
    events = (await client.get_workflow_handle(id).fetch_history()).events
    assert any(event.HasField("workflow_task_timed_out_event_attributes") for event in events), "the kill did not hit"
    # what the first counted after the last scrape is lost, what it counted without completing its task comes twice
    assert 200 - 30 <= counted + more <= 200 + 10
