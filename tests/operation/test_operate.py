"""What an operator asks of a run: it answers when it holds, down to the last shard."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from temporal_fanout import InvalidInput
from temporal_fanout.operations.progress import progress
from temporal_fanout.operations.updates import held_items, release, update
from temporal_fanout.process.devserver import DevServer
from temporal_fanout.wire.protocol import ABORT, PAUSE, RESIZE, RESUME
from tests.conftest import Bench, until
from tests.gauge import GAUGE
from tests.histories import counted, read
from tests.processes import fanout
from tests.workflows import HasSilentShard

SHAPES = pytest.mark.parametrize(
    "shape",
    [{"shard_size": 300}, {"shard_size": 20}, {"shard_size": 2}],
    ids=["flat", "shards", "nested"],
)
ITEMS = 130
GAUGED = "activity:gauged"


async def gauged(bench: Bench, seconds: float, **options: Any) -> tuple[str, WorkflowHandle[Any, Any]]:
    """A run of items that are counted while they are in flight."""
    group = uuid.uuid4().hex
    handle = await bench.start("Anything", GAUGED, [[group, seconds]] * ITEMS, options)

    async def some() -> bool:
        return len(GAUGE.entries[group]) >= 10

    await until(some, "items in flight")
    return group, handle


@SHAPES
async def test_a_paused_run_starts_nothing_and_a_resumed_one_ends(
    bench: Bench, client: Client, shape: dict[str, Any]
) -> None:
    """Once pause has answered no item starts, in any shard; what was in flight finishes; resumed, each item ends."""
    group, handle = await gauged(bench, 0.5, max_concurrency=12, **shape)
    await update(client, handle.id, PAUSE)
    started = len(GAUGE.entries[group])
    assert started < ITEMS, "the run was over before it was paused"

    async def quiet() -> bool:
        return GAUGE.now[group] == 0 and (await progress(client, handle.id))[""].in_flight == 0

    await until(quiet, "the end of what was in flight")
    # an activity that was scheduled before the answer may reach its worker after it
    assert len(GAUGE.entries[group]) <= max(started, 12 + started)
    entered = len(GAUGE.entries[group])
    now = (await progress(client, handle.id))[""]
    assert (now.paused, now.finished, now.waiting) == (True, entered, ITEMS - entered)
    await update(client, handle.id, RESUME)
    assert (await handle.result())["outcomes"] == {"completed": ITEMS}
    assert len(GAUGE.entries[group]) == ITEMS
    assert GAUGE.most[group] <= 12


@SHAPES
async def test_a_resized_run_keeps_to_its_new_limit(bench: Bench, client: Client, shape: dict[str, Any]) -> None:
    """Lowered, a run goes down to the new limit and keeps to it; raised, it reaches the new one, not more."""
    group, handle = await gauged(bench, 0.3, max_concurrency=15, **shape)
    await update(client, handle.id, RESIZE, max_concurrency=4)

    async def few() -> bool:
        return GAUGE.now[group] <= 4

    await until(few, "few items in flight")
    at = time.monotonic()
    await asyncio.sleep(1)
    lowered = [now for when, now in GAUGE.changes[group] if when >= at]
    assert lowered
    assert max(lowered) <= 4
    await update(client, handle.id, RESIZE, max_concurrency=25)

    async def many() -> bool:
        return GAUGE.most[group] > 15

    await until(many, "more items in flight than before")
    assert (await handle.result())["outcomes"] == {"completed": ITEMS}
    assert GAUGE.most[group] <= 25


@SHAPES
@pytest.mark.parametrize("cancel", [False, True], ids=["wait", "cancel"])
async def test_an_aborted_run_says_what_became_of_each_item(
    bench: Bench, client: Client, shape: dict[str, Any], cancel: bool
) -> None:
    """Aborted, a run starts nothing more, waits for what is in flight or cancels it, and fails with all counts."""
    seconds = 30 if cancel else 0.5
    handle = await bench.start("Anything", "Sleep", [seconds] * ITEMS, {"max_concurrency": 10} | shape)

    async def busy() -> bool:
        return (await progress(client, handle.id)).get("", None) is not None and (
            (await progress(client, handle.id))[""].in_flight >= 8
        )

    await until(busy, "items in flight")
    await update(client, handle.id, ABORT, cancel=cancel)
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "FanOutStopped"
    outcomes = cause.details[0]["outcomes"]
    assert sum(outcomes.values()) == ITEMS
    assert outcomes["not_started"] > 0
    assert set(outcomes) <= {"not_started", "cancelled" if cancel else "completed", "completed"}
    if cancel:
        assert 1 <= outcomes["cancelled"] <= 10


@SHAPES
async def test_a_held_item_waits_for_a_person(bench: Bench, client: Client, shape: dict[str, Any]) -> None:
    """With on_failure hold, failed items wait, others go on; each is retried, with another input, or skipped, and its
    last outcome is the one in the result and in the histories."""
    values = [[2, 4, 6, *range(7, 7 + 2 * (ITEMS - 3), 2)][n] for n in range(ITEMS)]
    options = {"max_concurrency": 20, "on_failure": "hold"} | shape
    handle = await bench.start("Anything", "ChildWorkflow", values, options)

    async def all_held() -> list[dict[str, Any]] | None:
        items = await held_items(client, handle.id)
        now = (await progress(client, handle.id)).get("")
        return items if now is not None and (len(items), now.finished) == (3, ITEMS - 3) else None

    items = await until(all_held, "three held items, and the end of the others")
    assert [(i["index"], i["input"], i["error"]) for i in items] == [
        (n, 2 * n + 2, f"Simulated failure for value {2 * n + 2}") for n in range(3)
    ]
    with pytest.raises(InvalidInput, match="item 99 is not held"):
        await release(client, handle.id, [99], name=None, skip=True)
    assert await release(client, handle.id, [0], name=None, skip=False, input=101) == [0]
    assert await release(client, handle.id, [1], name=None, skip=True) == [1]
    assert await release(client, handle.id, [2], name=None, skip=False) == [2]

    async def held_again() -> bool:
        return [item["index"] for item in await held_items(client, handle.id)] == [2]

    await until(held_again, "the item that failed again")
    assert await release(client, handle.id, None, name=None, skip=True) == [2]
    result = await handle.result()
    assert result["outcomes"] == {"completed": ITEMS - 2, "failed": 2}
    assert result["successful_results"][0] == {"value": 101, "result": 202}
    assert result["failed_indexes"] == [1, 2]
    items = await read(client, handle.id)
    assert counted(items) == result["outcomes"], "an item that ran again has one outcome: its last"
    assert [item.index for item in items] == list(range(ITEMS))


async def test_an_aborted_run_gives_up_what_it_held(bench: Bench, client: Client) -> None:
    """Held items of a run that is aborted have failed."""
    handle = await bench.start("Anything", "ChildWorkflow", [2, 3], {"on_failure": "hold"})

    async def is_held() -> bool:
        return bool(await held_items(client, handle.id))

    await until(is_held, "a held item")
    await update(client, handle.id, ABORT)
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.details[0]["outcomes"] == {"completed": 1, "failed": 1}


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (RESIZE, {"max_concurrency": 0}, "max_concurrency: must be a whole number from 1 to 2147483647, not 0"),
        (RESIZE, {"max_concurrency": "5"}, "max_concurrency: must be a whole number"),
        (RESIZE, {}, "max_concurrency: must be a whole number"),
        (PAUSE, {"name": "left"}, "name: 'left' is not a fan-out of this workflow"),
        (PAUSE, {"names": "left"}, "fanout_pause.names: is not known"),
        (ABORT, {"cancel": "yes"}, "cancel: must be true or false"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    bench: Bench, client: Client, name: str, given: dict[str, Any], message: str
) -> None:
    """A wrong request is refused in one sentence, and changes nothing."""
    handle = await bench.start("Anything", "Sleep", [60], {})

    async def begun() -> bool:
        return bool(await progress(client, handle.id))

    await until(begun, "the fan-out")
    before = await progress(client, handle.id)
    with pytest.raises(InvalidInput, match=message):
        await update(client, handle.id, name, **given)
    assert await progress(client, handle.id) == before
    await handle.terminate()


async def test_a_shard_sends_operators_to_its_run(bench: Bench, client: Client) -> None:
    """A shard is not to be paused by itself."""
    _, handle = await gauged(bench, 0.3, max_concurrency=12, shard_size=20)
    with pytest.raises(InvalidInput, match=f"id: is a shard's; ask its run, {handle.id}"):
        await update(client, f"{handle.id}.s0", PAUSE)
    await handle.result()


async def test_runs_that_cannot_answer_say_so(bench: Bench, client: Client) -> None:
    """A run that is not there and one that has ended are told apart."""
    with pytest.raises(InvalidInput, match="there is no such run"):
        await update(client, "no-such-run", PAUSE)
    handle = await bench.start("Anything", "ChildWorkflow", [1], {})
    await handle.result()
    with pytest.raises(InvalidInput, match="has ended"):
        await update(client, handle.id, PAUSE)


async def test_fan_outs_of_one_parent_are_asked_by_name(bench: Bench, client: Client) -> None:
    """Of two fan-outs at once, one is paused and the other goes on."""
    handle = await bench.start("TwoSleeps")

    async def both() -> bool:
        return set(await progress(client, handle.id)) == {"left", "right"}

    await until(both, "both fan-outs")
    await update(client, handle.id, PAUSE, name="left")

    async def right_ended() -> bool:
        now = await progress(client, handle.id)
        return now["right"].finished == now["right"].total

    await until(right_ended, "the end of the other")
    now = await progress(client, handle.id)
    assert now["left"].waiting > 0
    await update(client, handle.id, RESUME, name="left")
    assert await handle.result() == {"left": 12, "right": 12}


async def test_a_shard_that_does_not_answer_is_said(bench: Bench, server: DevServer) -> None:
    """What a shard has done that is not heard counts as waiting, and the progress says that there is one."""
    handle = await bench.start(HasSilentShard.run)
    ended = await fanout("progress", handle.id, address=server.address)
    assert "4 of 9 items: 4 completed" in ended.out
    assert "5 waiting; 1 shards do not answer, so more has ended" in ended.out
    ended = await fanout("progress", handle.id, "--output", "json", address=server.address)
    assert json.loads(ended.out)["silent_shards"] == 1
    await handle.terminate()


async def test_held_items_without_a_worker_are_said_to_be_unknown(server: DevServer, client: Client) -> None:
    """Where no worker answers, neither held items nor none are claimed: one line says what to look at, with 2."""
    id = f"untaken-{uuid.uuid4().hex[:8]}"
    handle = await client.start_workflow("ParentWorkflow", [1], id=id, task_queue=f"nobody-{id}")
    for command in (["held", id], ["skip", id, "--all"]):
        ended = await fanout(*command, address=server.address)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == f"error: {id}: no worker answers for it: does one poll its task queue?\n"
    await handle.terminate()
