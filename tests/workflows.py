"""Workflows and activities that tests run: parents as users write them, and children that do everything wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from temporal_fanout import FanOutOptions, FanOutResult, Source, ToleratedFailureExceeded, fan_out
from temporal_fanout.batches import Batch, batches
from temporal_fanout.lab import double
from temporal_fanout.wire.protocol import PROGRESS

with workflow.unsafe.imports_passed_through():
    from tests.gauge import GAUGE, fault


@dataclass
class Invoice:
    customer: str
    amount: int = 1


@workflow.defn
class Bill:
    @workflow.run
    async def run(self, invoice: Invoice) -> str:
        return f"{invoice.customer}: {invoice.amount}"


@workflow.defn
class Nightly:
    """The parent of the README: dataclasses in, a typed child, options."""

    @workflow.run
    async def run(self, customers: list[str]) -> dict[str, Any]:
        invoices = [Invoice(customer, len(customer)) for customer in customers]
        return (await fan_out(Bill.run, invoices, FanOutOptions(shard_size=3))).to_dict()


@workflow.defn
class Anything:
    """A parent to be told what to do: `work`, items or a source, options; returns the result as JSON."""

    @workflow.run
    async def run(self, work: str, items: Any, options: dict[str, Any]) -> dict[str, Any]:
        given = Source(**items) if isinstance(items, dict) else items
        return (await fan_out(work, given, FanOutOptions.from_dict(options))).to_dict()


@workflow.defn
class Large:
    """Items made in the workflow, of so many bytes each."""

    @workflow.run
    async def run(self, count: int, size: int, options: dict[str, Any], work: str = "Echo") -> dict[str, Any]:
        return (await fan_out(work, ["x" * size] * count, FanOutOptions.from_dict(options))).to_dict()


@workflow.defn
class BadMemo:
    """Has a memo that JSON has no form for."""

    @workflow.run
    async def run(self) -> None:
        await fan_out(Echo.run, [1], FanOutOptions(memo={"when": object()}))


@workflow.defn
class Several:
    """Fan-outs one after the other and at once, named and not."""

    @workflow.run
    async def run(self) -> dict[str, Any]:
        first = await fan_out(double, [1, 2])
        second = await fan_out("ChildWorkflow", [1, 3])
        third, fourth = await asyncio.gather(
            fan_out("ChildWorkflow", [5, 7], FanOutOptions(name="left")),
            fan_out("ChildWorkflow", [9], FanOutOptions(name="right")),
        )
        return {"counts": [r.success_count for r in (first, second, third, fourth)]}


@workflow.defn
class Busy:
    """Has an activity of its own pending while it fans out over another."""

    @workflow.run
    async def run(self, values: list[int]) -> dict[str, Any]:
        own = workflow.start_activity(sleep, 60.0, start_to_close_timeout=timedelta(seconds=90))
        result: FanOutResult[int] = await fan_out(double, values)
        own.cancel()
        return result.to_dict()


@workflow.defn
class TwoSleeps:
    """Two fan-outs at once, by name."""

    @workflow.run
    async def run(self) -> dict[str, int]:
        names = ("left", "right")
        options = [FanOutOptions(name=name, max_concurrency=3) for name in names]
        results = await asyncio.gather(*(fan_out("Sleep", [0.3] * 12, one) for one in options))
        return {name: result.success_count for name, result in zip(names, results, strict=True)}


@workflow.defn
class TwoHolds:
    """Two fan-outs at once, by name, whose items all fail and are held."""

    @workflow.run
    async def run(self) -> dict[str, int]:
        names = ("left", "right")
        options = [FanOutOptions(name=name, on_failure="hold") for name in names]
        results = await asyncio.gather(*(fan_out("ChildWorkflow", [2, 4], one) for one in options))
        return {name: result.success_count for name, result in zip(names, results, strict=True)}


@workflow.defn
class Compensating:
    """Catches the breach of its tolerance and goes on with what had completed."""

    @workflow.run
    async def run(self, values: list[int]) -> dict[str, Any]:
        try:
            await fan_out("ChildWorkflow", values, FanOutOptions(max_concurrency=2, tolerated_failure_count=1))
        except ToleratedFailureExceeded as breach:
            undone = await fan_out("Echo", [c.value for c in breach.result.completed], FanOutOptions(name="undo"))
            return {"undone": [c.result for c in undone.completed], "breach": breach.result.summary()}
        return {}


@workflow.defn
class Total:
    """A child that handles a batch."""

    @workflow.run
    async def run(self, batch: Batch) -> list[Any]:
        return [batch.id, sum(batch.items)]


@workflow.defn
class Batched:
    @workflow.run
    async def run(self, values: list[int], size: int) -> list[Any]:
        return [done.result for done in (await fan_out(Total.run, batches(values, size))).completed]


@workflow.defn
class Echo:
    @workflow.run
    async def run(self, value: Any, *more: Any) -> Any:
        return [value, *more] if more else value


@workflow.defn
class Describe:
    """Returns what it was started with."""

    @workflow.run
    async def run(self, _: Any) -> dict[str, Any]:
        info = workflow.info()
        return {
            "priority": info.priority.priority_key,
            "attempt": info.attempt,
            "memo": workflow.memo(),
            "attributes": {p.key.name: p.value for p in info.typed_search_attributes},
            "timeout": info.execution_timeout.total_seconds() if info.execution_timeout else None,
            "task_queue": info.task_queue,
        }


@workflow.defn
class Sleep:
    """Sleeps for its item's seconds; cancelled or terminated by tests meanwhile."""

    @workflow.run
    async def run(self, seconds: float) -> float:
        await workflow.sleep(seconds)
        return seconds


