"""Retries that change what is run: each is another retry, and what it changes is passed on as it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from temporal_fanout import retry
from temporal_fanout.process.devserver import DevServer
from tests import workflows as w
from tests.conftest import Bench, until
from tests.histories import read, working_for_all
from tests.processes import fanout


@pytest.fixture
async def bench(client: Client) -> AsyncIterator[Bench]:
    async with working_for_all(client) as bench:
        yield bench


async def retried(server: DevServer, id: str, *args: str) -> dict[str, Any]:
    ended = await fanout("retry", id, *args, "--output", "json", address=server.address, seconds=110)
    assert ended.code == 0, ended.err
    result: dict[str, Any] = json.loads(ended.out)
    return result


async def test_other_arguments_are_another_retry(bench: Bench, server: DevServer) -> None:
    """The first arguments fail, the second are run too; merged, each item has its last outcome."""
    handle = await bench.start(w.Anything.run, "Keyed", [1, 2], {"args": ["none"]})
    assert (await handle.result())["outcomes"] == {"failed": 2}
    first = await retried(server, handle.id, "--args", '["bad"]')
    assert first["outcomes"] == {"failed": 2}
    second = await retried(server, handle.id, "--args", '["good"]')
    assert second["outcomes"] == {"completed": 2}
    assert second["workflow_id"] != first["workflow_id"]
    merged = await fanout("results", handle.id, "--merged", address=server.address)
    rows = [json.loads(line) for line in merged.out.splitlines()]
    assert [(row["input"], row["outcome"]) for row in rows] == [(1, "completed"), (2, "completed")]


async def test_what_changes_the_items_changes_the_id_and_limits_do_not(bench: Bench, client: Client) -> None:
    """Arguments, queue, time limit, attempts and work are of the retry's id; the pace of the run is not."""
    handle = await bench.start(w.Anything.run, "Keyed", [1], {"args": ["none"]})
    await handle.result()
    changes: list[dict[str, Any]] = [
        {}, {"args": ["good"]}, {"args": [b"good"]}, {"args": []}, {"timeout": 30}, {"timeout": 31},
        {"retry": {"maximum_attempts": 2}}, {"task_queue": bench.task_queue},
    ]  # fmt: skip
    ids = {(await retry(client, handle.id, options=one)).id for one in changes}
    ids.add((await retry(client, handle.id, work="Echo")).id)
    assert len(ids) == len(changes) + 1
    for limits in ({"max_concurrency": 1}, {"starts_per_second": 5.0, "shard_size": 2}):
        assert (await retry(client, handle.id, options={"timeout": 30.0} | limits)).id in ids
    for id in ids:
        await client.get_workflow_handle(id).result()


@pytest.mark.parametrize("shard_size", [200, 2], ids=["flat", "shards"])
async def test_arguments_reach_the_children_as_they_were_given(bench: Bench, client: Client, shard_size: int) -> None:
    """Bytes stay bytes, through shards too."""
    handle = await bench.start(w.Anything.run, "Keyed", [1, 2, 3], {"args": ["none"]})
    await handle.result()
    again = await retry(client, handle.id, options={"args": [b"\x00\xff", "text"], "shard_size": shard_size})
    assert (await again.result())["outcomes"] == {"completed": 3}
    for item in await read(client, again.id):
        assert await client.data_converter.decode(item.inputs[1:]) == [b"\x00\xff", "text"]


async def test_a_retry_that_is_started_by_hand_is_refused(bench: Bench) -> None:
    """Whatever its inputs, and however many: it fails with a sentence that says what to use."""
    inputs: list[list[Any]] = [[], [1], [{"version": 1}, {}], [{}, {}, {}]]
    for given in inputs:
        error = await bench.error("FanOutRetry", *given)
        assert isinstance(error, ApplicationError)
        assert error.type == "InvalidInput"
        assert "fanout retry" in error.message


async def test_a_retry_of_a_newer_version_waits_for_a_newer_worker(bench: Bench, client: Client) -> None:
    """Its workflow task fails, which another worker may take, and it does not."""
    handle = await bench.start("FanOutRetry", {"version": 99, "outcomes": [], "indexes": []}, {}, {})

    async def fails() -> bool:
        described = await handle.describe()
        pending = described.raw_description.pending_workflow_task
        return pending.attempt > 1

    await until(fails, "a workflow task that failed")
    await handle.terminate()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
