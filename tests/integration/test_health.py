"""/livez and /readyz, as a kubelet asks them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client

from temporal_fanout.process import health
from temporal_fanout.process.devserver import DevServer, dev_server
from tests.conftest import until
from tests.processes import a_queue, fanout, serving


def ask(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_a_worker_is_ready_once_it_polls(server: DevServer) -> None:
    """A worker that polls is alive and ready, and says why in JSON; what is not there is a 404."""
    async with serving("worker", "--task-queue", a_queue(), address=server.address) as worker:
        await until(worker.is_ready, "a worker that is ready")
        assert json.loads((await worker.get("/readyz"))[1]) == {"status": "ok", "reason": "polling"}
        assert json.loads((await worker.get("/livez"))[1]) == {"status": "ok", "reason": "alive"}
        assert (await worker.get("/"))[0] == 404


@pytest.mark.timeout(180)
async def test_a_server_that_is_down_makes_a_worker_unready_and_no_more() -> None:
    """Without its server a worker is alive and not ready; it is ready again, the same process, when the server is."""
    async with dev_server() as server:
        await server.stop()
        async with serving("worker", "--task-queue", a_queue(), address=server.address) as worker:
            status, text = await worker.get("/readyz")
            assert status == 503
            assert json.loads(text)["status"] == "unavailable"
            await server.start()
            await until(worker.is_ready, "a worker that found its server")
            await server.stop(kill=True)

            async def is_unready() -> bool:
                return (await worker.get("/readyz"))[0] == 503

            await until(is_unready, "a worker that misses its server")
            assert "does not answer" in (await worker.get("/readyz"))[1]
            assert (await worker.get("/livez"))[0] == 200
            await server.start()
            await until(worker.is_ready, "a worker that has its server back", 60)
            assert worker.process.returncode is None


async def test_a_worker_that_drains_is_alive_and_not_ready(server: DevServer, client: Client, tmp_path: Path) -> None:
    """From SIGTERM on a worker is alive and not ready, until its activities have ended: here one that reads a pipe."""
    queue, pipe = a_queue(), tmp_path / "items.jsonl"
    os.mkfifo(pipe)
    args = ["--task-queue", queue, "--source-root", str(tmp_path), "--graceful-timeout", "60"]
    async with serving("worker", *args, address=server.address) as worker:
        await until(worker.is_ready, "a worker that is ready")
        run = await client.start_workflow(
            "ParentWorkflow", {"source": str(pipe)}, id=f"drains-{queue}", task_queue=queue
        )

        async def reads() -> bool:
            pending = (await run.describe()).raw_description.pending_activities
            return any(activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED for activity in pending)

        await until(reads, "an activity that waits for the pipe")
        worker.process.send_signal(signal.SIGTERM)

        async def drains() -> bool:
            return "draining" in (await worker.get("/readyz"))[1]

        await until(drains, "a worker that drains")
        assert (await worker.get("/readyz"))[0] == 503
        assert (await worker.get("/livez"))[0] == 200
        await run.terminate()

        async def read_on() -> bool:
            """The activity goes on, and ends."""
            with contextlib.suppress(OSError):  # it has not come to open the pipe yet
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
                return True
            return False

        await until(read_on, "the reader of the pipe")
        await asyncio.wait_for(worker.process.wait(), 30)
    assert worker.process.returncode == 0


async def test_a_stuck_event_loop_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """/livez fails while the event loop is blocked, and recovers with it."""
    monkeypatch.setattr(health, "STUCK_SECONDS", 0.5)
    monkeypatch.setattr(health, "_BEAT_SECONDS", 0.05)
    async with health.serve(0, lambda: b"", lambda: (True, "")) as port:
        assert (await asyncio.to_thread(ask, port, "/livez"))[0] == 200

        def while_blocked() -> tuple[int, str]:
            time.sleep(1)
            return ask(port, "/livez")

        asked = asyncio.get_running_loop().run_in_executor(None, while_blocked)
        time.sleep(2)  # noqa: ASYNC251 - the fault
        status, text = await asked
        assert status == 503
        assert "stuck" in text
        assert (await asyncio.to_thread(ask, port, "/livez"))[0] == 200


async def test_metrics_are_served_on_ipv4_and_ipv6() -> None:
    """A cluster of either kind reaches the port."""
    async with health.serve(0, lambda: b"a 1\n", lambda: (True, "")) as port:
        assert await asyncio.to_thread(ask, port, "/metrics") == (200, "a 1\n")
        assert await asyncio.to_thread(ask, port, "/metrics", "[::1]") == (200, "a 1\n")


async def test_a_port_that_is_taken_exits_with_2_in_one_line(server: DevServer) -> None:
    """The message names the port and what to give instead."""
    async with serving("worker", "--task-queue", a_queue(), address=server.address) as worker:
        ended = await fanout("worker", "--metrics-port", str(worker.port), address=server.address)
    assert ended.code == 2
    assert ended.err.splitlines()[-1] == (
        f"error: --metrics-port: {worker.port} cannot be used (Address already in use); give another, or 0 for any"
    )
