"""Items that ran out of time: which limit it was, the same in the run's result and in what histories tell."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import Client

from temporal_fanout import retry
from tests import parents as p
from tests import workflows as w
from tests.conftest import Bench
from tests.histories import read, working_for_all

RETRIED = {"maximum_attempts": 2, "initial_interval": 0.1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"heartbeat_timeout": 1, "retry": RETRIED},
            "no heartbeat within 1 s (attempt 2 of 2): heartbeat more often, or set heartbeat_timeout higher, "
            "unless its worker stopped",
        ),
        (
            {"heartbeat_timeout": 1, "retry": RETRIED | {"maximum_attempts": 0}, "timeout": 4},
            "did not complete within 4 s: allow more time (an earlier attempt: no heartbeat within 1 s)",
        ),
        (
            {"timeout": 4},
            "did not complete within 4 s: allow more time, or set heartbeat_timeout to notice a worker that stopped",
        ),
        (
            {"timeout": 1, "task_queue": "nobody-polls-this"},
            "no worker took it within 1 s: is activity silent registered, its task queue polled?",
        ),
        (
            {"attempt_timeout": 1, "retry": RETRIED},
            "an attempt did not complete within 1 s (attempt 2 of 2): allow an attempt more time (attempt_timeout), "
            "unless its worker stopped",
        ),
        (
            {"start_timeout": 1, "task_queue": "nobody-polls-this"},
            "no worker took it within 1 s: is activity silent registered, its task queue polled?",
        ),
    ],
    ids=["heartbeat", "attempts", "whole", "no worker", "attempt", "start"],
)
@pytest.mark.parametrize("shard_size", [200, 2], ids=["flat", "shards"])
async def test_an_activity_that_ran_out_of_time_says_why(
    bench: Bench, client: Client, options: dict[str, Any], message: str, shard_size: int
) -> None:
    """The limit that ended it, its attempts and what to do, in the result and in the histories alike."""
    handle = await bench.start(w.Anything.run, "activity:silent", [10, 10, 0], options | {"shard_size": shard_size})
    result = await handle.result()
    failed = [entry["error"] for entry in result["failed_children"]]
    assert failed[:2] == [message] * 2
    assert [item.error for item in await read(client, handle.id) if item.error] == failed


@pytest.mark.parametrize("shard_size", [200, 1], ids=["flat", "shards"])
async def test_a_child_is_tried_again_when_an_attempt_took_too_long(
    bench: Bench, client: Client, shard_size: int
) -> None:
    """Its second run ends it, long before its whole time is over."""
    options = {"attempt_timeout": 1, "retry": RETRIED, "shard_size": shard_size}
    handle = await bench.start(w.Anything.run, "Sleep", [30, 30], options)
    result = await handle.result()
    assert result["outcomes"] == {"timed_out": 2}
    error = result["failed_children"][0]["error"]
    assert error.startswith("a run of it did not complete within 1 s (attempt 2 of 2): is Sleep registered")
    assert [item.error for item in await read(client, handle.id)] == [error] * 2


async def test_a_retried_item_says_which_of_its_own_limits_it_was(client: Client) -> None:
    """A foreign parent's activity and child, started once more as they were, end with the same words."""
    async with working_for_all(client) as bench:
        handle = await bench.start(p.Slow.run)
        await handle.result()
        messages = [item.error for item in await read(client, handle.id)]
        assert [message.partition(":")[0] for message in messages] == [
            "an attempt did not complete within 1 s (attempt 2 of 2)",
            "a run of it did not complete within 1 s",
        ]
        again = await retry(client, handle.id, task_queue=bench.task_queue)
        assert [failed["error"] for failed in (await again.result())["failed_children"]] == messages
