"""`fanout results`: the items of any workflow, listed by a real process from histories on a real server."""

from __future__ import annotations

import asyncio
import csv
import gc
import io
import json
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError

from temporal_fanout import ItemOutcome, outcomes
from temporal_fanout.histories.run import READ_AHEAD
from temporal_fanout.process.devserver import DevServer
from tests import parents as p
from tests import workflows as w
from tests.conftest import Bench
from tests.histories import counted, read, until_counted, working_for_all
from tests.processes import Ended, fanout, start
from tests.relay import relay

COLUMNS = ["index", "child_id", "input", "outcome", "result", "error", "type", "started_at", "seconds", "from_result"]


@pytest.fixture
async def bench(client: Client) -> AsyncIterator[Bench]:
    async with working_for_all(client) as bench:
        yield bench


async def listed(server: DevServer, *args: str) -> tuple[list[dict[str, Any]], Ended]:
    """The rows that `fanout results` gives, as JSON lines."""
    ended = await fanout("results", *args, address=server.address)
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()], ended


async def gathered(bench: Bench, client: Client) -> str:
    """A plain gather that has ended, with every outcome that a child can have."""
    whats = ["complete", "fail", "activity", "sleep", "sleep", "sleep"]
    handle = await bench.start(p.Gather.run, whats, 12)
    await until_counted(client, handle.id, completed=1, failed=2, running=3)
    await client.get_workflow_handle(f"{handle.id}-child-3").cancel()
    await client.get_workflow_handle(f"{handle.id}-child-4").terminate()
    await handle.result()
    return handle.id


async def test_children_of_a_plain_gather_are_listed(bench: Bench, server: DevServer, client: Client) -> None:
    """A line of JSON for each, with every outcome; piped, nothing else is on stdout."""
    id = await gathered(bench, client)
    rows, ended = await listed(server, id)
    assert [list(row) for row in rows] == [COLUMNS] * 6
    assert [row["index"] for row in rows] == list(range(6))
    assert [row["child_id"] for row in rows] == [f"{id}-child-{n}" for n in range(6)]
    assert [row["outcome"] for row in rows] == [
        "completed", "failed", "failed", "cancelled", "terminated", "timed_out",
    ]  # fmt: skip
    assert [row["input"] for row in rows] == ["complete", "fail", "activity", "sleep", "sleep", "sleep"]
    assert [row["result"] for row in rows] == ["COMPLETE", *[None] * 5]
    assert [(row["error"], row["type"]) for row in rows[1:3]] == [
        ("no such customer", "Missing"), ("card 5 was declined", "Declined"),
    ]  # fmt: skip
    assert all(datetime.fromisoformat(row["started_at"]).tzinfo for row in rows)
    assert 11 < rows[5]["seconds"] < 60
    assert "6 items: 1 completed, 2 failed, 1 cancelled, 1 terminated, 1 timed out" in ended.err
    only, ended = await listed(server, id, "--failed")
    assert only == rows[1:]
    assert "5 listed" in ended.err
    only, _ = await listed(server, id, "--outcome", "completed", "--outcome", "cancelled")
    assert only == [rows[0], rows[3]]


