"""Outcomes from the histories of any parent, on a real server."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.service import RPCError

from temporal_fanout.histories import workflow as history
from temporal_fanout.histories.events import HistoryGone, read_events
from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.run import READ_AHEAD, outcomes
from temporal_fanout.operations.connect import connect
from temporal_fanout.process.devserver import DevServer
from temporal_fanout.results import Outcome
from tests import parents as p
from tests import workflows as w
from tests.conftest import Bench, until
from tests.histories import counted, read, read_run, until_counted, value, working_for_all


@pytest.fixture
async def bench(client: Client) -> AsyncIterator[Bench]:
    async with working_for_all(client) as bench:
        yield bench


def places(items: Sequence[ItemOutcome]) -> list[int | None]:
    return [item.index for item in items]


@pytest.mark.parametrize("shard_size", [200, 2], ids=["flat", "shards"])
async def test_every_outcome_of_a_child_is_as_the_result_has_it(bench: Bench, client: Client, shard_size: int) -> None:
    """Outcome, error, type, value and result of each item are those of the run's own result, for every outcome."""
    whats = ["complete", "fail", "activity", "sleep", "sleep", "sleep"]
    options = {"timeout": 8, "shard_size": shard_size, "name": "acts"}
    handle = await bench.start(w.Anything.run, "Act", whats, options)
    await until_counted(client, handle.id, completed=1, failed=2, running=3)
    await client.get_workflow_handle(f"{handle.id}.acts.3").cancel()
    await client.get_workflow_handle(f"{handle.id}.acts.4").terminate("by hand")
    result = await handle.result()
    items = await read(client, handle.id)
    assert counted(items) == result["outcomes"] == {
        "completed": 1, "failed": 2, "cancelled": 1, "terminated": 1, "timed_out": 1,
    }  # fmt: skip
    assert places(items) == list(range(6))
    assert [value(item.inputs[0]) for item in items] == whats
    assert [item.child_id for item in items] == [f"{handle.id}.acts.{n}" for n in range(6)]
    assert {item.child_type for item in items} == {"Act"}
    assert {item.fan_out for item in items} == {"acts"}
    assert {item.task_queue for item in items} == {bench.task_queue}
    assert value(items[0].result) == "COMPLETE"
    failed = [{"value": value(i.inputs[0]), "error": i.error, "type": i.type} for i in items[1:]]
    assert failed == result["failed_children"]
    assert 7 < (items[5].seconds or 0) < 20
    assert all(item.started_at and item.run_id for item in items)


@pytest.mark.parametrize("shard_size", [200, 1], ids=["flat", "shards"])
async def test_every_outcome_of_an_activity_is_as_the_result_has_it(
    bench: Bench, client: Client, shard_size: int
) -> None:
    """The same for a fan-out over an activity, whose child types are marked as such."""
    whats = ["complete", "fail", "sleep"]
    handle = await bench.start(w.Anything.run, "activity:act", whats, {"timeout": 4, "shard_size": shard_size})
    result = await handle.result()
    items = await read(client, handle.id)
    assert counted(items) == result["outcomes"] == {"completed": 1, "failed": 1, "timed_out": 1}
    assert places(items) == [0, 1, 2]
    assert [item.child_id for item in items] == [f"{handle.id}.{index}" for index in range(3)]
    assert {item.child_type for item in items} == {"activity:act"}
    failed = [{"value": value(i.inputs[0]), "error": i.error, "type": i.type} for i in items[1:]]
    assert failed == result["failed_children"]


@pytest.mark.parametrize(("count", "shard_size"), [(23, 5), (230, 2)], ids=["shards", "nested"])
@pytest.mark.parametrize("work", ["ChildWorkflow", "activity:double"])
async def test_shards_are_read_in_the_order_of_the_input(
    bench: Bench, client: Client, work: str, count: int, shard_size: int
) -> None:
    """Items of shards, and of shards of shards, come in the order of the input, and add up to the run's result."""
    values = [7 * n % 11 for n in range(count)]
    handle = await bench.start(w.Anything.run, work, values, {"shard_size": shard_size})
    result = await handle.result()
    items = await read(client, handle.id)
    assert counted(items) == result["outcomes"]
    assert places(items) == list(range(count))
    assert [value(item.inputs[0]) for item in items] == values
    assert [item.index for item in items if item.outcome is not Outcome.COMPLETED] == result["failed_indexes"]


