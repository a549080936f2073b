"""A run that was reset: the children of before are open under their ids, and the items are started under others."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle

from tests import workflows as w
from tests.conftest import Bench, until
from tests.histories import counted, read, working_for_all

_FIRST_TASK = 3
"""The event that ended the first workflow task, or rather began it, as the server counts it for a reset."""


@pytest.fixture
async def bench(client: Client) -> AsyncIterator[Bench]:
    async with working_for_all(client) as bench:
        yield bench


async def reset(client: Client, id: str) -> WorkflowHandle[Any, Any]:
    """Starts a run anew from its first workflow task, and returns the new run."""
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=id),
        workflow_task_finish_event_id=_FIRST_TASK + 1,
        request_id=uuid.uuid4().hex,
        reason="a test",
    )
    answer = await client.workflow_service.reset_workflow_execution(request)
    return client.get_workflow_handle(id, run_id=answer.run_id)


@pytest.mark.parametrize(("count", "shard_size"), [(5, 200), (12, 4)], ids=["flat", "shards"])
async def test_every_item_of_a_reset_run_has_one_outcome(
    bench: Bench, client: Client, count: int, shard_size: int
) -> None:
    """No item fails since its id is taken; each is listed once, in its place, as the result has it."""
    handle = await bench.start(w.Anything.run, "Sleep", [4.0] * count, {"shard_size": shard_size})

    async def runs() -> bool:
        items = await read(client, handle.id)
        return len(items) == count and all(item.run_id for item in items)

    await until(runs, "every child")
    again = await reset(client, handle.id)
    result = await again.result()
    assert result["outcomes"] == {"completed": count}
    items = await read(client, handle.id)
    assert counted(items) == result["outcomes"]
    assert [item.index for item in items] == list(range(count))
    assert all(item.child_id in (f"{handle.id}.{n}", f"{handle.id}.{n}.a2") for n, item in enumerate(items))
    assert any(item.child_id.endswith(".a2") for item in items)


async def test_a_shard_that_was_reset_is_read_once(bench: Bench, client: Client) -> None:
    """One shard alone: its items are those of its new run."""
    handle = await bench.start(w.Anything.run, "Sleep", [4.0] * 6, {"shard_size": 3})

    async def runs() -> bool:
        items = await read(client, handle.id)
        return len(items) == 6 and all(item.run_id for item in items)

    await until(runs, "every child")
    await reset(client, f"{handle.id}.s1")
    await handle.result()
    items = await read(client, f"{handle.id}.s1")
    assert [item.index for item in items] == [3, 4, 5]
    assert counted(items) == {"completed": 3}
