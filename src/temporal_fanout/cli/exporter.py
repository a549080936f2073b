"""`fanout exporter`"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from temporal_fanout import lab
from temporal_fanout.cli.output import LogLevel, MetricsPort
from temporal_fanout.exporter.exporter import INTERVAL_SECONDS, run_exporter
from temporal_fanout.process import logs
from temporal_fanout.process.exit import ExitCode
from temporal_fanout.process.health import DEFAULT_PORT
from temporal_fanout.process.logs import Level


def exporter(
    parent_type: Annotated[
        list[str] | None,
        typer.Option(
            envvar="FANOUT_PARENT_TYPES",
            help=f"A workflow whose runs are counted; repeatable. [default: {lab.PARENT}]",
        ),
    ] = None,
    task_queue: Annotated[
        list[str] | None,
        typer.Option(help="A queue to watch, beside those of recent runs; repeatable."),
    ] = None,
    interval: Annotated[float, typer.Option(min=1, help="Seconds between two sweeps.")] = INTERVAL_SECONDS,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the counters are kept over a restart.")
    ] = None,
    metrics_port: MetricsPort = DEFAULT_PORT,
    log_level: LogLevel = Level.INFO,
) -> int:
    """Export the truth until SIGTERM: outcomes from the histories of closed runs, and what is open. One a namespace."""
    logs.configure(log_level)
    asyncio.run(run_exporter(parent_type or [lab.PARENT], task_queue or (), interval, state, metrics_port))
    return ExitCode.DONE
