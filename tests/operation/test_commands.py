"""A run of 1,000 children, operated from the command line while a worker dies."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from typing import Any

import pytest
from temporalio.client import Client

from temporal_fanout.process.devserver import DevServer
from tests.conftest import until
from tests.processes import a_queue, end, fanout, serving, start

ITEMS = 1000
EVEN = {100: 2, 500: 4, 900: 6}


class Operator:
    """Asks one run by commands."""

    def __init__(self, address: str, id: str) -> None:
        self.address = address
        self.id = id

    async def ask(self, command: str, *args: str) -> str:
        """What the command said, on both streams; it must have ended well."""
        ended = await fanout(command, self.id, *args, address=self.address)
        assert ended.code == 0, ended.err
        return ended.out + ended.err

    async def progress(self) -> dict[str, Any]:
        ended = await fanout("progress", self.id, "--output", "json", address=self.address)
        return dict(json.loads(ended.out)) if ended.out else {}

    async def until(self, what: str, **least: int) -> dict[str, Any]:
        """Waits until the progress has at least these figures; `finished` is of all outcomes."""

        async def so_far() -> dict[str, Any] | None:
            now = await self.progress()
            now["finished"] = sum(now.get("outcomes", {}).values())
            return now if all(now.get(key, -1) >= value for key, value in least.items()) else None

        found: dict[str, Any] = await until(so_far, what, 120)
        return found


async def kill_the_holder(client: Client, id: str, workers: dict[str, asyncio.subprocess.Process]) -> None:
    """Kills the worker that executed the run's last workflow task."""
    history = await client.get_workflow_handle(id).fetch_history()
    last = [event for event in history.events if event.HasField("workflow_task_completed_event_attributes")][-1]
    pid = last.workflow_task_completed_event_attributes.identity.partition("@")[0]
    workers[pid].send_signal(signal.SIGKILL)
    await workers[pid].wait()


async def holders(client: Client, id: str) -> set[str]:
    """The workers that executed workflow tasks of the run."""
    history = await client.get_workflow_handle(id).fetch_history()
    done = (event.workflow_task_completed_event_attributes for event in history.events)
    return {one.identity for one in done if one.identity}


@pytest.mark.timeout(400)
async def test_each_control_holds_in_the_middle_of_a_run(server: DevServer, client: Client) -> None:
    """Pause, resume, resize, held, retry-item and skip hold for 1,000 children in shards, also through the death of the
    worker that holds the run: every item has one outcome, and each command says what changed."""
    queue, id = a_queue(), f"operate-{uuid.uuid4().hex[:8]}"
    values = [EVEN.get(n, 2 * n + 1) for n in range(ITEMS)]
    options = {"shard_size": 100, "on_failure": "hold", "starts_per_second": 60}
    operator = Operator(server.address, id)
    args = "worker", "--task-queue", queue
    async with serving(*args, address=server.address) as one, serving(*args, address=server.address) as other:
        workers = {str(each.process.pid): each.process for each in (one, other)}
        run = await start(
            "run", "--values", json.dumps(values), "--id", id, "--task-queue", queue, "--max-concurrency", "60",
            "--options", json.dumps(options), "--output", "json", address=server.address,
        )  # fmt: skip
        await operator.until("some outcomes", finished=50)

        assert f"{id} is paused; go on with: fanout resume {id}" in await operator.ask("pause")
        now = await operator.progress()
        while now["in_flight"]:
            now = await operator.progress()
        assert now["paused"]
        assert now["waiting"] > 500, "the pause came too late to show anything"
        await kill_the_holder(client, id, workers)
        after = await operator.progress()
        while after.get("silent_shards", 1):  # until the other worker has them all
            after = await operator.progress()
        assert (after["paused"], after["outcomes"]) == (True, now["outcomes"])

        assert f"{id} is resumed" in await operator.ask("resume")
        await operator.until("the run to go on", finished=sum(now["outcomes"].values()) + 1)
        assert "at most 7)" in await operator.ask("resize", "7")
        assert (await operator.progress())["in_flight"] <= 7
        assert "at most 80)" in await operator.ask("resize", "80")

        await operator.until("three held items, and the end of the others", held=3, finished=ITEMS - 3)
        held = json.loads((await fanout("held", id, "--output", "json", address=server.address)).out)
        assert {item["index"]: item["input"] for item in held} == EVEN
        assert {item["error"] for item in held} == {f"Simulated failure for value {n}" for n in EVEN.values()}
        assert "1 items run again: 100" in await operator.ask("retry-item", "100", "--input", "101")
        assert "1 items run again: 500" in await operator.ask("retry-item", "500")
        await operator.until("the one that failed again", held=2, finished=ITEMS - 2)
        assert "2 items skipped: 500, 900" in await operator.ask("skip", "--all")
        ended = await end(run, 120)
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert result["outcomes"] == {"completed": ITEMS - 2, "failed": 2}
    assert result["failed_indexes"] == [500, 900]
    assert len(await holders(client, id)) == 2, "the kill did not hit"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("cancel", [[], ["--cancel"]], ids=["wait", "cancel"])
