"""Sources that give few items at once."""

from __future__ import annotations

from tests.cases.conftest import Cases
from tests.cases.shards import shards_of


async def test_one_item_a_page_needs_no_shards(cases: Cases) -> None:
    """A node reads page after page itself, under an id of any length."""
    async with cases() as bench:
        id = "p" * 150 + bench.task_queue
        handle = await bench.start("Sourced", "small_pages", [90, 1], "activity:kind_of", {}, id=id)
        result = await handle.result()
        assert result == {"outcomes": {"completed": 90}, "first": [0, 1, 2], "kept": 90}
        assert await shards_of(bench, handle.id) == []


async def test_pages_in_shards_stay_in_them(cases: Cases) -> None:
    """Shards of a source that gives no positions read their own pages, and no shard nests in another."""
    async with cases() as bench:
        handle = await bench.start("Sourced", "small_pages", [100, 7], "activity:kind_of", {"shard_size": 30})
        assert (await handle.result())["outcomes"] == {"completed": 100}
        assert sorted(await shards_of(bench, handle.id)) == [f"{handle.id}.s{n}" for n in range(4)]


async def test_a_history_that_is_full_gives_the_rest_of_its_source_back(cases: Cases) -> None:
    """With items of almost a MiB each, shards take turns under one parent: none nests deeper than one."""
    async with cases() as bench:
        handle = await bench.start("Sourced", "large_pages", [24, 700_000], "Ignores", {"max_result_bytes": 1000})
        assert (await handle.result())["outcomes"] == {"completed": 24}
        shards = await shards_of(bench, handle.id)
        assert len(shards) > 2
        assert all(id.count(".s") == 1 for id in shards), shards
