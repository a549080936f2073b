"""What shows only now and then: run often."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from temporal_fanout.process.devserver import DevServer
from tests.processes import a_queue, end, fanout, serving, start


@pytest.fixture(scope="module")
async def cli_queue(server: DevServer) -> AsyncIterator[str]:
    """A task queue served by a real `fanout worker`."""
    queue = a_queue()
    async with serving("worker", "--task-queue", queue, address=server.address):
        yield queue


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["run", "default"], 0),
        (["run", "strict"], 1),
        (["run", "nope"], 2),
        (["scenarios"], 0),
    ],
)
@pytest.mark.timeout(300)
async def test_exit_codes_30_times_out_of_30(server: DevServer, cli_queue: str, args: list[str], code: int) -> None:
    """A process that has done its work exits with the code that it means, not with the interpreter's crash."""
    more = ["--task-queue", cli_queue] if args[0] == "run" else []
    codes = []
    for _ in range(10):
        runs = await asyncio.gather(*(fanout(*args, *more, address=server.address) for _ in range(3)))
        codes += [ended.code for ended in runs]
    assert codes == [code] * 30


@pytest.mark.timeout(300)
async def test_demos_exit_with_0_30_times_out_of_30() -> None:
    """The same for a process that holds a worker and a run, also when two are started at once."""
    codes = []
    for _ in range(10):
        runs = await asyncio.gather(*(fanout("demo", "all-success") for _ in range(3)))
        codes += [ended.code for ended in runs]
    assert codes == [0] * 30


@pytest.mark.timeout(300)
async def test_workers_exit_with_0_30_times_out_of_30(server: DevServer) -> None:
    """The same for workers, after each has run something."""
    codes = []
    for _ in range(6):
        queues = [a_queue() for _ in range(5)]
        workers = [await start("worker", "--task-queue", queue, address=server.address) for queue in queues]
        runs = await asyncio.gather(
            *(fanout("run", "default", "--task-queue", queue, address=server.address) for queue in queues)
        )
        assert [ended.code for ended in runs] == [0] * 5
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        codes += [(await end(worker)).code for worker in workers]
    assert codes == [0] * 30
