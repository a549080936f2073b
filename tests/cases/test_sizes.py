"""Nothing is terminated by its own size, and nothing hangs for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.conftest import Cases
from tests.cases.shards import longest_history

CYRILLIC = "я"


@pytest.mark.parametrize("shape", [{}, {"shard_size": 50}], ids=["flat", "shards"])
async def test_long_messages_in_any_script_fit(cases: Cases, shape: dict[str, Any]) -> None:
    """Hundreds of failures with long messages that take several bytes a character end as failures."""
    async with cases() as bench:
        options = {"args": [2000], **shape}
        result = await bench.run("Anything", "activity:fails_in", [CYRILLIC] * 200, options)
        assert result["outcomes"] == {"failed": 200}
        assert result["failed_children"][0]["error"].startswith(CYRILLIC * 900)


async def test_results_that_are_long_in_utf8_fit(cases: Cases) -> None:
    """Results that another SDK writes in UTF-8 are cut as this one writes them, which takes three times as much."""
    async with cases() as bench:
        result = await bench.run("Anything", "Written", [2400] * 250, {"shard_size": 100})
        assert result["outcomes"] == {"completed": 250}
        assert result["truncated"]
        assert len(result["successful_results"]) > 40


@pytest.mark.parametrize(
    ("count", "item", "args", "memo", "options"),
    [
        (120, 10, [], 25_000, {"max_concurrency": 200}),
        (60, 10, [550_000, 550_000], 0, {}),
        (4, 1_000_000, [700_000], 0, {"shard_size": 2}),
        (12, 300_000, [10], 900_000, {"shard_size": 5}),
    ],
    ids=["memo", "arguments", "items", "all"],
)
async def test_large_starts_are_spread_over_tasks_and_histories(
    cases: Cases, count: int, item: int, args: list[int], memo: int, options: dict[str, Any]
) -> None:
    """Whatever a start takes, in its item, arguments or memo: the run ends, and every history stays under 10 MB."""
    async with cases() as bench:
        handle = await bench.start("LargeStarts", count, item, args, memo, options, seconds=170)
        assert (await handle.result())["completed"] == count
        size, events = await longest_history(bench, handle.id)
        assert size < 10_000_000
        assert events < 5_000


@pytest.mark.parametrize(
    ("count", "item", "args", "memo", "message"),
    [
        (250, 10, [1_100_000], 0, "args[0]: takes 1.0 MiB, over 1"),
        (2, 1_000_000, [600_000, 600_000], 0, "items[0]: takes 1.0 MiB, over 0.6 with its arguments and memo"),
        (2, 10, [1_000_000, 1_000_000], 0, "args: take over 1.76 MiB with the memo"),
        (2, 10, [], 1_200_000, "memo.doc: takes 1.1 MiB, over 1"),
        (3, 1_200_000, [], 0, "items[0]: takes 1.1 MiB, over 1"),
    ],
    ids=["argument", "item and arguments", "arguments", "memo", "item"],
)
async def test_what_cannot_fit_is_refused_before_anything_starts(
    cases: Cases, count: int, item: int, args: list[int], memo: int, message: str
) -> None:
    """One sentence names what is too large, alone or together."""
    async with cases() as bench:
        error = await bench.error("LargeStarts", count, item, args, memo, {})
        assert (error.type, error.message[: len(message)]) == ("InvalidInput", message)
