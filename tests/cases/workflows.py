"""Parents and children of the cases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from temporal_fanout import FanOutOptions, FanOutResult, Source, fan_out
from temporal_fanout.sources import Page, PageRequest

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel

    from tests.gauge import fault
    from tests.workflows import Anything

    class Order(BaseModel):
        """An item whose fields change type where it is not kept as it is."""

        id: int
        price: float
        tags: set[str]


@dataclass
class Job:
    id: int
    data: str


@workflow.defn
class Typed:
    """Says what it was given, with its further arguments, and returns a value of the same kind."""

    @workflow.run
    async def run(self, item: Any, *more: Any) -> Any:
        return [f"{type(one).__name__} {one!r}" for one in (item, *more)]


@workflow.defn
class Bytes:
    @workflow.run
    async def run(self, item: bytes, key: bytes) -> bytes:
        return item + key


@workflow.defn
class Orders:
    @workflow.run
    async def run(self, order: Order) -> Order:
        return Order(id=order.id, price=order.price * 2, tags=order.tags | {"done"})


@activity.defn
async def kind_of(item: Any, *more: Any) -> list[str]:
    """The same as an activity."""
    return [f"{type(one).__name__} {one!r}" for one in (item, *more)]


ITEMS: dict[str, list[Any]] = {
    "json": [1, 1.5, True, None, "ж", [1, [2]], {"a": {"b": None}}],
    "bytes": [b"\x01\x02", b"", b"\xff\xfe"],
    "dataclass": [Job(1, "a"), Job(2, "ж")],
    "mixed": [b"\x01", 1, "x", None, Job(3, "c")],
}


@workflow.defn
class Kinds:
    """Fans out over so many items of a kind: what each child was given must not depend on how many there are."""

    @workflow.run
    async def run(self, work: str, kind: str, times: int, options: dict[str, Any]) -> list[Any]:
        given = FanOutOptions(**options, args=[b"key", {"n": 1}])
        result = await fan_out(work, ITEMS[kind] * times, given)
        assert [one.value for one in result.completed] == ITEMS[kind] * times, "values are what was given"
        assert not result.failed, result.failed[:1]
        return [one.result for one in result.completed]


@workflow.defn
class TypedResults:
    """What it gets back is of the types that its children return."""

    @workflow.run
    async def run(self, count: int, options: dict[str, Any]) -> list[str]:
        limits = FanOutOptions(**options)
        of_bytes = await fan_out(Bytes.run, [b"\x00\xff"] * count, FanOutOptions(**options, args=[b"!"], name="bytes"))
        assert {one.result for one in of_bytes.completed} == {b"\x00\xff!"}
        orders = [Order(id=n, price=0.5, tags={"a", "b"}) for n in range(count)]
        of_models = await fan_out(Orders.run, orders, limits)
        assert [one.result.id for one in of_models.completed] == list(range(count))
        assert all(one.result.tags == {"a", "b", "done"} for one in of_models.completed)
        by_name = await fan_out("Orders", orders, FanOutOptions(**options, name="named"), result_type=Order)
        return [type(one.result).__name__ for one in (by_name.completed[0], of_models.completed[-1])]


@workflow.defn
class WrongType:
    """Looks at a result that is of another type than it was told."""

    @workflow.run
    async def run(self) -> list[Any]:
        result = await fan_out("Typed", [1, 2], result_type=Order)
        counts = [result.success_count, result.to_dict()["successful_results"][0]["result"]]
        return [*counts, result.completed[0].result]


@workflow.defn
class HandedOver:
    """Items of bytes whose results are large, so that what was not started moves to fresh shards."""

    @workflow.run
    async def run(self, count: int) -> list[Any]:
        result = await fan_out(Padded.run, [b"\x01\x02"] * count, FanOutOptions(max_concurrency=4))
        return [result.success_count, result.truncated, sorted({one.result[:14] for one in result.completed})]


@workflow.defn
class Padded:
    @workflow.run
    async def run(self, item: Any) -> str:
        return f"{type(item).__name__} {item!r}".ljust(400_000)


@workflow.defn
class LargeStarts:
    """Starts of many bytes: in the item, arguments and memo."""

    @workflow.run
    async def run(self, count: int, item: int, args: list[int], memo: int, options: dict[str, Any]) -> dict[str, Any]:
        given = FanOutOptions(**options, args=["a" * size for size in args], memo={"doc": "m" * memo} if memo else {})
        result = await fan_out("Ignores", ["i" * item] * count, given)
        return {"completed": result.success_count, "largest": workflow.info().get_current_history_size()}


@workflow.defn
class Ignores:
    @workflow.run
    async def run(self, item: Any, *more: Any) -> None:
        return None


@workflow.defn
class Written:
    """Returns so many Cyrillic characters in UTF-8, as other SDKs write them."""

    @workflow.run
    async def run(self, size: int) -> RawValue:
        return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=f'"{"я" * size}"'.encode()))


@activity.defn
async def fails_in(text: str, times: int) -> None:
    """Fails with so much of a text."""
    raise ApplicationError(text * times, type="Text")


@workflow.defn
class Rated:
    """Fan-outs over activities under a rate."""

    @workflow.run
    async def run(self, count: int, options: dict[str, Any]) -> int:
        result: FanOutResult[Any] = await fan_out(kind_of, list(range(count)), FanOutOptions(**options))
        return result.success_count


@workflow.defn
class ManyFanOuts:
    """One after another, each with results."""

    @workflow.run
    async def run(self, count: int) -> int:
        total = 0
        for _ in range(count):
            total += (await fan_out(kind_of, ["x" * 1000] * 5)).success_count
        await workflow.wait_condition(lambda: self.done)
        return total

    def __init__(self) -> None:
        self.done = False

    @workflow.signal
    def finish(self) -> None:
        self.done = True


@activity.defn
async def small_pages(request: PageRequest, total: int, most: int) -> Page:
    """A source of numbers that gives few at once, and asks for the position that it has given."""
    if not request.limit:
        return Page(total=total)
    first = request.offset if request.position is None else request.position
    assert first == request.offset
    items = list(range(first, min(first + request.limit, first + most, total)))
    return Page(items=items, next=first + len(items))


@activity.defn
async def large_pages(request: PageRequest, total: int, size: int) -> Page:
    """A source of items of so many bytes, one a page."""
    if not request.limit:
        return Page(total=total)
    assert request.position in (None, request.offset)
    return Page(items=[f"{request.offset} ".ljust(size)], next=request.offset + 1)


@workflow.defn
class Sourced:
    @workflow.run
    async def run(self, source: str, args: list[Any], work: str, options: dict[str, Any]) -> dict[str, Any]:
        result = await fan_out(work, Source(source, args), FanOutOptions(**options))
        values = [one.value for one in result.completed]
        return {
            "outcomes": {str(k): n for k, n in result.outcomes.items() if n},
            "first": values[:3],
            "kept": len(values),
        }


@activity.defn
async def until_told(item: list[Any]) -> str:
    """Fails as often as its item says."""
    key, times = str(item[0]), int(item[1])
    if fault(key, times):
        raise ApplicationError(f"not yet: {key}", type="NotYet", non_retryable=True)
    return key


@workflow.defn
class Holding:
    @workflow.run
    async def run(self, items: list[Any], options: dict[str, Any]) -> dict[str, Any]:
        given = FanOutOptions(**options, on_failure="hold", timeout=timedelta(minutes=5))
        result: FanOutResult[Any] = await fan_out(until_told, items, given)
        return result.to_dict()


WORKFLOWS: list[type] = [
    Typed, Bytes, Orders, Kinds, TypedResults, WrongType, HandedOver, Padded, LargeStarts, Ignores,
    Written, Anything, Rated, ManyFanOuts, Sourced, Holding,
]  # fmt: skip
ACTIVITIES: list[Any] = [kind_of, fails_in, small_pages, large_pages, until_told]
