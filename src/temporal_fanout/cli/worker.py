"""`fanout worker`"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from temporal_fanout import lab, logs
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
    log_level: Annotated[str, typer.Option(envvar="FANOUT_LOG_LEVEL", help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
) -> int:
    """Run a worker until SIGTERM: waits for the server (TEMPORAL_ADDRESS, …), works, then drains."""
    logs.configure(log_level.upper())
    asyncio.run(run_worker(task_queue, source_root or (), graceful_timeout))
    return ExitCode.DONE