async def test_an_abort_ends_the_run_with_all_counts(server: DevServer, client: Client, cancel: list[str]) -> None:
    """Aborted from the command line, a run of 1,000 fails with what became of each of its items, and starts no more."""
    queue, id = a_queue(), f"abort-{uuid.uuid4().hex[:8]}"
    operator = Operator(server.address, id)
    async with serving("worker", "--task-queue", queue, address=server.address):
        run = await start(
            "run", "--values", json.dumps(list(range(1, 2 * ITEMS, 2))), "--id", id, "--task-queue", queue,
            "--starts-per-second", "60", "--shard-size", "100", "--output", "json", address=server.address,
        )  # fmt: skip
        await operator.until("some outcomes", finished=50)
        assert f"{id} is aborted" in await operator.ask("abort", *cancel)
        ended = await end(run, 60)
        again = await fanout("abort", id, address=server.address)
    assert ended.code == 1
    failed = json.loads(ended.out)
    assert failed["type"] == "FanOutStopped"
    outcomes = failed["summary"]["outcomes"]
    assert sum(outcomes.values()) == ITEMS
    assert outcomes["not_started"] > 500
    assert again.code == 2
    assert f"{id}: has ended; what became of its items: fanout results {id}" in again.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["pause", "no-such-run"], "no-such-run: there is no such run"),
        (["progress", "no-such-run"], "there is no such run"),
        (["held", "no-such-run"], "there is no such run"),
        (["resize", "no-such-run", "0"], "greater than or equal to 1"),
        (["retry-item", "no-such-run"], "INDEX: name the items, or give --all"),
        (["skip", "no-such-run", "3", "--all"], "INDEX: name the items, or give --all"),
        (["retry-item", "no-such-run", "3", "--input", "{"], "--input: is not JSON"),
    ],
)
async def test_what_cannot_be_asked_is_one_line(server: DevServer, args: list[str], said: str) -> None:
    """A wrong command says so in one line, and exits with 2."""
    ended = await fanout(*args, address=server.address)
    assert ended.code == 2
    assert said in ended.err
    assert len(ended.err.strip().splitlines()) == 1


async def test_compare_shows_both_and_the_speed_up(server: DevServer) -> None:
    """The same items one after another and in parallel: both with the same outcomes and their time, and the ratio."""
    queue = a_queue()
    async with serving("worker", "--task-queue", queue, address=server.address):
        args = ["compare", "large-scale", "--task-queue", queue]
        ended = await fanout(*args, "--output", "json", address=server.address)
        shown = await fanout(*args, address=server.address)
    assert ended.code == shown.code == 0, ended.err
    said = json.loads(ended.out)
    runs = {run["execution_type"]: run for run in said["runs"]}
    assert list(runs) == ["sequential", "parallel"]
    assert {json.dumps(run["results"]["outcomes"]) for run in runs.values()} == {'{"completed": 8, "failed": 7}'}
    ratio = runs["sequential"]["execution_time"] / runs["parallel"]["execution_time"]
    assert said["speed_up"] == pytest.approx(ratio, abs=0.01)
    assert "speed-up: " in shown.out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "input: give either SCENARIO or --values"),
        (["--values", "[]"], "input: is empty"),
        (["nope"], "SCENARIO: nope is not known"),
    ],
)
async def test_compare_refuses_what_cannot_be_compared(args: list[str], said: str) -> None:
    """Nothing to compare is one line, before any server is asked."""
    ended = await fanout("compare", *args)
    assert ended.code == 2
    assert said in ended.err
