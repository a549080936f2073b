"""`fanout retry`: chosen items of any workflow run once more, by real processes on a real server."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from temporal_fanout import InvalidInput, retry
from temporal_fanout.histories import workflow as history
from temporal_fanout.histories.events import read_events
from temporal_fanout.operations.connect import connect
from temporal_fanout.process.devserver import DevServer
from temporal_fanout.retries.choice import ranges
from tests import parents as p
from tests import workflows as w
from tests.conftest import Bench, until
from tests.histories import counted, read, until_counted, working_for_all
from tests.integration.test_history import Zip
from tests.processes import Ended, fanout, start


@pytest.fixture
async def bench(client: Client) -> AsyncIterator[Bench]:
    async with working_for_all(client) as bench:
        yield bench


async def retried(server: DevServer, id: str, *args: str, code: int = 0) -> tuple[str, dict[str, Any], Ended]:
    """The id and the result of what `fanout retry` ran."""
    ended = await fanout("retry", id, *args, "--output", "json", address=server.address, seconds=110)
    assert ended.code == code, ended.err
    result = json.loads(ended.out)
    return result["workflow_id"], result, ended


async def listed(server: DevServer, *args: str) -> list[dict[str, Any]]:
    ended = await fanout("results", *args, address=server.address)
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


def outcomes_of(rows: list[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(row["outcome"] for row in rows))


@pytest.mark.parametrize("shard_size", [200, 5], ids=["flat", "shards"])
@pytest.mark.parametrize("work", ["Flaky", "activity:flaky"])
async def test_what_failed_is_run_once_more_until_all_is_done(
    bench: Bench, server: DevServer, client: Client, work: str, shard_size: int
) -> None:
    """A retry takes what did not complete, a retry of it what still did not; merged, each item has its last outcome."""
    items = list(range(30))
    handle = await bench.start(w.Anything.run, work, items, {"shard_size": shard_size, "args": ["more"]})
    first = await handle.result()
    assert first["outcomes"] == {"completed": 10, "failed": 20}
    again, result, ended = await retried(server, handle.id)
    assert again.startswith(f"{handle.id}.retry-")
    assert result["outcomes"] == {"completed": 10, "failed": 10}
    assert [entry["value"] for entry in result["successful_results"]] == list(range(1, 30, 3))
    assert "retrying 20 of the 30 items" in ended.err
    assert await (await client.get_workflow_handle(again).describe()).memo() == {
        "fanout_origin": {"workflow_id": handle.id, "run_id": handle.first_execution_run_id}
    }
    merged = await listed(server, handle.id, "--merged")
    assert outcomes_of(merged) == {"completed": 20, "failed": 10}
    third, result, _ = await retried(server, again)
    assert third.startswith(f"{again}.retry-")
    assert result["outcomes"] == {"completed": 10}
    assert (await listed(server, again, "--merged"))[0]["child_id"] == f"{again}.0"
    merged = await listed(server, handle.id, "--merged")
    assert outcomes_of(merged) == {"completed": 30}
    assert [row["index"] for row in merged] == [row["input"] for row in merged] == items
    assert [row["child_id"] for row in merged[:3]] == [f"{handle.id}.0", f"{again}.0", f"{third}.0"]
    for row in merged:
        given = row["result"] if work.startswith("activity:") else [row["result"]["item"], *row["result"]["more"]]
        assert given == [row["input"], "more"]


async def test_children_of_a_plain_gather_are_retried(bench: Bench, server: DevServer, client: Client) -> None:
    """Failed, timed out, cancelled and terminated ones, of a parent whose worker knows nothing of this package."""
    async with working_for_all(client, plugin=False) as foreign:
        whats = ["complete", "fail", "sleep", "sleep", "sleep"]
        handle = await foreign.start(p.Gather.run, whats, 10)
        await until_counted(client, handle.id, completed=1, failed=1, running=3)
        await client.get_workflow_handle(f"{handle.id}-child-2").cancel()
        await client.get_workflow_handle(f"{handle.id}-child-3").terminate()
        await handle.result()
        run = start("retry", handle.id, "--task-queue", bench.task_queue, address=server.address)
        process = await run
        id = await until(lambda: _retry_of(client, handle.id), "the retry")
        await until_counted(client, id, failed=1, running=3)
        await client.get_workflow_handle(f"{id}.1").terminate()
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, err
        assert b"1 failed, 2 timed out, 1 terminated" in out
        assert {item.task_queue for item in await read(client, id)} == {foreign.task_queue}
        merged = await listed(server, handle.id, "--merged")
        assert [row["outcome"] for row in merged] == ["completed", "failed", "terminated", "timed_out", "timed_out"]


async def _retry_of(client: Client, id: str) -> str | None:
    found = [run async for run in client.list_workflows(f'WorkflowId STARTS_WITH "{id}.retry-"')]
    return next((run.id for run in found if run.workflow_type == "FanOutRetry"), None)


async def test_each_item_is_started_as_it_was(bench: Bench, server: DevServer, client: Client) -> None:
    """Its arguments, memo, attributes, priority, time limit and queue, of children and activities on another queue."""
    async with working_for_all(client, plugin=False) as other:
        handle = await bench.start(p.GatherFlaky.run, [0, 1, 2, 4], other.task_queue)
        await handle.result()
        assert counted(await read(client, handle.id)) == {"completed": 2, "failed": 6}
        _, result, _ = await retried(server, handle.id)
        assert result["outcomes"] == {"completed": 4, "failed": 2}
        good = [entry["result"] for entry in result["successful_results"]]
        assert good == [
            {
                "item": item, "more": [n, ["\x00\xff", "\xff"][n % 2]], "memo": {"n": n}, "timeout": 50.0 + n,
                "attributes": {"Customer": f"c-{n}"}, "task_queue": other.task_queue, "priority": 1 + n,
            }
            for n, item in ((1, 1), (3, 4))
        ] + [[1, 1], [4, 3]]  # fmt: skip
        merged = await listed(server, handle.id, "--merged")
        assert outcomes_of(merged) == {"completed": 6, "failed": 2}
        changes = ["--timeout", "40", "--args", '["x"]', "--item-task-queue", bench.task_queue, "--index", "1"]
        _, result, _ = await retried(server, handle.id, *changes)
        [good] = [entry["result"] for entry in result["successful_results"]]
        assert (good["more"], good["timeout"], good["task_queue"], good["memo"]) == (
            ["x"], 40.0, bench.task_queue, {"n": 1},
        )  # fmt: skip


async def test_a_chain_of_runs_is_retried_as_one(bench: Bench, server: DevServer) -> None:
    """Items of every run that was continued as new, in their order."""
    handle = await bench.start(p.EntityFlaky.run, [1, 0, 1, 4, 3, 7, 0])
    await handle.result()
    _, result, _ = await retried(server, handle.id)
    assert [entry["value"] for entry in result["successful_results"]] == [1, 1, 4, 7]
    merged = await listed(server, handle.id, "--merged")
    assert [(row["index"], row["input"], row["outcome"]) for row in merged] == [
        (n, item, "completed") for n, item in enumerate([1, 0, 1, 4, 3, 7, 0])
    ]


def _inputs(event: HistoryEvent) -> list[Payload]:
    return list(event.workflow_execution_started_event_attributes.input.payloads)


async def test_payloads_pass_byte_for_byte(bench: Bench, server: DevServer, client: Client) -> None:
    """Bytes, protobuf, JSON that is none, an encoding that nobody knows: metadata and data are as they were."""
    proto = WorkflowExecution(workflow_id="x").SerializeToString()
    given = [
        ("binary/plain", bytes(range(256))), ("binary/protobuf", proto), ("json/plain", b'{"b" : 1,"a":  2}'),
        ("json/plain", b"{nonsense"), ("binary/encrypted", b"\xff\x00"), ("binary/null", b""),
        ("binary/large", bytes(1_300_000)),
    ]  # fmt: skip
    payloads = [[encoding, base64.b64encode(data).decode()] for encoding, data in given[:-1]]
    handle = await bench.start(p.GatherRaw.run, payloads)
    await handle.result()
    id, result, _ = await retried(server, handle.id)
    assert result["outcomes"] == {"completed": 6}
    before, after = await read(client, handle.id), await read(client, id)
    for (encoding, data), old, new in zip(given, before, after, strict=False):
        first = (await client.get_workflow_handle(old.child_id).fetch_history()).events[0]
        second = (await client.get_workflow_handle(new.child_id).fetch_history()).events[0]
        assert _inputs(first) == _inputs(second)
        assert _inputs(second) == [Payload(metadata={"encoding": encoding.encode(), "more": b"\xff"}, data=data)]
        assert new.result == _inputs(second)[0]


@pytest.mark.parametrize("with_codec", [True, False], ids=["own codec", "no codec"])
async def test_encrypted_payloads_reach_the_child_that_can_read_them(
    server: DevServer, client: Client, with_codec: bool
) -> None:
    """Whether the worker of the retry has the codec of the children or knows nothing of it."""
    converter = dataclasses.replace(DataConverter.default, payload_codec=Zip())
    coded = await connect(30, target_host=server.address, data_converter=converter)
    async with working_for_all(coded) as origin, working_for_all(client) as plain:
        handle = await origin.start(p.GatherFlaky.run, [1, 4, 0], origin.task_queue)
        await handle.result()
        via, reader = (origin, coded) if with_codec else (plain, client)
        again = await retry(reader, handle.id, task_queue=via.task_queue)
        result = await again.result()
        assert result["outcomes"] == {"completed": 4}
        items = await read(reader, again.id)
        assert {payload.metadata["encoding"] for item in items for payload in item.inputs} == {b"binary/zip"}
        [decoded] = await coded.data_converter.decode([items[1].result] if items[1].result else [])
        assert (decoded["item"], decoded["memo"]) == (4, {"n": 1})


async def test_items_are_chosen_by_outcome_type_and_index(bench: Bench, server: DevServer) -> None:
    """What is given is combined; a dry run lists the items and starts nothing."""
    handle = await bench.start(w.Anything.run, "Flaky", list(range(12)), {"shard_size": 5})
    await handle.result()
    address = server.address
    for args, chosen in (
        (["--type", "Not2"], [2, 5, 8, 11]),
        (["--type", "Not2", "--type", "Not1", "--index", "1-2,7", "--index", "10"], [1, 2, 7, 10]),
        (["--outcome", "completed", "--index", "0-5"], [0, 3]),
        (["--outcome", "timed_out"], []),
        ([], [1, 2, 4, 5, 7, 8, 10, 11]),
    ):
        ended = await fanout("retry", handle.id, "--dry-run", "--output", "jsonl", *args, address=address)
        assert ended.code == 0, ended.err
        assert [json.loads(line)["index"] for line in ended.out.splitlines()] == chosen
        assert ("would start" in ended.err) == bool(chosen)
        assert ("nothing to retry: none of the 12 items" in ended.err) != bool(chosen)
    _, result, _ = await retried(server, handle.id, "--type", "Not1", "--index", "3-7")
    assert [entry["value"] for entry in result["successful_results"]] == [4, 7]
    merged = await listed(server, handle.id, "--merged")
    assert outcomes_of(merged) == {"completed": 6, "failed": 6}
    _, result, _ = await retried(server, handle.id, "--type", "Not1")
    merged = await listed(server, handle.id, "--merged")
    assert outcomes_of(merged) == {"completed": 8, "failed": 4}


async def test_the_same_retry_is_started_once(bench: Bench, server: DevServer, client: Client) -> None:
    """Asked for twice at once, and again after its end, it is one run."""
    handle = await bench.start("ParentWorkflow", [1, 2, 3], {})
    await handle.result()
    args = ["retry", handle.id, "--output", "json"]
    both = await asyncio.gather(*(fanout(*args, address=server.address) for _ in range(2)))
    after = await fanout(*args, address=server.address)
    assert [ended.code for ended in (*both, after)] == [0, 0, 0]
    assert len({ended.out for ended in (*both, after)}) == 1
    said = [line for ended in (*both, after) for line in ended.err.splitlines() if line.split()[0] != "the"]
    assert sorted(line.split()[0] for line in said if handle.id in line and " on " not in line) == [
        "attached", "attached", "started",
    ]  # fmt: skip
    id = json.loads(after.out)["workflow_id"]
    assert (await client.count_workflows(f'WorkflowId="{id}"')).count == 1


async def test_a_retry_that_could_start_nothing_is_started_again(
    bench: Bench, server: DevServer, client: Client
) -> None:
    """On a queue where no worker takes it, it is terminated; the same choice then starts on another queue."""
    handle = await bench.start("ParentWorkflow", [1, 2, 3], {})
    await handle.result()
    vain = await retry(client, handle.id, task_queue="nobody")
    process = await start("retry", handle.id, address=server.address)
    assert process.stderr
    async with asyncio.timeout(60):
        while "was started before, on nobody" not in (await process.stderr.readline()).decode():
            pass
    await vain.terminate()
    await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    id, result, ended = await retried(server, handle.id)
    assert id == vain.id
    assert f"started {id}" in ended.err
    assert result["outcomes"] == {"failed": 1}
    _, _, ended = await retried(server, handle.id)
    assert f"attached to {id}" in ended.err


async def test_what_completed_is_undone_from_the_last_to_the_first(
    bench: Bench, server: DevServer, client: Client
) -> None:
    """Another child type gets each item as it was; through shards; and it leaves the outcomes as they were."""
    handle = await bench.start(w.Anything.run, "Flaky", list(range(36)), {"shard_size": 7})
    await handle.result()
    options = ["--options", '{"shard_size": 5}', "--max-concurrency", "1"]
    id, result, ended = await retried(server, handle.id, "--outcome", "completed", "--work", "Refund", *options)
    assert "undoing 12 of the 36 items" in ended.err
    assert "with Refund" in ended.err
    undone = list(range(33, -1, -3))
    assert [entry["result"] for entry in result["successful_results"]] == [["undone", item] for item in undone]
    items = await read(client, id)
    started = [item.started_at for item in items if item.started_at]
    assert started == sorted(started)
    assert len(started) == 12
    assert {item.child_type for item in items} == {"Refund"}
    assert outcomes_of(await listed(server, handle.id, "--merged")) == {"completed": 12, "failed": 24}


@pytest.mark.timeout(300)
async def test_thousands_are_retried_through_shards(bench: Bench, server: DevServer, client: Client) -> None:
    """2,500 items, read page by page from the histories of a run with shards, each history short."""
    items = [{"fails": 1, "n": n} for n in range(2500)]
    handle = await bench.start(w.Anything.run, "activity:flaky", items, {}, seconds=200)
    assert (await handle.result())["outcomes"] == {"failed": 2500}
    id, result, _ = await retried(server, handle.id)
    assert result["outcomes"] == {"completed": 2500}
    merged = await listed(server, handle.id, "--merged")
    assert [row["index"] for row in merged] == [row["input"]["n"] for row in merged] == list(range(2500))
    assert outcomes_of(merged) == {"completed": 2500}
    history = await client.get_workflow_handle(id).fetch_history()
    assert len(history.events) < 500


async def test_one_long_history_is_not_read_for_every_page(
    bench: Bench, server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The activities of a plain gather are all in one: it is read for the survey, and then for some of the pages."""
    whats = [f"{n}" if n % 5 else "fail" for n in range(200)]
    handle = await bench.start(p.GatherActivities.run, whats, 50)
    await handle.result()
    reads: list[str] = []

    async def counting(client: Client, id: str, run_id: str) -> Any:
        reads.append(id)
        return await read_events(client, id, run_id)

    monkeypatch.setattr(history, "read_events", counting)
    options = ["--options", '{"shard_size": 2}', "--max-concurrency", "8", "--task-queue", bench.task_queue]
    _, result, _ = await retried(server, handle.id, *options)
    assert result["outcomes"] == {"failed": 40}
    assert 2 <= len(reads) < 10  # of 20 pages; those of the first shards may come in any order
    _, result, _ = await retried(server, handle.id, "--outcome", "completed", "--options", '{"shard_size": 30}')
    assert [entry["value"] for entry in result["successful_results"]] == [
        what for what in whats[::-1] if what != "fail"
    ]