async def test_shards_are_read_ahead_a_few_at_a_time(bench: Bench, client: Client, monkeypatch: Any) -> None:
    """However slowly the items are taken, no more histories are held than the bound says."""
    handle = await bench.start(w.Anything.run, "activity:double_any", list(range(24)), {"shard_size": 2})
    await handle.result()
    begun: list[str] = []

    async def counting(client: Client, id: str, run_id: str) -> Any:
        begun.append(id)
        return await read_events(client, id, run_id)

    monkeypatch.setattr(history, "read_events", counting)
    taken = 0
    async for _ in outcomes(client, handle.id):
        await asyncio.sleep(0.02)
        taken += 1
        assert len(begun) <= 1 + taken // 2 + READ_AHEAD
    assert (taken, len(begun)) == (24, 13)


@pytest.mark.parametrize("shard_size", [200, 7], ids=["flat", "shards"])
async def test_reading_a_source_is_no_item(bench: Bench, client: Client, shard_size: int) -> None:
    """The activities that survey a source and read its pages are left out, although their ids look like an item's."""
    source = {"activity": "numbers", "args": [30]}
    handle = await bench.start(w.Anything.run, "activity:double_any", source, {"shard_size": shard_size})
    result = await handle.result()
    items = await read(client, handle.id)
    assert counted(items) == result["outcomes"] == {"completed": 30}
    assert places(items) == [value(item.inputs[0]) for item in items] == list(range(30))


@pytest.mark.parametrize("shard_size", [200, 10], ids=["flat", "shards"])
@pytest.mark.parametrize("kind", ["list", "source"])
async def test_what_a_breach_left_is_not_started(bench: Bench, client: Client, kind: str, shard_size: int) -> None:
    """The counts equal those of the failure's details; what was not started has its place, and its input if listed."""
    items = {"activity": "numbers", "args": [60]} if kind == "source" else list(range(60))
    options = {"shard_size": shard_size, "max_concurrency": 4, "tolerated_failure_count": 2}
    handle = await bench.start(w.Anything.run, "ChildWorkflow", items, options)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    details = caught.value.cause.details[0]  # type: ignore[attr-defined]
    run, found = await read_run(client, handle)
    assert counted(found) == details["outcomes"]
    assert details["outcomes"]["not_started"] > 20
    assert places(found) == list(range(60))
    left = [item for item in found if item.outcome is Outcome.NOT_STARTED]
    assert [item.child_id for item in left] == [f"{handle.id}.{item.index}" for item in left]
    assert {item.child_type for item in left} == {"ChildWorkflow"}
    if kind == "list":
        assert [value(item.inputs[0]) for item in left] == places(left)
    assert run.outcome is Outcome.FAILED
    assert run.settled
    assert run.rest_known


@pytest.mark.parametrize("shard_size", [200, 4], ids=["flat", "shards"])
async def test_a_terminated_parent_has_an_outcome_for_every_item(bench: Bench, client: Client, shard_size: int) -> None:
    """What ran is terminated, asked of the children themselves; what had not been started is known from the input."""
    whats = ["complete", "fail", "sleep"] * 6
    handle = await bench.start(w.Anything.run, "Act", whats, {"shard_size": shard_size, "max_concurrency": 5})
    await until_counted(client, handle.id, completed=5, failed=5, running=5)
    await handle.terminate()

    async def settled() -> Any:
        run, items = await read_run(client, handle)
        return run.settled and (run, items)

    run, items = await until(settled, "the end of its children")
    assert run.outcome is Outcome.TERMINATED
    assert counted(items) == {"completed": 5, "failed": 5, "terminated": 5, "not_started": 3}
    assert places(items) == list(range(18))
    assert [value(item.inputs[0]) for item in items] == whats
    assert run.rest_known


async def test_the_items_of_a_terminated_shard_are_read_from_its_own_history(bench: Bench, client: Client) -> None:
    """The run's result knows only that the shard was lost; the histories know each of its items."""
    whats = ["complete", "sleep", "sleep", "fail", "complete", "complete", "complete", "complete"]
    options = {"shard_size": 4, "max_concurrency": 4, "timeout": 60}
    handle = await bench.start(w.Anything.run, "Act", whats, options)

    async def is_half_way() -> bool:
        shard = (await read(client, handle.id))[:4]
        return counted(shard) == {"completed": 1, "failed": 1, "running": 2} and all(item.run_id for item in shard)

    await until(is_half_way, "two sleeping children")
    await client.get_workflow_handle(f"{handle.id}.s0").terminate()
    result = await handle.result()
    assert result["outcomes"] == {"terminated": 4, "completed": 4}

    async def settled() -> Any:
        run, items = await read_run(client, handle)
        return run.settled and items

    items = await until(settled, "the end of its children")
    assert [str(item.outcome) for item in items] == [
        "completed", "terminated", "terminated", "failed", *["completed"] * 4,
    ]  # fmt: skip


