"""A worker process: put together, kept up, and taken down without losing work."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from temporal_fanout import lab
from temporal_fanout.client import connect
from temporal_fanout.plugin import FanOutPlugin
from temporal_fanout.workflows.child import ChildWorkflow
from temporal_fanout.workflows.parent import ParentWorkflow

logger = logging.getLogger(__name__)

GRACEFUL_SECONDS = 20.0
"""How long activities may go on after SIGTERM; a pod's grace period is to be longer."""


def make_worker(
    client: Client,
    task_queue: str = lab.TASK_QUEUE,
    source_roots: Sequence[str] = (),
    graceful_seconds: float = GRACEFUL_SECONDS,
) -> Worker:
    """The worker of the lab's workflows."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[ParentWorkflow, ChildWorkflow],
        activities=[lab.double],
        plugins=[FanOutPlugin(source_roots)],
        graceful_shutdown_timeout=timedelta(seconds=graceful_seconds),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=5),
    )


def on_signals() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets: Python's own handling would end the process with work in hand."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def run_worker(
    task_queue: str = lab.TASK_QUEUE,
    source_roots: Sequence[str] = (),
    graceful_seconds: float = GRACEFUL_SECONDS,
) -> None:
    """Runs until SIGTERM or SIGINT: waits for the server as long as it takes, then works, then drains."""
    stop = on_signals()
    while not stop.is_set():
        connecting = asyncio.create_task(connect(None, logger.warning))
        if not await _unless(stop, connecting):
            return
        client = connecting.result()
        where = {"address": client.service_client.config.target_host, "namespace": client.namespace}
        try:
            async with make_worker(client, task_queue, source_roots, graceful_seconds):
                logger.info("worker started", extra=where | {"task_queue": task_queue})
                await stop.wait()
                logger.info("draining", extra={"graceful_seconds": graceful_seconds})
            logger.info("worker stopped")
        except RuntimeError as error:  # the namespace is not there, or the server refuses us: it may yet change
            logger.warning("worker could not start, trying again", extra=where | {"reason": str(error)})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 5)


async def _unless(stop: asyncio.Event, task: asyncio.Task[Client]) -> bool:
    """Waits for the task, or for `stop`, which ends it; returns whether the task came first."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        task.cancel()
        return False
    return True
