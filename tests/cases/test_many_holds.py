"""Held items that run again, often and for long."""

from __future__ import annotations

import uuid
from typing import Any

from temporal_fanout.operations.updates import held_items, release
from tests.cases.conftest import Cases
from tests.cases.shards import longest_history
from tests.conftest import Bench, until


async def held(bench: Bench, id: str, count: int) -> list[dict[str, Any]]:
    async def all_held() -> list[dict[str, Any]] | None:
        items = await held_items(bench.client, id)
        return items if len(items) == count else None

    found: list[dict[str, Any]] = await until(all_held, f"{count} held items", 120)
    return found


async def test_items_that_run_again_many_times_move_to_fresh_shards(cases: Cases) -> None:
    """However often held items run again, every history stays under 5,000 events, and each item has one outcome."""
    key, count, times = uuid.uuid4().hex, 100, 9
    async with cases() as bench:
        items = [[f"{key}{n}", times] for n in range(count)]
        handle = await bench.start("Holding", items, {}, seconds=600)
        for _ in range(times):
            await held(bench, handle.id, count)
            await release(bench.client, handle.id, None, name=None, skip=False)
        result = await handle.result()
        assert result["outcomes"] == {"completed": count}
        assert [entry["value"] for entry in result["successful_results"]] == items
        _, events = await longest_history(bench, handle.id)
        assert events < 5_000


async def test_items_that_moved_are_skipped_and_given_up(cases: Cases) -> None:
    """What was handed to a fresh shard is still held, skipped and counted as failed, with its last error."""
    key, count = uuid.uuid4().hex, 110
    async with cases() as bench:
        handle = await bench.start("Holding", [[f"{key}{n}", 1000] for n in range(count)], {}, seconds=600)
        for _ in range(6):
            await held(bench, handle.id, count)
            await release(bench.client, handle.id, None, name=None, skip=False)
        await held(bench, handle.id, count)
        await release(bench.client, handle.id, [3], name=None, skip=True)
        await held(bench, handle.id, count - 1)
        await release(bench.client, handle.id, None, name=None, skip=True)
        result = await handle.result()
        assert result["outcomes"] == {"failed": count}
        assert result["failed_indexes"] == list(range(count))
        assert result["failed_children"][3]["error"] == f"not yet: {key}3"
