"""A worker process: put together, kept up, and taken down without losing work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from temporal_fanout import lab
from temporal_fanout.lab.scenarios import SCENARIOS
from temporal_fanout.lab.workflows.batch_processing import BatchProcessingWorkflow, BatchWorkflow
from temporal_fanout.lab.workflows.child import ChildWorkflow
from temporal_fanout.lab.workflows.compensation import CompensationWorkflow, UndoWorkflow
from temporal_fanout.lab.workflows.conditional import ConditionalWorkflow
from temporal_fanout.lab.workflows.data_transformation import DataTransformationWorkflow
from temporal_fanout.lab.workflows.data_validation import DataValidationWorkflow
from temporal_fanout.lab.workflows.flaky_activity import FlakyActivityWorkflow
from temporal_fanout.lab.workflows.parent import ParentWorkflow
from temporal_fanout.lab.workflows.timed_parent import TimedParentWorkflow
from temporal_fanout.lab.workflows.try_except import TryExceptWorkflow
from temporal_fanout.operations.connect import connect
from temporal_fanout.plugin import Expected, FanOutPlugin
from temporal_fanout.process import health
from temporal_fanout.process.endpoint import Endpoint, metered
from temporal_fanout.process.exit import on_signals, unless

logger = logging.getLogger(__name__)

WORKFLOWS: Sequence[type] = (
    ParentWorkflow, ChildWorkflow, TimedParentWorkflow, TryExceptWorkflow, CompensationWorkflow, UndoWorkflow,
    ConditionalWorkflow, DataValidationWorkflow, DataTransformationWorkflow, BatchProcessingWorkflow, BatchWorkflow,
    FlakyActivityWorkflow,
)  # fmt: skip
"""The lab's: those of the scenarios."""
ACTIVITIES: Sequence[Callable[..., Any]] = (lab.double, lab.flaky)

GRACEFUL_SECONDS = 20.0
"""How long activities may go on after SIGTERM; a pod's grace period is to be longer."""

_LOOK_SECONDS = 5.0
_FIRST_LOOK_SECONDS = 0.2
_ANSWER_SECONDS = 3.0


@dataclass(frozen=True)
class Capacity:
    """What one worker takes on; the defaults are the SDK's."""

    activities: int = 100
    cached_workflows: int = 1000


@dataclass
class Readiness:
    """Whether the worker takes work, and why: for /readyz."""

    ready: bool = False
    reason: str = "starting"

    def check(self) -> tuple[bool, str]:
        return self.ready, self.reason

    def set(self, ready: bool, reason: str) -> None:
        """Says so once in the log when it changes."""
        if ready and not self.ready:
            logger.info("ready")
        elif self.ready and not ready:
            logger.info("not ready", extra={"reason": reason})
        self.ready, self.reason = ready, reason


def make_worker(
    client: Client,
    task_queue: str = lab.TASK_QUEUE,
    source_roots: Sequence[str] = (),
    graceful_seconds: float = GRACEFUL_SECONDS,
    capacity: Capacity = Capacity(),
) -> Worker:
    """The worker of the lab's workflows."""
    expected = [Expected(lab.PARENT, lab.CHILD)]
    expected += [Expected(one.workflow, work, one.name) for one in SCENARIOS.values() for work in one.works]
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=ACTIVITIES,
        plugins=[FanOutPlugin(source_roots, expected)],
        graceful_shutdown_timeout=timedelta(seconds=graceful_seconds),
        max_concurrent_activities=capacity.activities,
        max_cached_workflows=capacity.cached_workflows,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=5),
    )


async def run_worker(
    task_queue: str = lab.TASK_QUEUE,
    source_roots: Sequence[str] = (),
    graceful_seconds: float = GRACEFUL_SECONDS,
    metrics_port: int = health.DEFAULT_PORT,
    capacity: Capacity = Capacity(),
) -> None:
    """Runs until SIGTERM or SIGINT: waits for the server as long as it takes, then works, then drains.

    Serves metrics and health all the while, on any free port if `metrics_port` is 0. Raises `InvalidInput` when the
    port is taken.
    """
    stop = on_signals()
    readiness = Readiness()
    endpoint, core = metered()
    async with health.serve(metrics_port, endpoint.text, readiness.check) as port:
        logger.info("serving /metrics, /livez and /readyz", extra={"port": port})
        while not stop.is_set():
            client = await unless(stop, connect(None, lambda reason: _waiting(readiness, reason), core))
            if client is None:
                return
            where = {"address": client.service_client.config.target_host, "namespace": client.namespace}
            try:
                async with make_worker(client, task_queue, source_roots, graceful_seconds, capacity) as worker:
                    logger.info("worker started", extra=where | {"task_queue": task_queue})
                    watching = asyncio.create_task(_watch(client, worker, endpoint, readiness))
                    await stop.wait()
                    watching.cancel()
                    readiness.set(False, "draining")
                    logger.info("draining", extra={"graceful_seconds": graceful_seconds})
                logger.info("worker stopped")
            except RuntimeError as error:  # the namespace is not there, or the server refuses us: it may yet change
                readiness.set(False, str(error))
                logger.warning("worker could not start, trying again", extra=where | {"reason": str(error)})
                await unless(stop, asyncio.sleep(5))


def _waiting(readiness: Readiness, reason: str) -> None:
    logger.warning(reason)
    readiness.set(False, reason)


async def _watch(client: Client, worker: Worker, endpoint: Endpoint, readiness: Readiness) -> None:
    """Keeps /readyz true: the server answers, and the worker polls it."""
    while True:
        reason = await _why_not(client, worker, endpoint)
        readiness.set(reason is None, reason or "polling")
        await asyncio.sleep(_FIRST_LOOK_SECONDS if not readiness.ready else _LOOK_SECONDS)


async def _why_not(client: Client, worker: Worker, endpoint: Endpoint) -> str | None:
    """Why the worker cannot take work; none if it can."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await client.workflow_service.get_system_info(GetSystemInfoRequest(), retry=False)
    except (RPCError, TimeoutError) as error:
        said = error.message if isinstance(error, RPCError) else "no answer"
        return f"the Temporal server does not answer: {said}"
    if not worker.is_running:
        return "the worker does not run"
    if not await asyncio.to_thread(endpoint.polls):
        return "no poller is open"
    return None
