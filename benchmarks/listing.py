"""What it takes to list a run and to retry it, by the command line as a process of its own."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from temporalio.client import Client

from benchmarks.measure import Bench, WrongOutcome

_SAMPLE_SECONDS = 0.05
_ACTIVITIES = 10
"""As many activities are listed for each child."""


@dataclass(frozen=True)
class Took:
    """One command: its wall time, its own CPU, and the most memory that it held."""

    what: str
    items: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


async def listing(client: Client, bench: Bench, children: int, folder: Path, console: Console) -> None:
    """Lists and retries so many children, all of which had failed, and lists ten times as many activities.

    `folder` is one that the worker may read.
    """
    file = folder / "list.jsonl"
    took = []
    id = f"{bench.task_queue}-children"
    await _run(client, bench, id, ["BenchFlaky", children, None], {"failed": children})
    took.append(await _fanout(f"list {children:,} children", children, "results", id, "--to", str(file)))
    _expect(file, children, "failed")
    took.append(await _fanout(f"retry {children:,} children", children, "retry", id, "--output", "json"))
    what = f"list {children:,} children, merged with their retry"
    took.append(await _fanout(what, children, "results", id, "--merged", "--to", str(file)))
    _expect(file, children, "completed")
    id, activities = f"{bench.task_queue}-activities", _ACTIVITIES * children
    numbers = folder / "items.jsonl"
    with numbers.open("w") as lines:
        lines.writelines(f"{n}\n" for n in range(activities))
    await _run(client, bench, id, ["activity:bench_echo", activities, str(numbers)], {"completed": activities})
    took.append(await _fanout(f"list {activities:,} activities", activities, "results", id, "--to", str(file)))
    _expect(file, activities, "completed")
    table = Table("command", "seconds", "items/s", "CPU seconds", "peak MB", title="Listing and retrying")
    for one in took:
        rate = f"{one.items / one.seconds:,.0f}"
        table.add_row(one.what, f"{one.seconds:.1f}", rate, f"{one.cpu_seconds:.1f}", f"{one.peak_mb:.0f}")
    console.print(table)


async def _run(client: Client, bench: Bench, id: str, args: list[object], expected: dict[str, int]) -> None:
    result = await client.execute_workflow("BenchFanOut", args=args, id=id, task_queue=bench.task_queue)
    if result != expected:
        raise WrongOutcome(f"{id}: was to end as {expected}, not {result}")


async def _fanout(what: str, items: int, *args: str) -> Took:
    """Runs the command to its end. Raises `WrongOutcome` where that is not good."""
    began = time.perf_counter()
    command = str(Path(sys.executable).with_name("fanout"))
    process = await asyncio.create_subprocess_exec(command, *args, stdout=asyncio.subprocess.DEVNULL)
    watched, peak, cpu = psutil.Process(process.pid), 0, 0.0
    ended = asyncio.create_task(process.wait())
    while not ended.done():
        for memory, seconds in _look(watched):
            peak, cpu = max(peak, memory), seconds
        await asyncio.wait([ended], timeout=_SAMPLE_SECONDS)
    if process.returncode:
        raise WrongOutcome(f"{what}: ended with {process.returncode}")
    took = Took(what, items, time.perf_counter() - began, cpu, peak / 1e6)
    print(f"{what}: {took.seconds:.1f} s, {took.peak_mb:.0f} MB", file=sys.stderr, flush=True)
    return took


def _look(process: psutil.Process) -> Iterator[tuple[int, float]]:
    """Its memory and CPU now; nothing where it has ended."""
    try:
        times = process.cpu_times()
        yield process.memory_info().rss, times.user + times.system
    except psutil.Error:
        return


def _expect(file: Path, items: int, outcome: str) -> None:
    with file.open() as lines:
        found = sum(f'"outcome": "{outcome}"' in line for line in lines)
    if found != items:
        raise WrongOutcome(f"{found} of {items} items are listed as {outcome}")
