"""Items that go from one history to another: held ones to a fresh shard, the rest of a source back to the parent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_fanout import Outcome
from temporal_fanout.wire.protocol import PROGRESS, RETRY, SKIP
from tests import workflows as w
from tests.cases.test_retention import delete
from tests.conftest import Bench, until
from tests.histories import counted, read, read_run, value, working_for_all


@pytest.fixture
async def bench(client: Client) -> AsyncIterator[Bench]:
    async with working_for_all(client) as bench:
        yield bench


async def _ask(client: Client, id: str, update: str, **given: Any) -> Any:
    async def answer() -> Any:
        try:
            return [await client.get_workflow_handle(id).execute_update(update, given)]
        except RPCError:  # it has not started yet
            return None

    return (await until(answer, f"an answer of {id}"))[0]


async def _held(client: Client, id: str) -> int:
    try:
        progress = await client.get_workflow_handle(id).query(PROGRESS)
    except RPCError:
        return -1
    held: int = progress[""]["held"]
    return held


async def test_held_items_that_went_to_another_shard_are_known_once(bench: Bench, client: Client) -> None:
    """Those that ran again there have their last outcome, those that only waited there the one they had."""
    items = [-1, -2, -3, -4, -5, *range(14)]
    handle = await bench.start(w.Anything.run, "activity:large_result", items, {"on_failure": "hold"}, seconds=200)

    async def held(id: str, count: int) -> None:
        async def so_many() -> bool:
            return await _held(client, id) == count

        await until(so_many, f"{count} held items of {id}", 60)

    async def completed() -> bool:
        return counted(await read(client, handle.id)) == {"completed": 14, "failed": 5}

    await held(handle.id, 5)
    await until(completed, "the end of the others", 60)
    before = await read(client, handle.id)
    assert await _ask(client, handle.id, RETRY, items=[1, 3]) == [1, 3]
    shards = [item.parent_id for item in before] + [f"{handle.id}.s0", f"{handle.id}.s1"]

    async def holding() -> list[str]:
        return [id for id in dict.fromkeys(shards) if id != handle.id and await _holds(client, id)]

    [shard] = await until(holding, "the shard that the held items went to", 60)
    await held(shard, 5)
    found = await read(client, handle.id)
    assert [item.index for item in found] == list(range(19))
    assert {item.index: item.parent_id for item in found[:5]} == {
        0: handle.id, 1: shard, 2: handle.id, 3: shard, 4: handle.id,
    }  # fmt: skip
    assert (found[1].started_at or 0) > (before[1].started_at or 0)  # type: ignore[operator]
    assert [item.started_at for item in found[:5:2]] == [item.started_at for item in before[:5:2]]
    assert await _ask(client, shard, SKIP) == [0, 1, 2, 3, 4]
    result = await handle.result()
    run, found = await read_run(client, handle)
    assert counted(found) == result["outcomes"] == {"completed": 14, "failed": 5}
    assert [item.index for item in found] == list(range(19))
    assert run.rest_known
    alone = await read(client, shard)
    assert [(item.index, item.outcome, value(item.inputs[0])) for item in alone] == [
        (n, Outcome.FAILED, items[n]) for n in range(5)
    ]
    await delete(client, shard)
    found = await read(client, handle.id)
    assert [(item.index, item.outcome) for item in found] == [
        (n, Outcome.FAILED if n < 5 else Outcome.COMPLETED) for n in range(19)
    ]


async def _holds(client: Client, id: str) -> bool:
    try:
        return await _held(client, id) >= 0
    except Exception:
        return False


async def test_what_a_shard_gives_back_is_of_another(bench: Bench, client: Client) -> None:
    """Ranges of shards of a source overlap then; each item is known once, in its place."""
    source = {"activity": "numbers", "args": [44, "stingy"]}
    options = {"shard_size": 22, "max_result_bytes": 0}
    handle = await bench.start(w.Anything.run, "activity:large_result", source, options, seconds=200)
    result = await handle.result()
    assert result["outcomes"] == {"completed": 44}
    run, found = await read_run(client, handle)
    assert [item.index for item in found] == [value(item.inputs[0]) for item in found] == list(range(44))
    assert counted(found) == {"completed": 44}
    assert len({item.parent_id for item in found}) > 2
    assert run.settled
    assert run.waiting == 0
    shards = {item.parent_id for item in found}
    await delete(client, *shards)
    found = await read(client, handle.id)
    assert counted(found) == {"completed": 44}
    assert [item.index for item in found] == list(range(44))