async def test_a_list_is_a_table_json_or_csv(bench: Bench, server: DevServer, client: Client, tmp_path: Path) -> None:
    """Each format holds the same rows; a file's ending chooses it; a table has the failures' root causes."""
    handle = await bench.start("ParentWorkflow", [1, 2, 3], {})
    await handle.result()
    id, address = handle.id, server.address
    rows, _ = await listed(server, id)
    assert json.loads((await fanout("results", id, "--output", "json", address=address)).out) == rows
    table = (await fanout("results", id, "--output", "table", address=address)).out.splitlines()
    assert table[0].split() == ["item", "value", "outcome", "result", "or", "root", "cause"]
    assert table[2].split(maxsplit=3) == ["1", "2", "failed", "ApplicationError: Simulated failure for value 2"]
    assert table[-1] == f"3 items: 2 completed, 1 failed ({id})"
    file = tmp_path / "list.csv"
    assert (await fanout("results", id, "--to", str(file), address=address)).out == ""
    found = list(csv.DictReader(io.StringIO(file.read_text())))
    assert list(found[0]) == COLUMNS
    assert [(row["index"], row["input"], row["result"], row["error"]) for row in found] == [
        ("0", "1", "2", ""), ("1", "2", "", "Simulated failure for value 2"), ("2", "3", "6", ""),
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == [file]
    handle = await bench.start(w.Anything.run, "Echo", [{"a": 'é, "x"'}, "text"], {})
    await handle.result()
    found = list(
        csv.DictReader(io.StringIO((await fanout("results", handle.id, "--output", "csv", address=address)).out))
    )
    assert [json.loads(row["result"]) for row in found] == [{"a": 'é, "x"'}, "text"]


async def test_items_of_shards_are_listed_as_the_result_has_them(bench: Bench, server: DevServer) -> None:
    """Counts and order are the run's own, through shards."""
    handle = await bench.start(w.Anything.run, "ChildWorkflow", list(range(60)), {"shard_size": 7})
    result = await handle.result()
    rows, _ = await listed(server, handle.id)
    assert [(row["index"], row["child_id"]) for row in rows] == [(n, f"{handle.id}.{n}") for n in range(60)]
    assert [row["index"] for row in rows if row["outcome"] == "failed"] == result["failed_indexes"]


async def test_a_chain_of_runs_is_numbered_through(bench: Bench, server: DevServer, client: Client) -> None:
    """Continue-as-new is followed from the first run on; a run id gives that run and what continues it."""
    handle = await bench.start(p.Entity.run, ["a", "b", "c", "d", "e"])
    await handle.result()
    rows, _ = await listed(server, handle.id)
    assert [(row["index"], row["input"]) for row in rows] == list(enumerate(["a", "b", "c", "d", "e"]))
    assert handle.first_execution_run_id
    rows, _ = await listed(server, handle.id, "--run-id", handle.first_execution_run_id)
    assert len(rows) == 5
    last = (await client.get_workflow_handle(handle.id).describe()).run_id
    rows, _ = await listed(server, handle.id, "--run-id", last)
    assert [row["input"] for row in rows] == ["e"]


async def test_attempts_are_asked_of_children_and_activities(bench: Bench, server: DevServer) -> None:
    """The third attempt of a child and of an activity; the first of what was tried once."""
    retry = {"retry": {"maximum_attempts": 3, "initial_interval": 0.1}}
    for work in ("FailsTwice", "activity:fails_twice"):
        handle = await bench.start(w.Anything.run, work, [0, 1], retry)
        await handle.result()
        rows, _ = await listed(server, handle.id, "--attempts")
        assert [row["attempts"] for row in rows] == [3, 3]
    handle = await bench.start(p.GatherActivities.run, ["a", "fail"], 30)
    await handle.result()
    rows, _ = await listed(server, handle.id, "--attempts")
    assert [(row["child_id"], row["attempts"], row["outcome"]) for row in rows] == [
        ("1", 1, "completed"), ("2", 1, "failed"),
    ]  # fmt: skip


async def test_payloads_that_are_no_json_are_shown_as_encoding_and_size(bench: Bench, server: DevServer) -> None:
    """Bytes, and an encoding that nobody knows."""
    handle = await bench.start(p.GatherRaw.run, [("binary/plain", "AAH/"), ("binary/of-another-language", "AAE=")])
    await handle.result()
    rows, _ = await listed(server, handle.id)
    assert [row["input"] for row in rows] == [
        {"encoding": "binary/plain", "size": 3}, {"encoding": "binary/of-another-language", "size": 2},
    ]  # fmt: skip


async def test_a_running_workflow_is_listed_as_far_as_it_is(bench: Bench, server: DevServer, client: Client) -> None:
    """What runs is `running`, and what waits is counted."""
    options = {"shard_size": 4, "max_concurrency": 3}
    handle = await bench.start(w.Anything.run, "Act", ["complete", "sleep"] * 6, options)
    await until_counted(client, handle.id, completed=3, running=3)
    rows, ended = await listed(server, handle.id)
    assert [row["outcome"] for row in rows] == ["completed", "running"] * 3
    assert [row["seconds"] is None for row in rows] == [False, True] * 3
    assert "6 more wait to be started" in ended.err
    only, _ = await listed(server, handle.id, "--outcome", "running")
    assert only == rows[1::2]
    await handle.terminate()


async def test_what_a_cancelled_workflow_never_started_is_listed(
    bench: Bench, server: DevServer, client: Client
) -> None:
    """Such items have their place and their input."""
    handle = await bench.start(w.Anything.run, "Act", ["sleep"] * 8, {"shard_size": 4, "max_concurrency": 3})
    await until_counted(client, handle.id, running=3)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    rows, _ = await listed(server, handle.id)
    assert [row["outcome"] for row in rows] == ["cancelled"] * 3 + ["not_started"] * 5
    assert [row["input"] for row in rows] == ["sleep"] * 8
    assert rows[-1]["started_at"] is None


async def test_an_item_that_its_workflow_tried_again_is_one(bench: Bench, server: DevServer) -> None:
    """Its last outcome counts; a start that only found the id taken counts for nothing."""
    handle = await bench.start(p.Again.run)
    await handle.result()
    rows, _ = await listed(server, handle.id)
    assert [(row["child_id"], row["input"], row["outcome"]) for row in rows] == [
        (f"{handle.id}-again", "complete", "completed"), (f"{handle.id}-again-2", "sleep", "cancelled"),
    ]  # fmt: skip


async def test_what_cannot_be_listed_is_said_in_one_line(bench: Bench, server: DevServer, tmp_path: Path) -> None:
    """An unknown id, an outcome that is none, a file that cannot be; a workflow without children has no items."""
    for args, message in (
        (["nobody"], "there is no history of workflow nobody: it never ran in this namespace, or"),
        (["x", "--run-id", str(uuid.uuid4())], "there is no history of workflow x, run "),
        (["x", "--outcome", "great"], "Invalid value for '--outcome'"),
        (["x", "--to", str(tmp_path / "no" / "file")], "cannot be written: No such file or directory"),
    ):
        ended = await fanout("results", *args, address=server.address)
        assert (ended.code, ended.out) == (2, "")
        assert message in ended.err
        assert len(ended.err.splitlines()) == 1
    handle = await bench.start(p.Childless.run)
    await handle.result()
    rows, ended = await listed(server, handle.id)
    assert rows == []
    assert "it has started no child and no activity" in ended.err


@pytest.mark.timeout(240)
async def test_a_server_that_is_lost_half_way_is_said(bench: Bench, server: DevServer, tmp_path: Path) -> None:
    """The list breaks off, exit code 3 says so, and no file is left that looks whole."""
    handle = await bench.start(w.Anything.run, "activity:double_any", list(range(2500)), {}, seconds=120)
    await handle.result()
    async with relay(server.address) as whole:
        ended = await fanout("results", handle.id, address=whole.address)
    assert (ended.code, len(ended.out.splitlines())) == (0, 2500)
    half = whole.came / 2
    async with relay(server.address, half) as one, relay(server.address, half) as other:
        ended, ended_too = await asyncio.gather(
            fanout("results", handle.id, address=one.address, seconds=120),
            fanout("results", handle.id, "--to", str(tmp_path / "list"), address=other.address, seconds=120),
        )
    assert one.lost.is_set()
    assert other.lost.is_set()
    assert (ended.code, ended_too.code) == (3, 3)
    for each in (ended, ended_too):
        assert "the Temporal server does not answer" in each.err
    assert 1 < len(ended.out.splitlines()) < 2500
    assert list(tmp_path.iterdir()) == []


async def test_the_first_rows_come_before_the_last_are_read(bench: Bench, server: DevServer) -> None:
    """A reader that has enough ends the listing, without a word."""
    handle = await bench.start(w.Anything.run, "activity:double_any", list(range(400)), {})
    await handle.result()
    listing = await start("results", handle.id, address=server.address)
    assert listing.stdout
    assert listing.stderr
    await listing.stdout.readline()
    listing._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    assert await asyncio.wait_for(listing.wait(), 60) == 0
    assert b"Traceback" not in await listing.stderr.read()


async def test_outcomes_are_read_in_python_too(bench: Bench, client: Client) -> None:
    """`temporal_fanout.outcomes` is what the command lists."""
    handle = await bench.start("ParentWorkflow", [1, 2, 3], {})
    result = await handle.result()
    assert counted(await read(client, handle.id)) == result["outcomes"]


async def test_what_was_given_is_let_go(bench: Bench, client: Client) -> None:
    """However many shards a run has, no more outcomes are held than those of the shards that are read ahead."""
    size, count = 10, 500
    handle = await bench.start(w.Anything.run, "activity:double", [1] * count, {"shard_size": size})
    await handle.result()
    held, given = 0, 0
    async for _ in outcomes(client, handle.id):
        given += 1
        held = max(held, sum(isinstance(one, ItemOutcome) for one in gc.get_objects()) if given % 25 == 0 else 0)
    assert given == count
    assert 0 < held <= size * (READ_AHEAD + 2)
