"""Shards whose histories are gone before their parent's, as retention removes them: their results must do."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode

from temporal_fanout import InvalidInput, ItemOutcome, Outcome, retry
from temporal_fanout.operations.connect import connect
from temporal_fanout.process.devserver import DevServer
from tests import workflows as w
from tests.conftest import Bench, until
from tests.histories import counted, read, read_run, value, working_for_all
from tests.integration.test_history import Zip
from tests.processes import fanout


@pytest.fixture
async def bench(client: Client) -> AsyncIterator[Bench]:
    async with working_for_all(client) as bench:
        yield bench


async def delete(client: Client, *ids: str) -> None:
    """Removes histories, as retention does."""
    for id in ids:
        execution = WorkflowExecution(workflow_id=id)
        request = DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
        await client.workflow_service.delete_workflow_execution(request)
    for id in ids:

        async def is_gone(id: str = id) -> bool:
            try:
                await client.get_workflow_handle(id).fetch_history()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                return True
            return False

        await until(is_gone, f"the deletion of {id}")


async def flaky(bench: Bench, items: Any, **options: Any) -> WorkflowHandle[Any, Any]:
    """A run that has ended, over children of which those of a multiple of three complete."""
    handle = await bench.start(w.Anything.run, "Flaky", items, options)
    await handle.result()
    return handle


def told(items: list[ItemOutcome]) -> list[Any]:
    """What is known of each item without its own history."""
    return [
        (i.index, i.child_id, i.child_type, i.outcome, i.error, i.type, i.inputs, i.result, i.fan_out) for i in items
    ]


async def test_items_are_known_from_the_results_of_their_shards(
    bench: Bench, server: DevServer, client: Client
) -> None:
    """Each has index, input, outcome, cause and result as before, and is marked; the rest is as ever."""
    handle = await flaky(bench, list(range(40)), shard_size=10, args=["more"], name="acts")
    before = await read(client, handle.id)
    await delete(client, f"{handle.id}.acts.s1", f"{handle.id}.acts.s3")
    run, items = await read_run(client, handle)
    assert told(items) == told(before)
    assert [item.index for item in items if item.from_result] == [*range(10, 20), *range(30, 40)]
    assert (run.lost_shards, run.lost_items, run.settled, run.rest_known) == (2, 20, True, True)
    listed = await fanout("results", handle.id, address=server.address)
    assert "20 items of 2 shards are known from their results only: their histories are gone" in listed.err
    assert "40 items: 14 completed, 26 failed" in listed.err
    rows = [json.loads(line) for line in listed.out.splitlines()]
    assert [row["index"] for row in rows if row["from_result"]] == [*range(10, 20), *range(30, 40)]


@pytest.mark.parametrize("kind", ["list", "source"])
async def test_they_are_retried_as_they_were_started(bench: Bench, client: Client, kind: str) -> None:
    """With their inputs, of a list and of a source, their arguments, memo, time limit and queue."""
    items = list(range(20)) if kind == "list" else {"activity": "numbers", "args": [20]}
    how = {"args": ["more"], "memo": {"m": [1]}, "timeout": 45, "priority": 2, "search_attributes": {"Customer": "c"}}
    handle = await flaky(bench, items, shard_size=5, **how)
    await delete(client, *(f"{handle.id}.s{n}" for n in range(4)))
    assert {value(item.inputs[0]) for item in await read(client, handle.id)} == set(range(20))
    result = await (await retry(client, handle.id, indexes=["5-9"])).result()
    assert result["outcomes"] == {"completed": 1, "failed": 2}
    [good] = result["successful_results"]
    assert good["result"] == {
        "item": 7, "more": ["more"], "memo": {"m": [1]}, "timeout": 45.0, "attributes": {"Customer": "c"},
        "task_queue": bench.task_queue, "priority": 2,
    }  # fmt: skip


async def test_what_a_cut_result_does_not_name_has_completed_where_nothing_else_can_be(
    bench: Bench, client: Client
) -> None:
    """Its failures are all named, so every other item is known to have completed, without its result."""
    items = [{"fails": int(n == 3), "pad": "x" * 300} for n in range(20)]
    handle = await flaky(bench, items, shard_size=10, max_result_bytes=1500)
    before = await read(client, handle.id)
    await delete(client, f"{handle.id}.s0")
    items_after = await read(client, handle.id)
    assert [(i.index, i.outcome, i.inputs) for i in items_after] == [(i.index, i.outcome, i.inputs) for i in before]
    assert any(item.from_result and item.result is None for item in items_after if item.outcome == "completed")


async def test_what_no_result_names_is_counted(bench: Bench, server: DevServer, client: Client) -> None:
    """Of items of several outcomes that were cut off only the counts are known; they have no index, and no retry."""
    items = [{"fails": n % 2, "n": n} for n in range(40)]
    handle = await flaky(bench, items, shard_size=20, max_result_bytes=1000)
    await delete(client, f"{handle.id}.s1")
    run, found = await read_run(client, handle)
    assert counted(found) == {"completed": 20, "failed": 20}
    unnamed = Counter(item.outcome for item in found if item.is_unnamed)
    assert unnamed[Outcome.FAILED] > 0
    assert unnamed[Outcome.COMPLETED] > 0
    named = [item.index for item in found if item.index is not None]
    assert len(set(named)) == len(named) == 40 - unnamed.total()
    assert run.lost_items == 20
    with pytest.raises(InvalidInput, match=f"{handle.id}.s1: the history of this shard is gone, and its result does"):
        await retry(client, handle.id)
    result = await (await retry(client, handle.id, indexes=["0-19"])).result()
    assert result["outcomes"] == {"completed": 10}
    merged = await fanout("results", handle.id, "--merged", address=server.address)
    assert merged.code == 0, merged.err  # what was retried is of the other shard
    rows = [json.loads(line) for line in merged.out.splitlines()]
    assert Counter(row["outcome"] for row in rows) == {"completed": 30, "failed": 10}
    assert sum(row["index"] is None for row in rows) == unnamed.total()


async def test_a_lost_shard_without_a_result_ended_as_its_parent_says(bench: Bench, client: Client) -> None:
    """Terminated and deleted, all its items are terminated, as the run's result counts them."""
    handle = await bench.start(w.Anything.run, "Act", ["complete", "sleep"] * 4, {"shard_size": 4, "timeout": 60})

    async def runs() -> bool:
        return counted(await read(client, handle.id)) == {"completed": 4, "running": 4}

    await until(runs, "four sleeping children")
    await client.get_workflow_handle(f"{handle.id}.s0").terminate()
    for index in (5, 7):
        await client.get_workflow_handle(f"{handle.id}.{index}").cancel()
    result = await handle.result()
    assert result["outcomes"] == {"completed": 2, "cancelled": 2, "terminated": 4}
    await delete(client, f"{handle.id}.s0")
    items = await read(client, handle.id)
    assert counted(items) == result["outcomes"]
    assert [item.outcome for item in items if item.from_result] == [Outcome.TERMINATED] * 4
    assert [item.index for item in items] == list(range(8))


async def test_with_a_codec_they_are_as_ever_and_without_it_one_error_says_so(
    server: DevServer, client: Client
) -> None:
    """What is read of results and inputs is encoded again, as it stands in histories; a retry decodes it."""
    converter = dataclasses.replace(DataConverter.default, payload_codec=Zip())
    coded = await connect(30, target_host=server.address, data_converter=converter)
    async with working_for_all(coded) as bench:
        handle = await flaky(bench, list(range(12)), shard_size=4, args=["more"])
        before = await read(coded, handle.id)
        await delete(client, f"{handle.id}.s1")
        assert told(await read(coded, handle.id)) == told(before)
        with pytest.raises(InvalidInput, match="instead of JSON: is a codec missing"):
            await read(client, handle.id)
        result = await (await retry(coded, handle.id, indexes=["4-7"])).result()
        assert result["outcomes"] == {"completed": 2, "failed": 1}
