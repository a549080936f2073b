"""A rate of starts is kept and reached, at any concurrency and shard size; the earliest deadline wakes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from temporal_fanout.histories.run import outcomes
from temporal_fanout.operations.progress import progress
from temporal_fanout.operations.updates import held_items, release
from tests.cases.conftest import Cases
from tests.conftest import Bench, until


async def starts(bench: Bench, id: str) -> list[float]:
    """When each item was started, from the first on, as the server has recorded it."""
    found = sorted([item.started_at.timestamp() async for item in outcomes(bench.client, id) if item.started_at])
    return [at - found[0] for at in found]


async def seconds(bench: Bench, count: int, options: dict[str, Any]) -> float:
    """From the first start to the last."""
    handle = await bench.start("Rated", count, options, seconds=170)
    assert await handle.result() == count
    return (await starts(bench, handle.id))[-1]


@pytest.mark.parametrize(
    ("count", "limits"),
    [
        (100, {"max_concurrency": 5_000, "shard_size": 20}),
        (100, {"max_concurrency": 40, "shard_size": 20}),
        (100, {"max_concurrency": 10_000}),
        (60, {"max_concurrency": 500, "shard_size": 1}),
    ],
    ids=["wide", "narrow", "flat", "nested"],
)
async def test_a_rate_is_kept_and_reached(cases: Cases, count: int, limits: dict[str, Any]) -> None:
    """Never more than the rate, and no less than nine tenths of it, but for the server's last timer, which may be late.

    On a machine that is too slow for it, a lower rate is asked for.
    """
    async with cases() as bench:
        wanted = min(20.0, count / await seconds(bench, count, limits) / 3)
        took = await seconds(bench, count, limits | {"starts_per_second": wanted})
        assert 0.9 * (count - 1) / wanted <= took <= (count - 1) / (0.9 * wanted) + 1.5, f"at {wanted:.1f}/s"


async def test_a_pending_longer_timer_does_not_swallow_a_shorter(cases: Cases) -> None:
    """Held items that run again beside others that still wait for the rate are started by it, not at its next timer."""
    key = uuid.uuid4().hex
    async with cases() as bench:
        options = {"starts_per_second": 2.0, "shard_size": 100}
        handle = await bench.start("Holding", [[f"{key}{n}", 1] for n in range(6)], options, seconds=120)

        async def all_held() -> bool:
            return len(await held_items(bench.client, handle.id)) == 6

        await until(all_held, "six held items", 60)
        before = len(await starts(bench, handle.id))
        await release(bench.client, handle.id, None, name=None, skip=False)
        result = await handle.result()
        assert result["outcomes"] == {"completed": 6}
        again = await starts(bench, handle.id)
        assert before == len(again) == 6
        assert again[-1] <= 6 / 2 + 6, again


async def test_a_paused_run_does_not_make_up_for_its_pause(cases: Cases) -> None:
    """After a pause the rate goes on as before."""
    async with cases() as bench:
        handle = await bench.start("Rated", 60, {"starts_per_second": 10.0}, seconds=120)

        async def begun() -> bool:
            now = (await progress(bench.client, handle.id)).get("")
            return now is not None and now.finished > 5

        await until(begun, "the first items")
        await bench.client.get_workflow_handle(handle.id).execute_update("fanout_pause")
        await bench.client.get_workflow_handle(handle.id).execute_update("fanout_resume")
        assert await handle.result() == 60
        found = await starts(bench, handle.id)
        busiest = max(sum(1 for other in found if at <= other < at + 2) for at in found)
        assert busiest <= (2 + 2) * 10
