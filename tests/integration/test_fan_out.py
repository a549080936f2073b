"""fan_out, from workflows, on a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError

from tests import workflows as w
from tests.conftest import Bench, until, working

DOCUMENTED = (
    '{"total_children":5,"successful_results":[{"value":1,"result":2},{"value":3,"result":6},{"value":5,"result":10}],'
    '"failed_children":[{"value":2,"error":"Simulated failure for value 2","type":"ApplicationError"},'
    '{"value":4,"error":"Simulated failure for value 4","type":"ApplicationError"}],'
    '"success_count":3,"failure_count":2,"success_rate":0.6,'
)


async def test_the_lab_has_its_documented_result(bench: Bench) -> None:
    """The parent's result for [1,2,3,4,5] starts with the documented shape, to the letter."""
    handle = await bench.start("ParentWorkflow", [1, 2, 3, 4, 5])
    await handle.result()
    history = await handle.fetch_history()
    data = history.events[-1].workflow_execution_completed_event_attributes.result.payloads[0].data.decode()
    assert data.startswith(DOCUMENTED)
    assert json.loads(data)["outcomes"] == {"completed": 3, "failed": 2}


async def test_an_empty_array_has_no_children_and_rate_0(bench: Bench) -> None:
    """No items: no children, and a rate of 0."""
    result = await bench.run("ParentWorkflow", [])
    assert result["total_children"] == 0
    assert result["success_rate"] == 0
    assert result["successful_results"] == result["failed_children"] == []


@pytest.mark.parametrize("work", ["Echo", "activity:double_any"])
@pytest.mark.parametrize(("count", "shard_size"), [(5, 200), (23, 5), (230, 2)], ids=["flat", "shards", "nested"])
async def test_results_keep_the_order_of_the_input(bench: Bench, work: str, count: int, shard_size: int) -> None:
    """Each item has one result, in the order of the input, with children and activities, flat, in shards, nested."""
    values = [value % 7 for value in range(count, 0, -1)]
    result = await bench.run(w.Anything.run, work, values, {"shard_size": shard_size})
    assert result["outcomes"] == {"completed": count}
    assert [entry["value"] for entry in result["successful_results"]] == values
    factor = 2 if work == "activity:double_any" else 1
    assert [entry["result"] for entry in result["successful_results"]] == [value * factor for value in values]


async def test_ids_come_from_the_parent_and_the_index(bench: Bench, client: Client) -> None:
    """Children are {parent}.{index} over all shards, shards {parent}.s{n}, and a shard's shards {shard}.s{n}."""
    handle = await bench.start(w.Anything.run, "Echo", list(range(205)), {"shard_size": 2})
    await handle.result()
    ids = {e.id: e.workflow_type async for e in client.list_workflows(f'WorkflowId STARTS_WITH "{handle.id}."')}
    items = {id for id, type in ids.items() if type == "Echo"}
    shards = {id.removeprefix(handle.id) for id, type in ids.items() if type == "FanOutShard"}
    assert items == {f"{handle.id}.{index}" for index in range(205)}
    assert {".s0", ".s1", ".s0.s0", ".s0.s49", ".s1.s0", ".s2.s0"} <= shards


async def test_several_fan_outs_in_one_parent_have_ids_of_their_own(bench: Bench, client: Client) -> None:
    """Fan-outs of one parent, in turn or at once, named or not, do not collide."""
    handle = await bench.start(w.Several.run)
    assert (await handle.result())["counts"] == [1, 2, 2, 1]
    ids = {e.id.removeprefix(handle.id) async for e in client.list_workflows(f'WorkflowId STARTS_WITH "{handle.id}."')}
    assert ids == {".f2.0", ".f2.1", ".left.0", ".left.1", ".right.0"}


async def test_activities_of_the_parents_own_do_not_collide_with_the_items(bench: Bench) -> None:
    """An activity that the parent has pending, with the SDK's id, leaves those of a fan-out alone."""
    assert (await bench.run(w.Busy.run, [1, 3, 5]))["success_count"] == 3


async def test_a_user_writes_it_with_dataclasses(bench: Bench) -> None:
    """Items may be dataclasses; the child gets its own type, also through shards, and the result is JSON."""
    result = await bench.run(w.Nightly.run, ["ada", "grace", "barbara", "edsger"])
    assert result["successful_results"][1] == {"value": {"customer": "grace", "amount": 5}, "result": "grace: 5"}
    assert result["success_count"] == 4


@pytest.mark.parametrize("shard_size", [1, 200])
async def test_options_reach_the_children(bench: Bench, client: Client, shard_size: int) -> None:
    """Timeout, memo, search attributes, priority and task queue are each child's own, also through shards."""
    async with working(client) as other:
        options = {
            "shard_size": shard_size,
            "timeout": 90,
            "memo": {"team": "billing"},
            "search_attributes": {"Customer": "ada", "Tags": ["a", "b"]},
            "priority": 2,
            "task_queue": other.task_queue,
        }
        result = await bench.run(w.Anything.run, "Describe", [1, 2], options)
    assert result["outcomes"] == {"completed": 2}
    for entry in result["successful_results"]:
        assert entry["result"] == {
            "priority": 2,
            "attempt": 1,
            "memo": {"team": "billing"},
            "attributes": {"Customer": "ada", "Tags": ["a", "b"]},
            "timeout": 90,
            "task_queue": other.task_queue,
        }