@pytest.mark.parametrize("shard_size", [200, 4], ids=["flat", "shards"])
async def test_what_a_cancelled_parent_never_started_is_reported(bench: Bench, client: Client, shard_size: int) -> None:
    """A cancelled run ends with cancelled items, and those that it had not come to."""
    handle = await bench.start(w.Anything.run, "Act", ["sleep"] * 10, {"shard_size": shard_size, "max_concurrency": 3})
    await until_counted(client, handle.id, running=3)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    run, items = await read_run(client, handle)
    assert run.outcome is Outcome.CANCELLED
    assert counted(items) == {"cancelled": 3, "not_started": 7}
    assert places(items) == list(range(10))


async def test_a_running_parent_shows_what_runs_and_what_waits(bench: Bench, client: Client) -> None:
    """Of an open run, items that run have no outcome yet, and those that wait are counted, through shards."""
    options = {"shard_size": 4, "max_concurrency": 3}
    handle = await bench.start(w.Anything.run, "Act", ["complete", "sleep"] * 6, options)
    await until_counted(client, handle.id, completed=3, running=3)
    run, items = await read_run(client, handle)
    assert run.waiting == 6
    assert not run.closed
    assert not run.settled
    assert all(item.started_at and item.seconds is None for item in items if item.outcome is None)
    await handle.terminate()


async def test_a_run_that_no_worker_took_has_started_nothing(bench: Bench, client: Client) -> None:
    """The lab's parent says in its input what it would have started."""
    handle = await client.start_workflow("ParentWorkflow", args=[[1, 2]], id=uuid.uuid4().hex, task_queue="nobody")
    run, items = await read_run(client, handle)
    assert (run.waiting, items) == (2, [])
    await handle.terminate()
    run, items = await read_run(client, handle)
    assert [(item.child_id, item.child_type, item.outcome) for item in items] == [
        (f"{handle.id}.{n}", "ChildWorkflow", Outcome.NOT_STARTED) for n in (0, 1)
    ]


async def test_a_rest_that_nothing_tells_of_is_said_to_be_unknown(bench: Bench, client: Client) -> None:
    """A parent that makes its list itself and is terminated: no one knows how many items it would have had."""
    handle = await bench.start(w.Large.run, 3, 10, {"max_concurrency": 1})
    await handle.result()
    run, items = await read_run(client, handle)
    assert run.rest_known
    assert counted(items) == {"completed": 3}
    handle = await bench.start(p.Besides.run, 2000)

    async def some() -> bool:
        return len((await read_run(client, handle))[1]) > 3

    await until(some, "some items")
    await handle.terminate()
    run, items = await read_run(client, handle)
    assert not run.rest_known


async def test_a_foreign_parent_is_read_like_ours(bench: Bench, client: Client) -> None:
    """Children of a plain gather, with every outcome; they have no index."""
    whats = ["complete", "fail", "activity", "sleep", "sleep", "sleep"]
    handle = await bench.start(p.Gather.run, whats, 8)
    await until_counted(client, handle.id, completed=1, failed=2, running=3)
    await client.get_workflow_handle(f"{handle.id}-child-3").cancel()
    await client.get_workflow_handle(f"{handle.id}-child-4").terminate()
    await handle.result()
    items = await read(client, handle.id)
    assert [item.outcome for item in items] == [
        Outcome.COMPLETED, Outcome.FAILED, Outcome.FAILED, Outcome.CANCELLED, Outcome.TERMINATED, Outcome.TIMED_OUT,
    ]  # fmt: skip
    assert [value(item.inputs[0]) for item in items] == whats
    assert [(item.error, item.type) for item in items[1:3]] == [
        ("no such customer", "Missing"), ("card 5 was declined", "Declined"),
    ]  # fmt: skip
    assert set(places(items)) == {None}


async def test_foreign_activities_are_read_too(bench: Bench, client: Client) -> None:
    """Activities with the SDK's ids are no items of a fan-out, and none is left out."""
    handle = await bench.start(p.GatherActivities.run, ["a", "fail", "sleep", "b"], 3)
    await handle.result()
    items = await read(client, handle.id)
    assert [str(item.outcome) for item in items] == ["completed", "failed", "timed_out", "completed"]
    assert set(places(items)) == {None}
    assert items[2].error.startswith("an attempt did not complete within 3 s (attempt 1 of 1): ")


async def test_own_activities_beside_a_fan_out_are_no_items_of_it(bench: Bench, client: Client) -> None:
    """A parent's own calls of the same activity are told from the items by their ids, and have no index."""
    handle = await bench.start(p.Besides.run, 8)
    await handle.result()
    items = await read(client, handle.id)
    assert [item.index for item in items if value(item.inputs[0]) != "own"] == list(range(8))
    assert [item.index for item in items if value(item.inputs[0]) == "own"] == [None] * 3


