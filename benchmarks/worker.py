"""The worker, in a process of its own: its CPU and memory are its own too.

`python -m benchmarks.worker QUEUE [SOURCE_ROOT…]` says `ready`, and works until its standard input ends, so that it
cannot outlive the benchmark.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import psutil
from temporalio import activity
from temporalio.worker import Worker

from benchmarks.workflows import Child, FanOut, Gather
from temporal_fanout.client import connect
from temporal_fanout.plugin import FanOutPlugin
from temporal_fanout.process import end

_END_SECONDS = 30


@activity.defn(name="bench_echo")
async def echo(value: int) -> int:
    """`Child` as an activity."""
    return value


@contextlib.asynccontextmanager
async def worker_process(task_queue: str, *source_roots: str) -> AsyncIterator[psutil.Process]:
    """A worker at work. It reads the TEMPORAL_* settings of this process's environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.worker", task_queue, *source_roots),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the benchmark, which then ends its worker
    )
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise TypeError("both are pipes")
    try:
        if not await stdout.readline():
            raise RuntimeError(f"the worker ended with {await process.wait()} before it was ready")
        yield psutil.Process(process.pid)
    finally:
        stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def main(task_queue: str, *source_roots: str) -> None:
    worker = Worker(
        await connect(30),
        task_queue=task_queue,
        workflows=[Child, Gather, FanOut],
        activities=[echo],
        plugins=[FanOutPlugin(source_roots)],
    )
    async with worker:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    end(0)
