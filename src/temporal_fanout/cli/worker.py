"""`fanout worker`"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from temporal_fanout import lab, logs
from temporal_fanout.cli.output import LogLevel, MetricsPort
from temporal_fanout.health import DEFAULT_PORT
from temporal_fanout.logs import Level
from temporal_fanout.process import ExitCode
from temporal_fanout.worker import GRACEFUL_SECONDS, run_worker


def worker(
    task_queue: Annotated[str, typer.Option(envvar="FANOUT_TASK_QUEUE", help="The queue to poll.")] = lab.TASK_QUEUE,
    source_root: Annotated[
        list[str] | None,
        typer.Option(
            envvar="FANOUT_SOURCE_ROOTS", help="An address below which sources may be read, as /data; repeatable."
        ),
    ] = None,
    graceful_timeout: Annotated[
        float, typer.Option(envvar="FANOUT_GRACEFUL_TIMEOUT", min=0, help="Seconds that activities have after SIGTERM.")
    ] = GRACEFUL_SECONDS,
    metrics_port: MetricsPort = DEFAULT_PORT,
    log_level: LogLevel = Level.INFO,
) -> int:
    """Run a worker until SIGTERM: waits for the server (TEMPORAL_ADDRESS, …), works, then drains."""
    logs.configure(log_level)
    asyncio.run(run_worker(task_queue, source_root or (), graceful_timeout, metrics_port))
    return ExitCode.DONE
