"""`fanout worker`"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from temporal_fanout import lab
from temporal_fanout.cli.output import LogLevel, MetricsPort
from temporal_fanout.lab.worker import GRACEFUL_SECONDS, Capacity, run_worker
from temporal_fanout.process import logs
from temporal_fanout.process.exit import ExitCode
from temporal_fanout.process.health import DEFAULT_PORT
from temporal_fanout.process.logs import Level


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
    max_concurrent_activities: Annotated[
        int, typer.Option(envvar="FANOUT_MAX_CONCURRENT_ACTIVITIES", min=1, help="Activities at once, at most.")
    ] = Capacity.activities,
    max_cached_workflows: Annotated[
        int, typer.Option(envvar="FANOUT_MAX_CACHED_WORKFLOWS", min=0, help="Workflows kept in memory, at most.")
    ] = Capacity.cached_workflows,
    metrics_port: MetricsPort = DEFAULT_PORT,
    log_level: LogLevel = Level.INFO,
) -> int:
    """Run a worker until SIGTERM: waits for the server (TEMPORAL_ADDRESS, …), works, then drains."""
    logs.configure(log_level)
    capacity = Capacity(max_concurrent_activities, max_cached_workflows)
    asyncio.run(run_worker(task_queue, source_root or (), graceful_timeout, metrics_port, capacity))
    return ExitCode.DONE