async def test_further_arguments_are_given_to_every_item(bench: Bench) -> None:
    """Each child gets its item and then the arguments."""
    result = await bench.run(w.Anything.run, "Echo", [1, 2], {"args": ["x", {"y": None}], "shard_size": 1})
    assert [e["result"] for e in result["successful_results"]] == [[1, "x", {"y": None}], [2, "x", {"y": None}]]


@pytest.mark.parametrize("work", ["FailsTwice", "activity:fails_twice"])
async def test_items_are_retried_as_told(bench: Bench, work: str) -> None:
    """Three attempts complete what fails twice; two do not; a type that is not to be retried ends at once."""
    fast = {"maximum_attempts": 3, "initial_interval": 0.05}
    done = await bench.run(w.Anything.run, work, [1], {"retry": fast})
    assert done["successful_results"][0]["result"] == 3
    short = await bench.run(w.Anything.run, work, [1], {"retry": fast | {"maximum_attempts": 2}})
    assert short["failed_children"] == [{"value": 1, "error": "not yet", "type": "NotYet"}]
    final = await bench.run(w.Anything.run, work, [1], {"retry": fast | {"non_retryable_error_types": ["NotYet"]}})
    assert final["failure_count"] == 1


async def test_a_result_over_its_bytes_is_cut_and_says_so(bench: Bench) -> None:
    """Counts stay whole when entries are left out, in shards and out of them."""
    for shard_size in (10, 200):
        options = {"max_result_bytes": 3000, "shard_size": shard_size, "timeout": 60}
        result = await bench.run(w.Anything.run, "Blob", [500] * 40, options)
        assert result["outcomes"] == {"completed": 40}
        assert result["truncated"] is True
        assert 0 < len(result["successful_results"]) < 10


async def test_large_results_do_not_end_the_parent(bench: Bench, client: Client) -> None:
    """Results of 12 MB in all pass: a history that grows large hands the rest of its items to a fresh shard."""
    options = {"max_concurrency": 4, "max_result_bytes": 1000}
    handle = await bench.start(w.Anything.run, "Blob", [400_000] * 30, options)
    assert (await handle.result())["outcomes"] == {"completed": 30}
    shards = [e async for e in client.list_workflows(f'WorkflowId STARTS_WITH "{handle.id}.s"')]
    assert shards
    for id in [handle.id, *(shard.id for shard in shards)]:
        history = await client.get_workflow_handle(id).fetch_history()
        assert sum(event.ByteSize() for event in history.events) < 10_000_000


async def test_large_items_do_not_end_the_parent(bench: Bench) -> None:
    """Items of 3.5 MB in all are started in steps that the server takes, flat and in shards."""
    for shard_size in (10, 200):
        result = await bench.run(w.Large.run, 35, 100_000, {"max_result_bytes": 1000, "shard_size": shard_size})
        assert result["outcomes"] == {"completed": 35}


async def test_cancelling_the_parent_cancels_its_children(bench: Bench, client: Client) -> None:
    """A cancelled parent ends as cancelled, and so does every child of every shard that it had started."""
    for shard_size in (5, 200):
        handle = await bench.start(w.Anything.run, "Sleep", [600] * 20, {"shard_size": shard_size})
        query = f'WorkflowId STARTS_WITH "{handle.id}." AND WorkflowType="Sleep"'

        async def count(extra: str, query: str = query) -> int:
            return (await client.count_workflows(query + extra)).count

        await until(lambda: _equals(count(""), 20), "twenty children")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, CancelledError)
        await until(lambda: _equals(count(' AND ExecutionStatus="Canceled"'), 20), "twenty cancelled children")


async def test_a_child_that_starts_while_its_parent_is_cancelled_hears_of_it(bench: Bench, client: Client) -> None:
    """A cancellation in the middle of many starts: every child that starts after it is cancelled, none terminated."""
    handle = await bench.start(w.Anything.run, "Sleep", [600] * 60, {})

    async def some_have_started() -> bool:
        return len((await handle.describe()).raw_description.pending_children) > 0

    await until(some_have_started, "the first children")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    late = cancelled = 0
    requested = False
    async for event in handle.fetch_history_events():
        requested |= event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
        late += requested and event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED
        cancelled += event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED
    assert late > 0
    assert cancelled == 60


async def _equals(count: Any, wanted: int) -> bool:
    return bool(await count == wanted)


async def test_a_parent_can_compensate_after_a_breach(bench: Bench) -> None:
    """ToleratedFailureExceeded carries what had completed, over which the parent fans out again."""
    result = await bench.run(w.Compensating.run, [1, 3, 2, 4, 6, 8, 5, 7, 9])
    assert result["undone"][:2] == [1, 3]
    assert result["breach"]["failure_count"] >= 2
