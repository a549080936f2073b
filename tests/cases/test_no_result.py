"""Children and activities that return nothing, as a Go function of only an error does: histories have no result."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest
from temporalio.api.command.v1 import Command, CompleteWorkflowExecutionCommandAttributes
from temporalio.api.enums.v1 import CommandType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollWorkflowTaskQueueRequest,
    RespondActivityTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_fanout import Outcome, retry
from tests import workflows as w
from tests.conftest import Bench
from tests.histories import counted, read


@contextlib.asynccontextmanager
async def completing_without_a_result(client: Client) -> AsyncIterator[str]:
    """A worker of another language: it completes whatever is on its task queue, and gives no result."""
    task_queue = f"q-{uuid.uuid4().hex[:12]}"
    service, namespace, queue = client.workflow_service, client.namespace, TaskQueue(name=task_queue)

    async def workflows() -> None:
        while True:
            with contextlib.suppress(RPCError):
                task = await service.poll_workflow_task_queue(
                    PollWorkflowTaskQueueRequest(namespace=namespace, task_queue=queue)
                )
                complete = Command(
                    command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
                    complete_workflow_execution_command_attributes=CompleteWorkflowExecutionCommandAttributes(),
                )
                if task.task_token:
                    await service.respond_workflow_task_completed(
                        RespondWorkflowTaskCompletedRequest(
                            namespace=namespace, task_token=task.task_token, commands=[complete]
                        )
                    )

    async def activities() -> None:
        while True:
            with contextlib.suppress(RPCError):
                task = await service.poll_activity_task_queue(
                    PollActivityTaskQueueRequest(namespace=namespace, task_queue=queue)
                )
                if task.task_token:
                    await service.respond_activity_task_completed(
                        RespondActivityTaskCompletedRequest(namespace=namespace, task_token=task.task_token)
                    )

    tasks = [asyncio.create_task(one()) for one in (workflows, activities)]
    try:
        yield task_queue
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("work", ["Void", "activity:void"])
@pytest.mark.parametrize("shard_size", [200, 2], ids=["flat", "shards"])
async def test_an_item_without_a_result_has_completed(bench: Bench, client: Client, work: str, shard_size: int) -> None:
    """Its result is null, in the run's result, in histories, and where it is retried."""
    async with completing_without_a_result(client) as task_queue:
        options = {"task_queue": task_queue, "shard_size": shard_size}
        handle = await bench.start(w.Anything.run, work, [1, 2, 3], options)
        result = await handle.result()
        again = await retry(client, handle.id, outcomes=["completed"], options={"shard_size": shard_size})
        retried = await again.result()
    for id, one, values in ((handle.id, result, [1, 2, 3]), (again.id, retried, [3, 2, 1])):
        assert one["outcomes"] == {"completed": 3}
        assert one["successful_results"] == [{"value": value, "result": None} for value in values]
        items = await read(client, id)
        assert counted(items) == {"completed": 3}
        assert [(item.outcome, item.result) for item in items] == [(Outcome.COMPLETED, None)] * 3