@pytest.mark.parametrize("kind", ["list", "pages", "source"])
async def test_what_was_never_started_is_retried_where_a_history_has_it(
    bench: Bench, server: DevServer, kind: str
) -> None:
    """Its input is in the list, or in a page that was read; where only the source has it, that is said."""
    items = list(range(40)) if kind == "list" else {"activity": "numbers", "args": [40]}
    options = {
        "max_concurrency": 2, "tolerated_failure_count": 1, "shard_size": 40 if kind == "pages" else 8,
        "args": ["more"], "memo": {"m": [1]}, "timeout": 45, "priority": 2,
        "search_attributes": {"Customer": "c", "Tags": ["t"]},
    }  # fmt: skip
    handle = await bench.start(w.Anything.run, "Flaky", items, options)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    before = outcomes_of(await listed(server, handle.id))
    assert before["not_started"] > 20
    if kind == "source":
        ended = await fanout("retry", handle.id, address=server.address)
        assert ended.code == 2
        assert "was never started and its input is in no history; choose other outcomes" in ended.err
        _, result, _ = await retried(server, handle.id, "--outcome", "failed")
        assert result["success_count"] + result["failure_count"] == before["failed"]
        return
    _, result, _ = await retried(server, handle.id)
    assert sum(result["outcomes"].values()) == before["not_started"] + before["failed"]
    assert result["outcomes"]["failed"] < result["outcomes"]["completed"]
    merged = await listed(server, handle.id, "--merged")
    assert [row["index"] for row in merged] == [row["input"] for row in merged] == list(range(40))
    assert outcomes_of(merged) == {"completed": 27, "failed": 13}
    expected = {
        "more": ["more"], "memo": {"m": [1]}, "timeout": 45.0, "attributes": {"Customer": "c", "Tags": ["t"]},
        "task_queue": bench.task_queue, "priority": 2,
    }  # fmt: skip
    results = [row["result"] for row in merged if row["result"]]
    assert results == [{"item": result["item"]} | expected for result in results]