async def test_several_fan_outs_are_told_apart(bench: Bench, client: Client) -> None:
    """Each item has the name of its fan-out and its place in it."""
    handle = await bench.start(w.Several.run)
    await handle.result()
    found = sorted((item.fan_out, item.index) for item in await read(client, handle.id))
    assert found == [("", 0), ("", 1), ("f2", 0), ("f2", 1), ("left", 0), ("left", 1), ("right", 0)]


async def test_continue_as_new_is_followed_from_the_first_run(bench: Bench, client: Client) -> None:
    """By id the whole chain is read, in order; by run id, that run and what continues it."""
    handle = await bench.start(p.Entity.run, ["a", "b", "c", "d", "e"])
    assert await handle.result() == "done"
    items = await read(client, handle.id)
    assert [value(item.inputs[0]) for item in items] == ["a", "b", "c", "d", "e"]
    first, _ = await read_run(client, handle)
    assert first.outcome is None
    assert first.closed
    later = await read(client, handle.id, first.continued_as)
    assert [value(item.inputs[0]) for item in later] == ["c", "d", "e"]


async def test_attempts_of_a_parent_are_one_chain(bench: Bench, client: Client) -> None:
    """A parent that is tried again is read with what its first attempt had started."""
    handle = await client.start_workflow(
        p.Retried.run, id=uuid.uuid4().hex, task_queue=bench.task_queue,
        retry_policy=RetryPolicy(maximum_attempts=2),
    )  # fmt: skip
    assert await handle.result() == 1
    items = await read(client, handle.id)
    assert [str(item.outcome) for item in items] == ["completed", "failed"] * 2
    first, _ = await read_run(client, handle)
    assert first.outcome is Outcome.FAILED
    assert first.continued_as


async def test_a_child_that_outlives_its_parent_still_runs(bench: Bench, client: Client) -> None:
    """An abandoned child has no outcome before its own end, which is then its own."""
    handle = await bench.start(p.Leaver.run)
    await handle.result()
    run, [item] = await read_run(client, handle)
    assert run.closed
    assert not run.settled
    assert item.outcome is None
    await client.get_workflow_handle(item.child_id).cancel()

    async def settled() -> bool:
        return (await read_run(client, handle))[0].settled

    await until(settled, "the end of the child")
    [item] = await read(client, handle.id)
    assert item.outcome is Outcome.CANCELLED


@pytest.mark.parametrize("what", ["bytes", "unknown", "json"])
async def test_payloads_stay_as_they_are(bench: Bench, client: Client, what: str) -> None:
    """A result that is no JSON, or of an encoding that nobody knows, is given as the history has it."""
    handle = await bench.start(w.Anything.run, "Broken", [what], {"timeout": 30})
    await handle.result()
    [item] = await read(client, handle.id)
    assert item.outcome is Outcome.COMPLETED
    history = await client.get_workflow_handle(f"{handle.id}.0").fetch_history()
    closed = history.events[-1].workflow_execution_completed_event_attributes
    assert item.result == closed.result.payloads[0]


class Zip(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"binary/zip"}, data=zlib.compress(payload.SerializeToString()))
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(zlib.decompress(payload.data)) for payload in payloads]


async def test_a_payload_codec_is_used_for_what_is_ours_only(server: DevServer) -> None:
    """With a codec shards are followed and counted; the items' payloads stay encoded."""
    converter = dataclasses.replace(DataConverter.default, payload_codec=Zip())
    client = await connect(30, target_host=server.address, data_converter=converter)
    options = {"shard_size": 4, "max_concurrency": 2, "tolerated_failure_count": 2}
    for items in (list(range(12)), {"activity": "numbers", "args": [12]}):
        async with working_for_all(client) as bench:
            handle = await bench.start(w.Anything.run, "ChildWorkflow", items, options)
            with pytest.raises(WorkflowFailureError) as caught:
                await handle.result()
        found = await read(client, handle.id)
        assert counted(found) == caught.value.cause.details[0]["outcomes"]  # type: ignore[attr-defined]
        assert places(found) == list(range(12))
        assert {payload.metadata["encoding"] for item in found for payload in item.inputs} == {b"binary/zip"}


async def test_a_history_that_is_not_there_is_said_to_be_gone(client: Client) -> None:
    """An unknown id or run id raises HistoryGone, which names it; an unknown namespace is the server's own error."""
    with pytest.raises(HistoryGone, match="no history of workflow nobody: it never ran"):
        await read(client, "nobody")
    run_id = str(uuid.uuid4())
    with pytest.raises(HistoryGone, match=f"no history of workflow nobody, run {run_id}"):
        await read(client, "nobody", run_id)
    other = await connect(30, target_host=client.service_client.config.target_host, namespace="nowhere")
    with pytest.raises(RPCError, match="Namespace nowhere is not found"):
        await read(other, "nobody")
