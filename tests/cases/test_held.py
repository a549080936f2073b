"""Held items whose inputs together are more than an answer may have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from temporalio.client import Client

from temporal_fanout import InvalidInput
from temporal_fanout.operations.progress import progress
from temporal_fanout.operations.updates import held_items, release
from temporal_fanout.process.devserver import DevServer
from tests.conftest import Bench, until
from tests.processes import fanout

ITEMS = 150
BYTES = 18_000


@pytest.mark.timeout(240)
@pytest.mark.parametrize("shard_size", [300, 40], ids=["flat", "shards"])
async def test_many_large_items_are_held(bench: Bench, server: DevServer, client: Client, shard_size: int) -> None:
    """150 inputs of 18 KB: all are listed, their inputs cut for show; any is run again with the input it had, or
    skipped."""
    options = {"on_failure": "hold", "shard_size": shard_size}
    handle = await bench.start("Large", ITEMS, BYTES, options, "ChildWorkflow", seconds=200)

    async def all_held() -> bool:
        return sum(one.held for one in (await progress(client, handle.id)).values()) == ITEMS

    await until(all_held, "the held items", 120)
    ended = await fanout("held", handle.id, "--output", "json", address=server.address)
    assert ended.code == 0, ended.err
    items: list[dict[str, Any]] = json.loads(ended.out)
    assert [item["index"] for item in items] == list(range(ITEMS))
    assert all(item["input_truncated"] and len(item["input"]) < BYTES for item in items)
    ended = await fanout("held", handle.id, address=server.address)
    assert len([row for row in ended.out.splitlines() if row[:1].isdigit()]) == ITEMS
    assert ended.out.count("x…") >= ITEMS, "an input that is cut does not end with …"
    assert all("input" not in item for item in await held_items(client, handle.id, inputs=False))

    with pytest.raises(InvalidInput, match=f"item {ITEMS} is not held"):
        await release(client, handle.id, [ITEMS], name=None, skip=True)
    ended = await fanout("skip", handle.id, "3", str(ITEMS - 1), address=server.address)
    assert (ended.code, ended.err) == (0, f"{handle.id}: 2 items skipped: 3, {ITEMS - 1}\n")
    assert await release(client, handle.id, [7], name=None, skip=False, input=1) == [7]

    async def fewer() -> bool:
        return len(await held_items(client, handle.id, inputs=False)) == ITEMS - 3

    await until(fewer, "the end of the item that ran again")
    ended = await fanout("skip", handle.id, "--all", address=server.address)
    assert ended.code == 0, ended.err
    assert (await handle.result())["outcomes"] == {"completed": 1, "failed": ITEMS - 1}


async def test_short_inputs_are_whole(bench: Bench, server: DevServer, client: Client) -> None:
    """What fits is shown as it is, without a mark."""
    handle = await bench.start("ParentWorkflow", [2, "ä" * 30], {"on_failure": "hold"})

    async def both() -> bool:
        return len(await held_items(client, handle.id)) == 2

    await until(both, "two held items")
    ended = await fanout("held", handle.id, address=server.address)
    assert [row.split()[1] for row in ended.out.splitlines()[1:]] == ["2", '"' + "ä" * 30 + '"']
    items = json.loads((await fanout("held", handle.id, "--output", "json", address=server.address)).out)
    assert [(item["input"], item.get("input_truncated")) for item in items] == [(2, None), ("ä" * 30, None)]
    await release(client, handle.id, None, name=None, skip=True)
    await handle.result()


async def test_fan_outs_of_one_run_are_told_apart(bench: Bench, client: Client) -> None:
    """Items of two fan-outs at once have its name, and one may be asked for alone."""
    handle = await bench.start("TwoHolds")

    async def all_held() -> bool:
        return len(await held_items(client, handle.id)) == 4

    await until(all_held, "the held items")
    assert [(item["name"], item["index"]) for item in await held_items(client, handle.id)] == [
        ("left", 0), ("left", 1), ("right", 0), ("right", 1),
    ]  # fmt: skip
    assert [item["name"] for item in await held_items(client, handle.id, "right")] == ["right", "right"]
    assert await release(client, handle.id, [1], name="right", skip=True) == [1]
    assert len(await held_items(client, handle.id)) == 3
    assert await release(client, handle.id, None, name=None, skip=True) == [0, 0, 1]
    assert await handle.result() == {"left": 0, "right": 0}
