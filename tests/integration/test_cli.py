"""The command line, as a user calls it: real processes, a real server, real signals."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from temporal_fanout.lab.scenarios import SCENARIOS
from temporal_fanout.metrics import SCENARIO_MEMO
from temporal_fanout.operations.connect import connect
from temporal_fanout.process.devserver import DevServer, dev_server
from tests.conftest import Bench, until
from tests.processes import a_queue, end, fanout, serving, start


@pytest.fixture(scope="module")
async def cli_queue(server: DevServer) -> AsyncIterator[str]:
    """A task queue served by a real `fanout worker`."""
    queue = a_queue()
    root = str(Path(__file__).parent)
    async with serving("worker", "--task-queue", queue, "--source-root", root, address=server.address):
        yield queue


async def test_run_prints_a_table_with_each_root_cause(server: DevServer, cli_queue: str) -> None:
    """The table has a row an item; failures, which are tolerated, exit with 0."""
    ended = await fanout("run", "default", "--task-queue", cli_queue, address=server.address)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].split() == ["item", "value", "outcome", "result", "or", "root", "cause"]
    assert lines[2].split(maxsplit=3) == ["1", "2", "failed", "ApplicationError: Simulated failure for value 2"]
    assert "5 items in" in lines[-1]
    assert "3 completed, 2 failed; success rate 60.0 % (parent-child-workflow-" in lines[-1]


async def test_run_prints_json_for_programs(server: DevServer, cli_queue: str) -> None:
    """Stdout is the documented result and nothing else."""
    ended = await fanout(
        "run", "--values", "[1,2]", "--output", "json", "--id", f"j-{cli_queue}", "--task-queue", cli_queue,
        address=server.address,
    )  # fmt: skip
    result = json.loads(ended.out)
    assert list(result)[:2] == ["total_children", "successful_results"]
    assert result["workflow_id"] == f"j-{cli_queue}"


async def test_a_repeated_id_attaches_open_or_closed(server: DevServer, cli_queue: str, client: Client) -> None:
    """The same command twice at once, and once more after its end, is one run."""
    args = ["run", "--values", "[1,3]", "--id", f"twice-{cli_queue}", "--task-queue", cli_queue]
    both = await asyncio.gather(*(fanout(*args, address=server.address) for _ in range(2)))
    after = await fanout(*args, address=server.address)
    assert [ended.code for ended in (*both, after)] == [0, 0, 0]
    assert sorted(ended.err.split()[0] for ended in both) == ["attached", "started"]
    assert after.err.startswith("attached to twice-")
    assert (await client.count_workflows(f'WorkflowId="twice-{cli_queue}"')).count == 1


async def test_two_runs_without_an_id_never_collide(server: DevServer, cli_queue: str) -> None:
    """Runs started in the same second get ids of their own."""
    args = ["run", "--values", "[1]", "--task-queue", cli_queue, "--output", "json"]
    runs = await asyncio.gather(*(fanout(*args, address=server.address) for _ in range(3)))
    assert len({json.loads(ended.out)["workflow_id"] for ended in runs}) == 3


async def test_every_limit_is_an_option(server: DevServer, cli_queue: str, client: Client) -> None:
    """What is given on the command line is what the parent is given."""
    ended = await fanout(
        "run", "--values", "[1,3]", "--task-queue", cli_queue, "--id", f"all-{cli_queue}",
        "--max-concurrency", "3", "--shard-size", "50", "--starts-per-second", "9.5", "--timeout", "30",
        "--attempts", "2", "--item-task-queue", cli_queue, "--args", "[]", "--tolerated-failure-count", "1",
        "--tolerated-failure-ratio", "0.5", "--options", '{"memo": {"a": 1}}', "--activity", "double",
        address=server.address,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    history = await client.get_workflow_handle(f"all-{cli_queue}").fetch_history()
    payloads = history.events[0].workflow_execution_started_event_attributes.input.payloads
    assert json.loads(payloads[1].data) == {
        "max_concurrency": 3, "shard_size": 50, "starts_per_second": 9.5, "timeout": 30.0,
        "retry": {"maximum_attempts": 2}, "task_queue": cli_queue, "args": [], "tolerated_failure_count": 1,
        "tolerated_failure_ratio": 0.5, "memo": {"a": 1}, "activity": "double",
    }  # fmt: skip


async def test_items_come_from_a_file_or_a_source(server: DevServer, cli_queue: str, tmp_path: Path) -> None:
    """A file read here, as JSON, JSON lines or CSV, and one read by the worker."""
    (tmp_path / "a.json").write_text("[1, 3]")
    (tmp_path / "a.jsonl").write_text("1\n\n3\n")
    (tmp_path / "a.csv").write_text('a,b\n1,"two\nlines"\n')
    for name, child, count in (("a.json", "ChildWorkflow", 2), ("a.jsonl", "ChildWorkflow", 2), ("a.csv", "", 0)):
        ended = await fanout(
            "run",
            "--items",
            str(tmp_path / name),
            "--task-queue",
            cli_queue,
            "--output",
            "json",
            address=server.address,
        )
        result = json.loads(ended.out)
        assert result["success_count"] == count
        assert child or result["failed_children"][0]["value"] == {"a": "1", "b": "two\nlines"}
    source = Path(__file__).parent / "numbers.jsonl"
    args = ["--source", str(source), "--task-queue", cli_queue, "--output", "json"]
    ended = await fanout("run", *args, address=server.address)
    assert json.loads(ended.out)["total_children"] == 3


async def test_a_breach_exits_with_1_and_says_what_failed(server: DevServer, cli_queue: str) -> None:
    """The run that failed is one line on stderr, after the failures; as JSON it is on stdout."""
    ended = await fanout("run", "strict", "--task-queue", cli_queue, address=server.address)
    assert ended.code == 1
    assert "ToleratedFailureExceeded: more items failed than the 5 that are tolerated" in ended.err.splitlines()[-1]
    assert "temporal workflow show --workflow-id" in ended.err.splitlines()[-1]
    assert "item 1 failed: ApplicationError: Simulated failure for value 2" in ended.err
    ended = await fanout("run", "strict", "--task-queue", cli_queue, "--output", "json", address=server.address)
    assert json.loads(ended.out)["type"] == "ToleratedFailureExceeded"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "give one of SCENARIO, --values, --items and --source, not none"),
        (["default", "--values", "[]"], "not SCENARIO and --values"),
        (["nope"], "SCENARIO: nope is not known; known are default, all-success"),
        (["--values", "[1"], "--values: is not JSON"),
        (["--values", "{}"], "--values: must be a JSON array"),
        (["--values", "[1]", "--options", "[]"], "--options: must be a JSON object"),
        (["--values", "[1]", "--options", '{"speed":1}'], "options.speed: is not known"),
        (
            ["--values", "[1]", "--max-concurrency", "-1"],
            "max_concurrency: must be a whole number from 1 to 2147483647",
        ),
        (["--values", "[1]", "--max-concurrency", "many"], "Invalid value for '--max-concurrency'"),
        (["--values", "[1]", "--nope"], "No such option: --nope"),
        (["--items", "/no/such/file"], "--items: /no/such/file cannot be read: No such file or directory"),
        (["--items", "@large"], "have the worker read them: --source"),
    ],
)
async def test_wrong_usage_exits_with_2_in_one_line(args: list[str], message: str, tmp_path: Path) -> None:
    """Bad input is found before a server is asked, and is one line on stderr."""
    if args[1:] == ["@large"]:
        args = ["--items", str(tmp_path / "large.json")]
        (tmp_path / "large.json").write_text(json.dumps(["x" * 1000] * 2200))
    ended = await fanout("run", *args)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) == 1


async def test_input_that_only_the_run_can_refuse_exits_with_2(server: DevServer, cli_queue: str) -> None:
    """A source outside of the worker's roots is wrong input, found by the worker."""
    ended = await fanout("run", "--source", "/etc/hostname", "--task-queue", cli_queue, address=server.address)
    assert ended.code == 2
    assert "is not below a source root of the worker" in ended.err


