"""One run of one method, measured, and rounds of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import psutil
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from benchmarks.workflows import Child

GATHER = "gather"
FAN_OUT = "fan_out"
ACTIVITIES = "fan_out, activities"
WIDTHS = {f"ceiling, {width} at a time": width for width in (50, 100, 200)}
"""Workflows without a parent, by how many are open at a time."""
BASE = 1000
"""Children of the run next to which the big run is measured."""

_WORK = {FAN_OUT: "BenchChild", ACTIVITIES: "activity:bench_echo"}
_SAMPLE_SECONDS = 0.1
_PAUSE_SECONDS = 1.0

T = TypeVar("T")


class WrongOutcome(Exception):
    """Not every item completed: no figure of such a run is worth anything."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was measured of one run. CPU and memory are the worker's; sizes of histories are the server's."""

    part: str
    round: int
    method: str
    items: int
    seconds: float
    timed_out: bool
    cpu_ms_per_item: float | None
    """None for a run that timed out."""
    peak_mb: float
    busy_cores: float
    """Of the whole machine, on average: the server's and the client's work too, where they are on it."""
    parent_events: int | None = None
    parent_bytes: int | None = None
    longest_events: int | None = None
    """Of the parent and its shards, the most."""
    longest_bytes: int | None = None
    tree_events: int | None = None
    """Of the parent and its shards together, without the children's."""

    @property
    def rate(self) -> float | None:
        """Items per second; none for a run that was not awaited to its end."""
        return None if self.timed_out else self.items / self.seconds

    @property
    def machine_cpu_ms_per_item(self) -> float | None:
        """What an item costs the whole machine, the worker included; none for a run that timed out."""
        return None if self.timed_out else 1000 * self.busy_cores * self.seconds / self.items


@dataclass(frozen=True)
class Bench:
    """Where to measure."""

    client: Client
    task_queue: str
    """Ours alone; every workflow id starts with it."""
    worker: psutil.Process

    async def warm_up(self) -> None:
        """Runs a few of each kind, unmeasured: the first of them pay for imports and connections."""
        for method in (*WIDTHS, GATHER, FAN_OUT, ACTIVITIES):
            await self.run("warm-up", 0, method, 50)

    async def rounds(self, part: str, count: int, methods: Sequence[str], sizes: Sequence[int]) -> AsyncIterator[Run]:
        """Every method at every size once a round, those of one size side by side, in another order each time."""
        for round in range(count):
            for size in _rotated(sizes, round):
                for method in _rotated(methods, round)[:: -1 if round % 2 else 1]:
                    yield await self.run(part, round, method, size)

    async def run(self, part: str, round: int, method: str, items: int, file: str | None = None) -> Run:
        """Runs the method over so many items. Raises `WrongOutcome` where not all of them completed."""
        await asyncio.sleep(_PAUSE_SECONDS)  # the server still tidies up after the run before
        id = "-".join((self.task_queue, part, str(round), method.replace(", ", "-").replace(" ", "-"), str(items)))
        cpu, busy, started, timed_out = self._cpu(), _busy_seconds(), time.perf_counter(), False
        async with self._memory() as peak:
            try:
                async with asyncio.timeout(_limit(items)):
                    await self._execute(id, method, items, file)
            except TimeoutError:
                timed_out = True
            seconds, cpu, busy = time.perf_counter() - started, self._cpu() - cpu, _busy_seconds() - busy
        if timed_out:
            await self.sweep()
        family = [] if method in WIDTHS else [one async for one in self._family(id)]
        sizes = [(f.history_length, f.raw_description.workflow_execution_info.history_size_bytes) for f in family]
        return Run(
            part=part,
            round=round,
            method=method,
            items=items,
            seconds=seconds,
            timed_out=timed_out,
            cpu_ms_per_item=None if timed_out else 1000 * cpu / items,
            peak_mb=peak[0] / 1e6,
            busy_cores=busy / seconds,
            parent_events=sizes[0][0] if sizes else None,
            parent_bytes=sizes[0][1] if sizes else None,
            longest_events=max((events for events, _ in sizes), default=None),
            longest_bytes=max((size for _, size in sizes), default=None),
            tree_events=sum(events for events, _ in sizes) if sizes else None,
        )

    async def sweep(self) -> None:
        """Terminates what is open on our task queue, parents first, until nothing more is found."""
        query = f"TaskQueue = '{self.task_queue}' AND ExecutionStatus = 'Running'"
        quiet = 0
        while quiet < 3:
            open = [found async for found in self.client.list_workflows(query)]
            quiet = 0 if open else quiet + 1
            for found in sorted(open, key=lambda one: one.start_time):
                with contextlib.suppress(RPCError):  # it has closed meanwhile
                    await self.client.get_workflow_handle(found.id).terminate("the benchmark has ended")
            await asyncio.sleep(1)

    async def _execute(self, id: str, method: str, items: int, file: str | None) -> None:
        if method in WIDTHS:
            await self._standalone(id, items, WIDTHS[method])
            return
        args: list[Any] = [items] if method == GATHER else [_WORK[method], items, file]
        outcomes: dict[str, int] = await self.client.execute_workflow(
            "BenchGather" if method == GATHER else "BenchFanOut",
            args=args,
            id=id,
            task_queue=self.task_queue,
            execution_timeout=timedelta(seconds=_limit(items) + 60),  # should this process be gone by then
        )
        if outcomes != {"completed": items}:
            raise WrongOutcome(f"{id}: {items} items were to complete, not {outcomes}")

    async def _standalone(self, id: str, items: int, width: int) -> None:
        numbers = iter(range(items))

        async def lane() -> None:
            for n in numbers:
                result = await self.client.execute_workflow(Child.run, n, id=f"{id}.{n}", task_queue=self.task_queue)
                if result != n:
                    raise WrongOutcome(f"{id}.{n}: was to return {n}, not {result}")

        async with asyncio.TaskGroup() as lanes:
            for _ in range(width):
                lanes.create_task(lane())

    async def _family(self, id: str) -> AsyncIterator[WorkflowExecutionDescription]:
        """The workflow, and its shards: they are numbered from 0 on, and may have shards too."""
        yield await self.client.get_workflow_handle(id).describe()
        for n in itertools.count():
            try:
                async for one in self._family(f"{id}.s{n}"):
                    yield one
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                return

    def _cpu(self) -> float:
        times = self.worker.cpu_times()
        return float(times.user + times.system)

    @contextlib.asynccontextmanager
    async def _memory(self) -> AsyncIterator[list[int]]:
        """Samples the worker's resident memory; the one number of the list is the peak so far."""
        peak = [0]

        async def sample() -> None:
            while True:  # a worker that is gone raises here, and ends the run
                peak[0] = max(peak[0], self.worker.memory_info().rss)
                await asyncio.sleep(_SAMPLE_SECONDS)

        async with asyncio.TaskGroup() as group:
            sampling = group.create_task(sample())
            yield peak
            sampling.cancel()


def _busy_seconds() -> float:
    """Seconds of CPU that this machine has spent since it started."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0)


def _limit(items: int) -> float:
    """Seconds after which a run counts as timed out: 300 up to 2,000 items, and more in proportion."""
    return 300 * max(1.0, items / 2000)


def _rotated(things: Sequence[T], by: int) -> list[T]:
    by %= len(things)
    return [*things[by:], *things[:by]]
