"""The benchmark: `python -m benchmarks.bench`, from the repository's root.

Measures against the server at TEMPORAL_ADDRESS, else against a dev server of its own. BENCH_ROUNDS (5) and
BENCH_BIG_ROUNDS (1) say how often. It never fails for speed: exit code 1 is for items that did not complete.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import traceback
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from temporalio.client import Client

from benchmarks.listing import listing
from benchmarks.measure import ACTIVITIES, BASE, FAN_OUT, GATHER, WIDTHS, Bench, Run
from benchmarks.report import Report, machine
from benchmarks.worker import METRICS, worker_process
from temporal_fanout.operations.connect import connect
from temporal_fanout.process.devserver import dev_server
from temporal_fanout.process.exit import ExitCode, end


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench", description="Measures fan_out next to what there is without it."
    )
    parser.add_argument("--name", help="of the file in benchmarks/results; default: dev-server, or source")
    parser.add_argument("--sizes", type=_sizes, default=[500, 1000, 2000], help="children of a run: 500,1000,2000")
    parser.add_argument("--big", type=int, default=10000, help="children, then activities, of the big run; 0 is none")
    parser.add_argument("--metrics", type=int, metavar="N", help="instead, what metrics cost a worker, over N children")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="instead, 1,000 children with another checkout's code"
    )
    parser.add_argument("--source", type=int, metavar="N", help="instead, once N activities from a file of N lines")
    parser.add_argument(
        "--listing", type=int, metavar="N", help="instead, list and retry N children, list 10 N activities"
    )
    return parser.parse_args()


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",")]


async def main(options: argparse.Namespace, console: Console) -> int:
    task = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):  # both leave nothing behind: no workflow, worker or server
        asyncio.get_running_loop().add_signal_handler(number, lambda: task and task.cancel())
    if options.metrics:
        async with server() as client:
            await cost_of_metrics(client, options.metrics, console)
        return ExitCode.DONE
    if options.against:
        async with server() as client:
            await against(client, options.against, console)
        return ExitCode.DONE
    if options.listing:
        with tempfile.TemporaryDirectory() as folder:
            async with server() as client, bench(client, folder=folder) as own:
                await listing(client, own, options.listing, Path(folder), console)
        return ExitCode.DONE
    runs: list[Run] = []
    described: dict[str, Any] = {}
    try:
        for part in (from_source,) if options.source else (side_by_side, big):
            async with server() as client:  # a dev server with what the other part has left is slower
                described = described or await machine(client)
                await part(client, options, runs)
    finally:
        if runs:
            report = Report(described, runs)
            report.show(console)
            console.print(f"written: {report.write(options.name or ('source' if options.source else 'dev-server'))}")
    return ExitCode.RUN_FAILED if any(run.timed_out for run in runs if run.part == "source") else ExitCode.DONE


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[Client]:
    """A client of the server at TEMPORAL_ADDRESS, else of a dev server of its own."""
    if os.environ.get("TEMPORAL_ADDRESS"):
        yield await connect(30)
        return
    async with dev_server() as own:
        os.environ["TEMPORAL_ADDRESS"] = own.address
        try:
            yield await connect(30)
        finally:
            del os.environ["TEMPORAL_ADDRESS"]


@contextlib.asynccontextmanager
async def bench(
    client: Client, metrics: str = "none", folder: str = "", root: Path | None = None
) -> AsyncIterator[Bench]:
    """A worker on a queue of its own, of the checkout at `root` if not of this; at the end nothing of it is left."""
    task_queue = f"bench-{metrics}-{uuid.uuid4().hex[:8]}"
    async with worker_process(task_queue, *[folder] * bool(folder), metrics=metrics, root=root) as worker:
        own = Bench(client, task_queue, worker)
        try:
            yield own
        finally:
            await own.sweep()


async def side_by_side(client: Client, options: argparse.Namespace, runs: list[Run]) -> None:
    """The methods next to one another."""
    rounds = int(os.environ.get("BENCH_ROUNDS", "5"))
    async with bench(client) as own:
        await own.warm_up()
        async for run in own.rounds("rounds", rounds, (*WIDTHS, GATHER, FAN_OUT), options.sizes):
            add(runs, run)


async def big(client: Client, options: argparse.Namespace, runs: list[Run]) -> None:
    """Many items next to the base, as children and as activities."""
    rounds = int(os.environ.get("BENCH_BIG_ROUNDS", "1"))
    if options.big:
        async with bench(client) as own:
            await own.warm_up()
            async for run in own.rounds("big", rounds, (FAN_OUT, ACTIVITIES), (BASE, options.big)):
                add(runs, run)


async def from_source(client: Client, options: argparse.Namespace, runs: list[Run]) -> None:
    """One run over a file of so many numbers."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "items.jsonl"
        with file.open("w") as lines:
            lines.writelines(f"{n}\n" for n in range(options.source))
        async with bench(client, folder=folder) as own:
            add(runs, await own.run("source", 0, ACTIVITIES, options.source, str(file)))


