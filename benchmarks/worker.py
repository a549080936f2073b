"""The worker, in a process of its own: its CPU and memory are its own too.

`python -m benchmarks.worker QUEUE METRICS [SOURCE_ROOT…]` says `ready`, and works until its standard input ends, so
that it cannot outlive the benchmark. METRICS is one of `none`; `exporter`, as `fanout worker` has them, scraped once a
second; `buffer`, the SDK's buffer bridged into prometheus-client, drained once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from temporalio import activity
from temporalio.runtime import (
    BUFFERED_METRIC_KIND_COUNTER,
    BUFFERED_METRIC_KIND_GAUGE,
    MetricBuffer,
    Runtime,
    TelemetryConfig,
)
from temporalio.worker import Worker

from benchmarks.workflows import Child, FanOut, Flaky, Gather
from temporal_fanout.operations.connect import connect, runtime
from temporal_fanout.plugin import FanOutPlugin
from temporal_fanout.process import logs
from temporal_fanout.process.endpoint import metered
from temporal_fanout.process.exit import end

_END_SECONDS = 30


@activity.defn(name="bench_echo")
async def echo(value: int) -> int:
    """`Child` as an activity."""
    return value


@contextlib.asynccontextmanager
async def worker_process(
    task_queue: str, *source_roots: str, metrics: str = "none", root: Path | None = None
) -> AsyncIterator[psutil.Process]:
    """A worker at work, with the code at `root` if not with this. It reads the TEMPORAL_* settings of this process."""
    path = {} if root is None else {"PYTHONPATH": os.pathsep.join((str(root / "src"), str(root)))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.worker", task_queue, metrics, *source_roots),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=root,
        env=os.environ | path,
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


async def main(task_queue: str, metrics: str, *source_roots: str) -> None:
    logs.configure(logs.Level.ERROR)  # some items fail on purpose
    core, scrape = METRICS[metrics]()
    worker = Worker(
        await connect(30, core=core),
        task_queue=task_queue,
        workflows=[Child, Flaky, Gather, FanOut],
        activities=[echo],
        plugins=[FanOutPlugin(source_roots)],
    )
    scraping = asyncio.create_task(_every_second(scrape))
    async with worker:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    scraping.cancel()


async def _every_second(scrape: Callable[[], object]) -> None:
    while True:
        await asyncio.sleep(1)
        await asyncio.to_thread(scrape)


def _none() -> tuple[Runtime, Callable[[], object]]:
    return runtime(), lambda: None


def _exporter() -> tuple[Runtime, Callable[[], object]]:
    endpoint, core = metered()
    return core, endpoint.text


def _buffer() -> tuple[Runtime, Callable[[], object]]:
    """Each update of the buffer into a metric of prometheus-client, made when it is first seen."""
    buffer = MetricBuffer(100_000)
    core = Runtime(telemetry=TelemetryConfig(metrics=buffer))
    registry = CollectorRegistry()
    known: dict[int, Any] = {}

    def scrape() -> bytes:
        for update in buffer.retrieve_updates():
            labels = {key: str(value) for key, value in update.attributes.items()}
            metric = known.get(id(update.metric))
            if metric is None:
                kind = {BUFFERED_METRIC_KIND_COUNTER: Counter, BUFFERED_METRIC_KIND_GAUGE: Gauge}
                name = f"{update.metric.name}_{len(known)}"
                make: Any = kind.get(update.metric.kind, Histogram)
                metric = known[id(update.metric)] = make(name, name, sorted(labels), registry=registry), sorted(labels)
            child = metric[0].labels(*(labels.get(name, "") for name in metric[1]))
            if update.metric.kind == BUFFERED_METRIC_KIND_COUNTER:
                child.inc(update.value)
            elif update.metric.kind == BUFFERED_METRIC_KIND_GAUGE:
                child.set(update.value)
            else:
                child.observe(update.value)
        return generate_latest(registry)

    return core, scrape


METRICS = {"none": _none, "exporter": _exporter, "buffer": _buffer}


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    end(0)