async def test_a_retry_that_was_stopped_can_be_retried(bench: Bench, server: DevServer) -> None:
    """One that breaches its tolerance fails, with 1; what it had read and not started, a retry of it starts."""
    handle = await bench.start(w.Anything.run, "Flaky", [2] * 30, {})
    await handle.result()
    limits = ["--tolerated-failure-count", "3", "--max-concurrency", "2"]
    ended = await fanout("retry", handle.id, *limits, address=server.address)
    assert ended.code == 1
    assert "ToleratedFailureExceeded" in ended.err
    [row] = [line for line in ended.err.splitlines() if line.startswith("started ")]
    again = row.split()[1]
    merged = await listed(server, handle.id, "--merged")
    assert outcomes_of(merged) == {"failed": 30}
    _, result, _ = await retried(server, again)
    assert result["outcomes"] == {"completed": 30}
    assert outcomes_of(await listed(server, handle.id, "--merged")) == {"completed": 30}


async def test_what_cannot_be_retried_is_said_in_one_line(bench: Bench, server: DevServer, client: Client) -> None:
    """An unknown id, what still runs, what has no children, and choices that cannot be."""
    childless = await bench.start(p.Childless.run)
    await childless.result()
    running = await bench.start(w.Anything.run, "Act", ["sleep"], {}, seconds=300)
    left = await bench.start(p.Leaver.run)
    await left.result()
    for args, message in (
        (["nobody"], "there is no history of workflow nobody"),
        ([running.id], f"{running.id}: still runs; wait for its end"),
        ([left.id], f"{left.id}: has closed, but children of it still run"),
        ([childless.id], f"{childless.id}: has started no child and no activity"),
        (["x", "--index", "3-1"], "index: must be numbers from 0 on and ranges, as in 3,7,10-20, not '3-1'"),
        (["x", "--options", '{"memo": {}}'], "options.memo: is as it was when each item was first started"),
        (["x", "--max-concurrency", "0"], "max_concurrency: must be a whole number from 1 to 2147483647"),
        (["x", "--output", "csv"], "--output: of a retry is table or json"),
    ):
        ended = await fanout("retry", *args, address=server.address)
        assert (ended.code, ended.out) == (2, "")
        assert message in ended.err
        assert len(ended.err.splitlines()) == 1
    await client.get_workflow_handle(f"{left.id}-left").terminate()
    await running.terminate()