@pytest.mark.parametrize("env", [{"TEMPORAL_TLS_CLIENT_CERT_PATH": "/no/cert"}, {"TEMPORAL_PROFILE": "nope"}])
async def test_settings_that_cannot_be_read_exit_with_2(env: dict[str, str]) -> None:
    """TEMPORAL_* that name what is not there."""
    ended = await end(await start("run", "default", **env))
    assert ended.code == 2
    assert ended.err.startswith("error: TEMPORAL_")


async def test_a_namespace_that_is_not_there_exits_with_2(server: DevServer) -> None:
    """The server's refusal says what to check."""
    ended = await fanout("run", "default", address=server.address, TEMPORAL_NAMESPACE="nope")
    assert ended.code == 2
    assert "check TEMPORAL_NAMESPACE" in ended.err


async def test_no_server_exits_with_3(tmp_path: Path) -> None:
    """After some seconds of waiting, which it says, with what to do."""
    ended = await fanout("run", "default")
    assert ended.code == 3
    assert "no Temporal server answers at 127.0.0.1:1" in ended.err.splitlines()[-1]
    assert "waiting for the Temporal server" in ended.err


async def test_run_waits_for_its_server_as_long_as_it_is_told_to() -> None:
    """With --patience a run that is started before its server finds it; without any left it exits with 3 at once."""
    async with dev_server() as server, asyncio.timeout(100):
        await server.stop()
        began = time.monotonic()
        ended = await fanout("run", "default", "--patience", "0", address=server.address)
        assert ended.code == 3
        assert time.monotonic() - began < 5
        queue = a_queue()
        process = await start("run", "default", "--patience", "90", "--task-queue", queue, address=server.address)
        assert process.stderr
        while "waiting for the Temporal server" not in (await process.stderr.readline()).decode():
            pass
        await server.start()
        async with serving("worker", "--task-queue", queue, address=server.address):
            ended = await end(process)
        assert ended.code == 0, ended.err
        assert "3 completed, 2 failed" in ended.out


