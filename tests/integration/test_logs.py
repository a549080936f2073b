"""What a worker logs, as an operator's collector and a person at a terminal read it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import uuid

from temporalio.client import Client

from temporal_fanout.process.devserver import DevServer
from tests.conftest import until
from tests.processes import FANOUT, a_queue, fanout, serving


async def test_a_failed_item_is_one_line_with_its_root_cause(server: DevServer) -> None:
    """Where no person reads, each line is one JSON object; an item that did not complete has one, with what tells of
    it, whether a child or an activity; one that completed has none."""
    queue, id = a_queue(), f"logs-{uuid.uuid4().hex[:8]}"
    async with serving("worker", "--task-queue", queue, address=server.address) as worker:
        for more in ([], ["--activity", "double"]):
            args = ["run", "--values", "[1,2,3]", "--task-queue", queue, "--id", id + "".join(more), *more]
            assert (await fanout(*args, address=server.address)).code == 0
    said = [line for line in worker.lines if "Simulated failure" in json.dumps(line)]
    assert [line.pop("workflow_id") for line in said] == [id, f"{id}--activitydouble"]
    for line, child in zip(said, (f"{id}.1", f"{id}--activitydouble.1"), strict=True):
        assert line.pop("run_id")
        assert line.pop("timestamp").endswith("Z")
        assert line == {
            "event": "item did not complete", "level": "warning", "logger": "temporalio.workflow",
            "namespace": "default", "task_queue": queue, "workflow_type": "ParentWorkflow", "attempt": 1,
            "item_index": 1, "child_id": child, "outcome": "failed", "error_type": "ApplicationError",
            "error": "Simulated failure for value 2",
        }  # fmt: skip


async def test_no_payload_is_logged(server: DevServer) -> None:
    """Neither an item nor a result is in the log of a worker, at its usual level."""
    queue = a_queue()
    async with serving("worker", "--task-queue", queue, address=server.address) as worker:
        ended = await fanout("run", "--values", "[987654321]", "--task-queue", queue, address=server.address)
        assert "1975308642" in ended.out
    assert worker.lines
    assert not [line for line in worker.lines if "987654321" in json.dumps(line) or "1975308642" in json.dumps(line)]


async def test_a_workflow_task_that_fails_is_said_once_an_attempt(server: DevServer, client: Client) -> None:
    """The SDK and its core both tell of it; the worker's log has one line for each attempt, with the trace."""
    queue = a_queue()
    async with serving("worker", "--task-queue", queue, address=server.address) as worker:
        handle = await client.start_workflow("NoSuchWorkflow", id=f"t-{queue}", task_queue=queue)

        async def said() -> bool:
            return any("NoSuchWorkflow" in json.dumps(line) for line in worker.lines)

        await until(said, "a line about the failed task")
        await handle.terminate()
    lines = [line for line in worker.lines if "NoSuchWorkflow" in json.dumps(line)]
    assert {line["logger"] for line in lines} == {"temporalio.worker._workflow"}
    assert all("is not registered on this worker" in line["exception"] for line in lines)


async def test_a_person_reads_colours(server: DevServer) -> None:
    """On a terminal a line is readable and coloured, not JSON."""
    parent, child = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        FANOUT, "worker", "--task-queue", a_queue(), "--metrics-port", "0",
        env=os.environ | {"TEMPORAL_ADDRESS": server.address, "TERM": "xterm-256color"},
        stdin=child, stdout=child, stderr=child,
    )  # fmt: skip
    os.close(child)
    said = b""
    os.set_blocking(parent, False)

    async def started() -> bool:
        nonlocal said
        with contextlib.suppress(BlockingIOError):
            said += os.read(parent, 65536)
        return b"worker started" in said

    await until(started, "the line about the start")
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    os.close(parent)
    assert b"\x1b[" in said
    assert b'{"' not in said
