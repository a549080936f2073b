"""The limits: concurrency kept and used, starts per second, tolerance."""

from __future__ import annotations

import time
import uuid

import pytest

from temporal_fanout.lab.scenarios import SCENARIOS
from tests import workflows as w
from tests.conftest import Bench
from tests.gauge import GAUGE


@pytest.mark.parametrize("shard_size", [200, 20, 3], ids=["flat", "shards", "nested"])
async def test_the_limit_is_kept_and_reached(bench: Bench, shard_size: int) -> None:
    """Items in flight never exceed max_concurrency, and reach it, in one node, in shards and in shards of shards."""
    group = uuid.uuid4().hex
    items = [[group, 20]] * (100 if shard_size == 200 else 165)
    options = {"max_concurrency": 20, "shard_size": shard_size}
    result = await bench.run(w.Anything.run, "activity:gathered", items, options)
    assert result["outcomes"] == {"completed": len(items)}
    assert GAUGE.most[group] == 20


async def test_stragglers_do_not_idle_the_lanes_of_others(bench: Bench) -> None:
    """With slow items among many short ones, a run takes about as long as a slow one and the short ones by themselves.

    Every shard holds one slow item. If a shard kept its lanes until its slow item ends, the six shards would take
    turns and the run at least three times as long as a slow item.
    """
    group, slow = uuid.uuid4().hex, 8.0
    items = [[group, slow if index % 50 == 0 else 0.01] for index in range(300)]
    began = time.monotonic()
    result = await bench.run(w.Anything.run, "activity:gauged", items, {"max_concurrency": 20, "shard_size": 50})
    took = time.monotonic() - began
    assert result["outcomes"] == {"completed": 300}
    assert GAUGE.most[group] <= 20
    assert took < 2 * slow, f"{took:.1f} s"


async def test_one_lane_runs_one_item_at_a_time(bench: Bench) -> None:
    """max_concurrency 1 is a sequence, through shards too, in the order of the input."""
    group = uuid.uuid4().hex
    result = await bench.run(
        w.Anything.run, "activity:gauged", [[group, 0.01]] * 12, {"max_concurrency": 1, "shard_size": 4}
    )
    assert result["success_count"] == 12
    assert GAUGE.most[group] == 1


@pytest.mark.parametrize("shard_size", [200, 20], ids=["flat", "shards"])
async def test_starts_per_second_is_kept(bench: Bench, shard_size: int) -> None:
    """The rate is kept over any three seconds, give or take the server's timers, and is nearly reached."""
    group, rate = uuid.uuid4().hex, 20
    options = {"starts_per_second": rate, "shard_size": shard_size, "max_concurrency": 40}
    result = await bench.run(w.Anything.run, "activity:gauged", [[group, 0.01]] * 100, options)
    assert result["success_count"] == 100
    starts = GAUGE.entries[group]
    busiest = max(sum(1 for other in starts if start <= other < start + 3) for start in starts)
    assert busiest <= (3 + 2.5) * rate
    assert 100 / rate * 0.8 <= starts[-1] - starts[0] <= 100 / rate * 2


@pytest.mark.parametrize("shard_size", [200, 10], ids=["flat", "shards"])
async def test_a_breach_stops_the_run_and_fails_it_with_the_summary(bench: Bench, shard_size: int) -> None:
    """Over its tolerance a run starts nothing more, waits for what runs, and fails with the counts in its details."""
    options = {"tolerated_failure_count": 3, "max_concurrency": 4, "shard_size": shard_size}
    error = await bench.error("ParentWorkflow", list(range(100)), options)
    assert error.type == "ToleratedFailureExceeded"
    assert "more items failed than the 3 that are tolerated" in error.message
    summary = error.details[0]
    assert sum(summary["outcomes"].values()) == summary["total_children"] == 100
    assert 4 <= summary["failure_count"] <= 4 + 4 * 2
    assert summary["outcomes"]["not_started"] > 50
    assert summary["failed_children"][0]["error"] == "Simulated failure for value 0"


async def test_a_ratio_is_of_all_items(bench: Bench) -> None:
    """Half may fail of ten, and do; with less the run fails."""
    result = await bench.parent(list(range(10)), tolerated_failure_ratio=0.5)
    assert result["failure_count"] == 5
    error = await bench.error("ParentWorkflow", list(range(10)), {"tolerated_failure_ratio": 0.4})
    assert error.type == "ToleratedFailureExceeded"


async def test_strict_is_breached(bench: Bench) -> None:
    """The scenario strict fails as its description says."""
    scenario = SCENARIOS["strict"]
    error = await bench.error(scenario.workflow, *scenario.inputs)
    assert str(error.type) in scenario.expected
