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
from pathlib import Path

from rich.console import Console

from benchmarks.measure import ACTIVITIES, BASE, FAN_OUT, GATHER, WIDTHS, Bench, Run
from benchmarks.report import Report, machine
from benchmarks.worker import worker_process
from temporal_fanout.client import connect
from temporal_fanout.devserver import dev_server
from temporal_fanout.process import ExitCode, end


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench", description="Measures fan_out next to what there is without it."
    )
    parser.add_argument("--name", help="of the file in benchmarks/results; default: dev-server, or source")
    parser.add_argument("--sizes", type=_sizes, default=[500, 1000, 2000], help="children of a run: 500,1000,2000")
    parser.add_argument("--big", type=int, default=10000, help="children, then activities, of the big run; 0 is none")
    parser.add_argument("--source", type=int, metavar="N", help="instead, once N activities from a file of N lines")
    return parser.parse_args()


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",")]


async def main(options: argparse.Namespace, console: Console) -> int:
    task = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):  # both leave nothing behind: no workflow, worker or server
        asyncio.get_running_loop().add_signal_handler(number, lambda: task and task.cancel())
    async with contextlib.AsyncExitStack() as stack:
        if not os.environ.get("TEMPORAL_ADDRESS"):
            server = await stack.enter_async_context(dev_server())
            os.environ["TEMPORAL_ADDRESS"] = server.address
        client = await connect(30)
        task_queue = f"bench-{uuid.uuid4().hex[:8]}"
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        worker = await stack.enter_async_context(worker_process(task_queue, folder))
        bench = Bench(client, task_queue, worker)
        stack.push_async_callback(bench.sweep)

        if options.source:
            runs = [await from_source(bench, options.source, Path(folder))]
        else:
            runs = await all_rounds(bench, options)
        report = Report(await machine(client), runs)
        report.show(console)
        name = options.name or ("source" if options.source else "dev-server")
        console.print(f"written: {report.write(name)}")
        return ExitCode.RUN_FAILED if options.source and runs[0].timed_out else ExitCode.DONE


async def all_rounds(bench: Bench, options: argparse.Namespace) -> list[Run]:
    """The methods next to one another; then many items next to the base, as children and as activities."""
    await bench.warm_up()
    rounds = int(os.environ.get("BENCH_ROUNDS", "5"))
    runs = await bench.rounds("rounds", rounds, (*WIDTHS, GATHER, FAN_OUT), options.sizes, tell)
    if options.big:
        rounds = int(os.environ.get("BENCH_BIG_ROUNDS", "1"))
        runs += await bench.rounds("big", rounds, (FAN_OUT, ACTIVITIES), (BASE, options.big), tell)
    return runs


async def from_source(bench: Bench, items: int, folder: Path) -> Run:
    """One run over a file of so many numbers."""
    file = folder / "items.jsonl"
    with file.open("w") as lines:
        lines.writelines(f"{n}\n" for n in range(items))
    run = await bench.run("source", 0, ACTIVITIES, items, str(file))
    tell(run)
    return run


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