async def cost_of_metrics(client: Client, items: int, console: Console) -> None:
    """The CPU of three workers, which differ in their metrics."""
    runs = await in_turn(client, {name: {"metrics": name} for name in METRICS}, "metrics", items)
    cpu = {name: [run.cpu_ms_per_item or float("nan") for run in own] for name, own in runs.items()}
    table = Table("metrics", "worker: CPU ms/child, median (least–most)", "of none, within a round", title="Metrics")
    for name, own in cpu.items():
        table.add_row(name, spread(own), shares(own, cpu["none"]))
    console.print(table)


async def against(client: Client, other: Path, console: Console) -> None:
    """A worker of another checkout next to one of this."""
    runs = await in_turn(client, {"other": {"root": other}, "this": {}}, "against", BASE)
    table = Table("checkout", "items/s, median (least–most)", "of other, within a round", "worker: CPU ms/child")
    rates = {name: [run.rate or float("nan") for run in own] for name, own in runs.items()}
    for name, own in rates.items():
        cpu = spread([run.cpu_ms_per_item or float("nan") for run in runs[name]])
        table.add_row(name, spread(own), shares(own, rates["other"]), cpu)
    console.print(table)


async def in_turn(client: Client, workers: dict[str, dict[str, Any]], part: str, items: int) -> dict[str, list[Run]]:
    """Runs of `fan_out` by several workers, each in each round, in another order each time."""
    benches: dict[str, Bench] = {}
    runs: dict[str, list[Run]] = {name: [] for name in workers}
    async with contextlib.AsyncExitStack() as stack:
        for name, how in workers.items():
            benches[name] = await stack.enter_async_context(bench(client, **how))
            await benches[name].run("warm-up", 0, FAN_OUT, 200)
        for round in range(int(os.environ.get("BENCH_ROUNDS", "5"))):
            for name in list(benches)[:: -1 if round % 2 else 1]:
                run = await benches[name].run(part, round, FAN_OUT, items)
                runs[name].append(run)
                tell(run)
    return runs


def spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def shares(values: list[float], of: list[float]) -> str:
    each = [mine / base for mine, base in zip(values, of, strict=True)]
    return f"{median(each):.3f} ({min(each):.3f}–{max(each):.3f})"


def add(runs: list[Run], run: Run) -> None:
    runs.append(run)
    tell(run)


def tell(run: Run) -> None:
    """A line for each run as it ends: the whole takes a while."""
    rate = "timed out" if run.rate is None else f"{run.rate:.1f}/s"
    line = f"{run.part} {run.round + 1}: {run.items:,} × {run.method}: {rate} after {run.seconds:.1f} s"
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    code: int = ExitCode.RUN_FAILED
    try:
        console = Console(width=None if sys.stdout.isatty() else 180, highlight=False, markup=False)
        code = asyncio.run(main(arguments(), console))
    except SystemExit as wrong_usage:
        code = int(wrong_usage.code or 0)
    except asyncio.CancelledError:
        code = ExitCode.INTERRUPTED
    except BaseException:
        traceback.print_exc()
    end(code)
