"""Parents, children and activities written with Temporal's Go SDK, which knows nothing of this package."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from temporal_fanout import retry
from temporal_fanout.process.devserver import DevServer
from tests import workflows as w
from tests.conftest import working
from tests.needs import needs
from tests.processes import a_queue, fanout


@pytest.fixture(scope="module")
async def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built once."""
    go = needs("go", "install Go 1.24 or newer")
    path = tmp_path_factory.mktemp("go") / "parent"
    process = await asyncio.create_subprocess_exec(
        go, "build", "-o", str(path), ".", cwd=Path(__file__).parent,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return path


@contextlib.asynccontextmanager
async def go_worker(program: Path, address: str) -> AsyncIterator[str]:
    """A worker of it on a queue of its own."""
    queue = a_queue()
    process = await asyncio.create_subprocess_exec(
        program, address, queue, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
        yield queue
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 60)


@pytest.mark.timeout(900)
async def test_a_parent_in_go_is_listed_and_retried(program: Path, server: DevServer, client: Client) -> None:
    """Its children and activities are listed; what failed is run once more by its own worker, with the same bytes."""
    orders = [{"customer": f"c-{n}", "fails": n % 2 == 1} for n in range(6)]
    address = server.address
    async with go_worker(program, address) as queue, working(client) as bench:
        id = f"go-{uuid.uuid4().hex[:8]}"
        failed = await client.execute_workflow("GoParent", orders, id=id, task_queue=queue)
        assert failed == 6
        listed = await fanout("results", id, address=address)
        assert listed.code == 0, listed.err
        rows = [json.loads(line) for line in listed.out.splitlines()]
        assert [row["index"] for row in rows] == list(range(12))
        assert {(row["input"]["customer"], row["outcome"]) for row in rows} == {
            (order["customer"], "failed" if order["fails"] else "completed") for order in orders
        }
        assert {(row["error"], row["type"]) for row in rows if row["outcome"] == "failed"} == {
            ("no such customer", "Missing")
        }
        ended = await fanout("retry", id, "--task-queue", bench.task_queue, "--output", "json", address=address)
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["outcomes"] == {"completed": 6}
        listed = await fanout("results", id, "--merged", address=address)
        rows = [json.loads(line) for line in listed.out.splitlines()]
        assert [row["outcome"] for row in rows] == ["completed"] * 12
        expected = [
            f"{order['customer']} {hashlib.sha256(bytes(i * (n + 1) % 256 for i in range(300))).hexdigest()}"
            for n, order in enumerate(orders)
        ]
        assert sorted(row["result"] for row in rows) == sorted(expected * 2)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("shard_size", [200, 2], ids=["flat", "shards"])
@pytest.mark.parametrize("work", ["GoNotify", "activity:GoRecord"])
async def test_go_work_without_a_result_completes(
    program: Path, server: DevServer, client: Client, work: str, shard_size: int
) -> None:
    """A function in Go that returns only an error has the result null: in a run, in shards, and in a retry."""
    orders = [{"customer": f"c-{n}", "fails": n == 3} for n in range(5)]
    async with go_worker(program, server.address) as queue, working(client) as bench:
        handle = await bench.start(w.Anything.run, work, orders, {"task_queue": queue, "shard_size": shard_size})
        result = await handle.result()
        assert result["outcomes"] == {"completed": 4, "failed": 1}
        assert [entry["result"] for entry in result["successful_results"]] == [None] * 4
        again = await retry(client, handle.id, task_queue=bench.task_queue)
        retried = await again.result()
        assert retried["outcomes"] == {"completed": 1}
        assert [entry["result"] for entry in retried["successful_results"]] == [None]