async def test_a_history_that_is_gone_is_said(bench: Bench, server: DevServer, client: Client) -> None:
    """Gone before the retry, it is refused; gone before the retry could read it, the retry fails and says so."""
    handle = await bench.start("ParentWorkflow", [1, 2, 3], {})
    await handle.result()
    queue = f"nobody-{uuid.uuid4().hex[:8]}"
    again = await retry(client, handle.id, task_queue=queue)
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=client.namespace, workflow_execution=WorkflowExecution(workflow_id=handle.id)
        )
    )

    async def is_gone() -> bool:
        return (await fanout("results", handle.id, address=server.address)).code == 2

    await until(is_gone, "the deletion of the history")
    ended = await fanout("retry", handle.id, address=server.address)
    assert ended.code == 2
    assert "the namespace's retention has removed it" in ended.err
    async with bench_on(client, queue):
        with pytest.raises(WorkflowFailureError) as caught:
            await again.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "InvalidInput"
    assert "there is no history of workflow" in caught.value.cause.message


def bench_on(client: Client, task_queue: str) -> Any:
    """A worker with the plugin, and no workflow of its own but the lab's, on this queue."""
    from temporal_fanout.lab.worker import make_worker

    return make_worker(client, task_queue)


async def test_python_starts_the_same_retry(bench: Bench, server: DevServer, client: Client) -> None:
    """`temporal_fanout.retry` gives the handle of the run that the command follows."""
    handle = await bench.start("ParentWorkflow", [1, 2, 3, 4], {})
    await handle.result()
    again = await retry(client, handle.id, indexes=[1], options={"max_concurrency": 5})
    assert (await again.result())["outcomes"] == {"failed": 1}
    id, _, ended = await retried(server, handle.id, "--index", "1")
    assert id == again.id
    assert f"attached to {id}" in ended.err
    with pytest.raises(InvalidInput, match="none of its 4 items is to be retried"):
        await retry(client, handle.id, outcomes=["cancelled"])
    with pytest.raises(InvalidInput, match="outcomes: 'great' is not a valid Outcome; there are completed, failed"):
        await retry(client, handle.id, outcomes=["great"])


def test_numbers_and_ranges_are_joined() -> None:
    """In any order, overlapping or next to one another."""
    assert ranges(["7,3", 4, "10-20", "15-22", "23"]) == [(3, 4), (7, 7), (10, 23)]
    for wrong in ("", "-1", "a", "3-1", "1..2", "²"):
        with pytest.raises(InvalidInput, match="index: must be numbers"):
            ranges([wrong])
