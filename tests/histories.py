"""Reading histories in tests: a worker that knows every parent, and outcomes as tests compare them."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.run import RunHistory, outcomes
from temporal_fanout.lab.workflows.child import ChildWorkflow
from temporal_fanout.lab.workflows.parent import ParentWorkflow
from temporal_fanout.plugin import FanOutPlugin
from tests import parents as p
from tests import workflows as w
from tests.conftest import Bench, until


@contextlib.asynccontextmanager
async def working_for_all(client: Client, plugin: bool = True) -> AsyncIterator[Bench]:
    """A worker that also knows the parents that are not ours; without the plugin, it knows nothing of this package."""
    task_queue = f"q-{uuid.uuid4().hex[:12]}"
    async with Worker(
        client,
        task_queue=task_queue,
        workflows=[ParentWorkflow, ChildWorkflow, *w.WORKFLOWS, *p.WORKFLOWS],
        activities=[*w.ACTIVITIES, *p.ACTIVITIES],
        plugins=[FanOutPlugin()] if plugin else [],
    ):
        yield Bench(client, task_queue)


async def read(client: Client, id: str, run_id: str | None = None) -> list[ItemOutcome]:
    """The outcomes of a workflow, through its whole chain of runs."""
    return [item async for item in outcomes(client, id, run_id)]


async def read_run(client: Client, handle: WorkflowHandle[Any, Any]) -> tuple[RunHistory, list[ItemOutcome]]:
    """The first run of a workflow, and its outcomes."""
    run = RunHistory(client, handle.id, handle.first_execution_run_id or "")
    return run, [item async for item in run.outcomes()]


def counted(items: Iterable[ItemOutcome]) -> dict[str, int]:
    """Items by outcome; those that have none run."""
    return dict(Counter(str(item.outcome or "running") for item in items))


async def until_counted(client: Client, id: str, **counts: int) -> None:
    """Waits until the children of an open workflow have these outcomes, and those without one are seen to run."""

    async def is_so() -> bool:
        items = await read(client, id)
        return counted(items) == counts and all(item.run_id for item in items)

    await until(is_so, f"{counts} of {id}")


def value(payload: Payload | None) -> Any:
    """A payload of JSON."""
    return None if payload is None else json.loads(payload.data)