@workflow.defn(failure_exception_types=[Exception])
class Plain:
    """Raises a plain exception."""

    @workflow.run
    async def run(self, _: Any) -> None:
        raise ValueError("no such customer") from KeyError("c-17")


@workflow.defn
class Stuck:
    """Raises a plain exception that fails its workflow task, for ever."""

    @workflow.run
    async def run(self, _: Any) -> None:
        raise ValueError("a bug")


@workflow.defn
class FailsItsTasks:
    """Fans out, and has a bug that fails its workflow task so many times before it is mended."""

    @workflow.run
    async def run(self, times: int) -> None:
        await fan_out("Echo", [1, 2, 3, 4])
        if fault(workflow.info().run_id, times):
            raise RuntimeError("a bug")


@workflow.defn
class TwoInputs:
    """Takes more inputs than it is given."""

    @workflow.run
    async def run(self, a: int, b: int) -> int:
        return a + b


@workflow.defn
class Broken:
    """Returns what its parent cannot decode: JSON that is none, bytes, or far too much."""

    @workflow.run
    async def run(self, what: str) -> Any:
        payload = workflow.payload_converter().to_payload("x")
        if what == "json":
            payload.data = b"{nonsense"
        elif what == "bytes":
            payload.metadata["encoding"] = b"binary/plain"
        elif what == "unknown":
            payload.metadata["encoding"] = b"binary/of-another-language"
        elif what == "large":
            payload.data = b'"' + b"x" * 3_000_000 + b'"'
        return RawValue(payload)


@workflow.defn
class Blob:
    """Returns as many bytes as its item says."""

    @workflow.run
    async def run(self, size: int) -> str:
        return "x" * size


@workflow.defn
class ActivityChild:
    """A child whose activity fails."""

    @workflow.run
    async def run(self, value: Any) -> Any:
        return await workflow.execute_activity(
            "declined", value, start_to_close_timeout=timedelta(seconds=10), retry_policy=None
        )


@workflow.defn
class HasSilentShard:
    """Has an open shard, or so it says, that never answers: there is none."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query(name=PROGRESS)
    def progress(self) -> dict[str, Any]:
        own = {"total": 9, "max_concurrency": 2, "in_flight": 0, "held": 0, "paused": False, "stopped": None}
        return {"": own | {"seconds_at_work": 1.0, "outcomes": {"completed": 4}, "open_shards": ["no-such-shard"]}}


@workflow.defn
class FailsTwice:
    """Fails its first two attempts."""

    @workflow.run
    async def run(self, _: Any) -> int:
        if workflow.info().attempt < 3:
            raise ApplicationError("not yet", type="NotYet")
        return workflow.info().attempt


@activity.defn
async def declined(value: Any) -> None:
    raise ApplicationError(f"card {value} was declined", type="Declined", non_retryable=True)


@activity.defn
async def fails_twice(_: Any) -> int:
    if activity.info().attempt < 3:
        raise ApplicationError("not yet", type="NotYet")
    return activity.info().attempt


@activity.defn
async def gauged(item: list[Any]) -> float:
    """Sleeps for its item's seconds, and counts how many do so at once."""
    group, seconds = str(item[0]), float(item[1])
    with GAUGE.entered(group):
        await asyncio.sleep(seconds)
    return seconds


@activity.defn
async def gathered(item: list[Any]) -> int:
    """Ends once as many of its group as its item says have been at work at once, here, at any speed; or in a minute."""
    group, wanted = str(item[0]), int(item[1])
    with GAUGE.entered(group):
        for _ in range(3000):
            if GAUGE.most[group] >= wanted:
                break
            await asyncio.sleep(0.02)
    return GAUGE.most[group]


@activity.defn
async def sleep(seconds: float) -> None:
    while seconds > 0:
        activity.heartbeat()
        await asyncio.sleep(min(seconds, 0.2))
        seconds -= 0.2


@activity.defn
async def silent(seconds: float) -> None:
    """Works and never heartbeats."""
    await asyncio.sleep(seconds)


@activity.defn
async def numbers(request: dict[str, Any], total: int, fault: str = "") -> dict[str, Any]:
    """A source of numbers from 0 on, as a user writes one; with a fault where asked for one."""
    if fault == "fails" and request["limit"]:
        raise ApplicationError("the database is gone", type="Gone", non_retryable=True)
    if fault == "no total":
        return {"items": []}
    if request["limit"] == 0:
        return {"total": total + 5 if fault == "lies" else total}
    end = min(total, request["offset"] + request["limit"])
    if fault == "too many":
        end += 500
    if fault == "stingy":
        end = min(end, request["offset"] + 3)
    if fault == "too large":
        return {"items": ["x" * 3_000_000]}
    return {"items": list(range(request["offset"], end))}


@activity.defn
async def large_result(item: int) -> str:
    """So large that a history takes a dozen; fails for what is negative."""
    if item < 0:
        raise ApplicationError("is negative", type="Negative", non_retryable=True)
    return "x" * 400_000


@activity.defn
async def double_any(value: int) -> int:
    return value * 2


WORKFLOWS: list[type] = [
    HasSilentShard, TwoHolds,
    Bill, Nightly, Anything, Large, BadMemo, Several, Busy, TwoSleeps, Compensating, Total, Batched, Echo, Describe,
    Sleep, Plain, Stuck, TwoInputs, Broken, Blob, ActivityChild, FailsTwice, FailsItsTasks,
]  # fmt: skip
ACTIVITIES: list[Any] = [
    double, declined, fails_twice, gauged, gathered, sleep, silent, numbers, double_any, large_result,
]  # fmt: skip