async def test_a_run_has_the_scenario_that_it_is_told(server: DevServer, cli_queue: str, client: Client) -> None:
    """--scenario-name is the run's scenario, by which metrics know it."""
    args = ["--values", "[1]", "--scenario-name", "nightly", "--id", f"named-{cli_queue}", "--task-queue", cli_queue]
    ended = await fanout("run", *args, address=server.address)
    assert ended.code == 0, ended.err
    described = await client.get_workflow_handle(f"named-{cli_queue}").describe()
    assert await described.memo_value(SCENARIO_MEMO) == "nightly"


async def test_a_run_goes_on_when_the_command_is_told_to_end(server: DevServer, client: Client) -> None:
    """SIGTERM, as a pod gets it, ends the command with 130 and leaves the run as it is."""
    queue, id = a_queue(), f"left-{uuid.uuid4().hex[:8]}"
    process = await start("run", "default", "--task-queue", queue, "--id", id, address=server.address)
    assert process.stderr
    async with asyncio.timeout(60):
        while f"started {id}" not in (await process.stderr.readline()).decode():
            pass
    process.send_signal(signal.SIGTERM)
    assert (await end(process)).code == 130
    handle = client.get_workflow_handle(id)
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    await handle.terminate()


async def test_a_queue_without_a_worker_is_said(server: DevServer, client: Client) -> None:
    """A run that waits for a worker says so, and how to start one; Ctrl-C leaves it running."""
    queue, id = a_queue(), f"alone-{uuid.uuid4().hex[:8]}"
    process = await start("run", "default", "--task-queue", queue, "--id", id, address=server.address)
    assert process.stderr
    async with asyncio.timeout(60):
        while "no worker polls the task queue" not in (await process.stderr.readline()).decode():
            pass
    process.send_signal(signal.SIGINT)
    assert (await end(process)).code == 130
    await client.get_workflow_handle(id).terminate()


async def test_scenarios_lists_the_registry() -> None:
    """As a table and as JSON, every scenario with what it teaches."""
    listed = json.loads((await fanout("scenarios", "--output", "json")).out)
    assert [(one["name"], one["teaches"]) for one in listed] == [(s.name, s.teaches) for s in SCENARIOS.values()]
    table = (await fanout("scenarios")).out.splitlines()
    rows = {line.split()[0]: line for line in table[1:] if not line.startswith(" ")}  # the rest of a cell is indented
    assert list(rows) == list(SCENARIOS)
    assert all(" ".join(s.teaches.split()[:6]) in rows[s.name] for s in SCENARIOS.values())


async def test_a_worker_takes_on_what_it_is_told_to(server: DevServer) -> None:
    """As many activities at once, and as many workflows in memory: with none it replays a run for each of its tasks."""
    queue = a_queue()
    limits = ["--max-concurrent-activities", "3", "--max-cached-workflows", "0"]
    async with serving("worker", "--task-queue", queue, *limits, address=server.address) as worker:
        ended = await fanout("run", "default", "--task-queue", queue, address=server.address)
        assert ended.code == 0, ended.err
        slots = await worker.samples("temporal_worker_task_slots_available{")
        assert [count for name, count in slots.items() if 'worker_type="ActivityWorker"' in name] == [3]
        replays = await worker.samples("temporal_workflow_task_replay_latency_seconds_count{")
        assert sum(replays.values()) > 0


async def test_the_worker_waits_for_its_server_and_drains(tmp_path: Path) -> None:
    """Started before its server it waits; told to end it lets an activity finish, and exits with 0."""
    async with dev_server() as server:
        await server.stop()
        queue = a_queue()
        worker = await start("worker", "--task-queue", queue, address=server.address)
        assert worker.stderr
        async with asyncio.timeout(60):
            while "waiting for the Temporal server" not in (await worker.stderr.readline()).decode():
                pass
        await server.start()
        ended = await fanout("run", "default", "--task-queue", queue, address=server.address)
        assert ended.code == 0, ended.err
        worker.send_signal(signal.SIGTERM)
        ended = await end(worker)
    assert ended.code == 0
    events = [json.loads(line)["event"] for line in ended.err.splitlines()]
    assert "draining" in events
    assert events[-1] == "worker stopped"


