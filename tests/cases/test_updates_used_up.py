"""A run whose updates are used up can still be aborted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from temporal_fanout import InvalidInput
from temporal_fanout.operations import ask
from temporal_fanout.operations.connect import connect
from temporal_fanout.operations.progress import progress
from temporal_fanout.operations.updates import update
from temporal_fanout.process.devserver import DevServer, dev_server
from temporal_fanout.wire.protocol import ABORT, PAUSE, RESUME
from tests.conftest import Bench, until, working
from tests.processes import fanout

UPDATES = 5


@pytest.fixture(scope="module")
async def small_server() -> AsyncIterator[DevServer]:
    """Lets a run have few updates."""
    async with dev_server(arguments=["--dynamic-config-value", f"history.maxTotalUpdates={UPDATES}"]) as server:
        yield server


@contextlib.asynccontextmanager
async def few_updates(server: DevServer) -> AsyncIterator[Bench]:
    async with working(await connect(30, target_host=server.address)) as bench:
        yield bench


@pytest.mark.parametrize("cancel", [False, True], ids=["wait", "cancel"])
async def test_a_run_without_updates_left_is_aborted(small_server: DevServer, cancel: bool) -> None:
    """Pause is refused in one line that says why; abort ends the run in all its shards, as ever."""
    async with few_updates(small_server) as bench:
        seconds = 60 if cancel else 1
        options = {"shard_size": 5, "max_concurrency": 10}
        handle = await bench.start("Anything", "Sleep", [seconds] * 40, options, seconds=120)

        async def busy() -> bool:
            return sum(one.in_flight for one in (await progress(bench.client, handle.id)).values()) >= 5

        await until(busy, "items in flight")
        for n in range(UPDATES):
            await update(bench.client, handle.id, RESUME if n % 2 else PAUSE)
        with pytest.raises(InvalidInput, match=r"its updates are used up, .*; fanout abort still works"):
            await update(bench.client, handle.id, RESUME)
        ended = await fanout("pause", handle.id, address=small_server.address)
        assert (ended.code, len(ended.err.splitlines())) == (2, 1)
        ended = await fanout("abort", handle.id, *(["--cancel"] if cancel else []), address=small_server.address)
        assert ended.code == 0, ended.err
        assert f"{handle.id} is aborted" in ended.err
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
        cause = failed.value.cause
        assert isinstance(cause, ApplicationError)
        assert cause.type == "FanOutStopped"
        outcomes = cause.details[0]["outcomes"]
        assert sum(outcomes.values()) == 40
        assert outcomes["not_started"] > 0
        assert set(outcomes) == {"not_started", "cancelled" if cancel else "completed"}


async def test_a_run_that_has_ended_says_so_by_signal_too(small_server: DevServer) -> None:
    """An abort that comes too late is refused as ever."""
    async with few_updates(small_server) as bench:
        handle = await bench.start("Anything", "Echo", [1], {})
        await handle.result()
        with pytest.raises(InvalidInput, match="has ended"):
            await update(bench.client, handle.id, ABORT)


async def test_an_abort_signal_that_means_nothing_fails_no_run(small_server: DevServer) -> None:
    """One of an unknown fan-out, and one that is no abort, leave the run as it is."""
    async with few_updates(small_server) as bench:
        handle = await bench.start("Anything", "Sleep", [3] * 3, {})

        async def begun() -> bool:
            return bool(await progress(bench.client, handle.id))

        await until(begun, "the fan-out")
        await ask.signal(handle, ABORT, {"name": "nothing"})
        await ask.signal(handle, ABORT, {"cancel": "yes"})
        with pytest.raises(WorkflowUpdateFailedError):
            await ask.update(handle, ABORT, {"name": "nothing"})
        assert (await handle.result())["outcomes"] == {"completed": 3}