@pytest.mark.timeout(300)
async def test_a_run_outlives_its_server(tmp_path: Path) -> None:
    """The server is killed in the middle of a run and comes back on its file: every item has its one outcome."""
    async with dev_server(database=tmp_path / "temporal.db") as server:
        queue = a_queue()
        worker = await start("worker", "--task-queue", queue, address=server.address)
        values = json.dumps(list(range(1, 800, 2)))
        run = await start(
            "run", "--values", values, "--task-queue", queue, "--id", "outage", "--output", "json",
            address=server.address,
        )  # fmt: skip
        client = await connect(10, target_host=server.address)

        async def half_way() -> bool:
            finished = await client.count_workflows('WorkflowType="ChildWorkflow" AND ExecutionStatus="Completed"')
            return 50 <= finished.count < 350

        await until(half_way, "some children")
        await server.stop(kill=True)
        assert run.stderr
        async with asyncio.timeout(60):
            while "does not answer" not in (await run.stderr.readline()).decode():
                pass
        await server.start()
        ended = await end(run, 240)
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["outcomes"] == {"completed": 400}
        worker.send_signal(signal.SIGTERM)
        assert (await end(worker)).code == 0


async def test_a_killed_worker_costs_no_item(server: DevServer, client: Client) -> None:
    """The worker that holds the parent is killed; a second goes on, and every item has its one outcome.

    The parent's history proves that the kill hit: a workflow task timed out.
    """
    queue, id = a_queue(), f"killed-{uuid.uuid4().hex[:8]}"
    first = await start("worker", "--task-queue", queue, address=server.address)
    values = json.dumps(list(range(1, 601, 2)))
    run = await start(
        "run", "--values", values, "--id", id, "--task-queue", queue, "--max-concurrency", "20", "--output", "json",
        address=server.address,
    )  # fmt: skip

    async def some() -> bool:
        query = f'WorkflowId STARTS_WITH "{id}." AND ExecutionStatus="Completed"'
        return 20 <= (await client.count_workflows(query)).count < 250

    await until(some, "some children")
    first.kill()
    await first.wait()
    second = await start("worker", "--task-queue", queue, address=server.address)
    ended = await end(run, 110)
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["outcomes"] == {"completed": 300}
    timed_out = 0
    for workflow_id in (id, f"{id}.s0", f"{id}.s1"):
        history = await client.get_workflow_handle(workflow_id).fetch_history()
        timed_out += sum(e.HasField("workflow_task_timed_out_event_attributes") for e in history.events)
    assert timed_out
    second.send_signal(signal.SIGTERM)
    assert (await end(second)).code == 0


async def test_temporals_own_cli_starts_the_lab(server: DevServer, bench: Bench, client: Client) -> None:
    """The lab's command, with Temporal's own program, gives the lab's result."""
    from temporal_fanout.process.devserver import binary

    id = f"parent-all-success-{uuid.uuid4().hex[:8]}"
    process = await asyncio.create_subprocess_exec(
        str(binary()), "workflow", "start", "--address", server.address, "--task-queue", bench.task_queue,
        "--type", "ParentWorkflow", "--input", "[1, 3, 5, 7, 9]", "--workflow-id", id,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0
    handle = client.get_workflow_handle(id)
    assert (await handle.result())["success_count"] == 5
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED


async def test_the_demo_shows_what_became_of_every_child() -> None:
    """Server, worker and run in one, with the Web UI's address; nothing is left behind."""
    began = time.monotonic()
    ended = await fanout("demo")
    assert ended.code == 0, ended.err
    assert "Web UI: http://localhost:" in ended.err
    assert "3 completed, 2 failed" in ended.out
    assert time.monotonic() - began < 60


async def test_the_demo_stays_until_it_is_told_to_end() -> None:
    """--keep leaves server and worker up for more runs, until Ctrl-C."""
    process = await start("demo", "--keep")
    assert process.stderr
    async with asyncio.timeout(60):
        while "Up until Ctrl-C" not in (line := (await process.stderr.readline()).decode()):
            pass
    address = line.split("TEMPORAL_ADDRESS=")[1].split()[0]
    ended = await fanout("run", "large-scale", address=address)
    assert "8 completed, 7 failed" in ended.out
    process.send_signal(signal.SIGINT)
    assert (await end(process)).code == 0
    assert (await fanout("run", "default", address=address)).code == 3
