"""What type checkers know of a fan-out. mypy reads this file; nothing runs it.

`assert_type` fails where the type is another. An ignored error that is none fails too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, assert_type

from temporalio import activity, workflow

from temporal_fanout import Completed, FanOutOptions, FanOutResult, Source, ToleratedFailureExceeded, fan_out


@dataclass
class Order:
    customer: str


@dataclass
class Receipt:
    amount: int


@workflow.defn
class Invoice:
    @workflow.run
    async def run(self, customer: str) -> Receipt:
        return Receipt(len(customer))


@workflow.defn
class Bill:
    @workflow.run
    async def run(self, order: Order, currency: str, rate: float = 1.0) -> Receipt:
        return Receipt(1)


@workflow.defn
class Anything:
    @workflow.run
    async def run(self, *args: Any) -> list[int]:
        return []


@activity.defn
async def charge(order: Order) -> Receipt:
    return Receipt(1)


@activity.defn
async def charge_in(order: Order, currency: str) -> Receipt:
    return Receipt(1)


@activity.defn
def render(page: int) -> str:
    return ""


@activity.defn
def render_in(page: int, language: str) -> bytes:
    return b""


@activity.defn
async def notify(order: Order) -> None: ...


@activity.defn
async def untyped(value: Any, options: Any = None) -> int:
    return 1


class Plain:
    """Has an activity that is a method."""

    @activity.defn
    async def ship(self, order: Order) -> Receipt:
        return Receipt(1)


async def right(orders: list[Order], customers: list[str], source: Source) -> None:
    result = await fan_out(Invoice.run, customers)
    assert_type(result, FanOutResult[Receipt])
    assert_type(result.completed, list[Completed[Receipt]])
    assert_type(result.completed[0].result, Receipt)
    assert_type((await fan_out(Invoice.run, tuple(customers), FanOutOptions(name="a"))).completed[0].result, Receipt)
    assert_type((await fan_out(Invoice.run, source)).completed[0].result, Receipt)
    assert_type((await fan_out(Bill.run, orders, FanOutOptions(args=["EUR"]))).completed[0].result, Receipt)
    assert_type((await fan_out(Anything.run, [1, "two"])).completed[0].result, list[int])
    assert_type((await fan_out(charge, orders)).completed[0].result, Receipt)
    assert_type((await fan_out(charge_in, orders, FanOutOptions(args=["EUR"]))).completed[0].result, Receipt)
    assert_type((await fan_out(render, range(9))).completed[0].result, str)
    assert_type((await fan_out(render_in, [1, 2], FanOutOptions(args=["fr"]))).completed[0].result, bytes)
    assert_type((await fan_out(notify, orders)).completed[0].result, None)
    assert_type((await fan_out(untyped, [1, 2])).completed[0].result, Any)  # as with the SDK's own execute_activity
    assert_type((await fan_out(Plain().ship, orders)).completed[0].result, Receipt)
    assert_type((await fan_out(Plain.ship, orders)).completed[0].result, Receipt)
    assert_type((await fan_out(Invoice, customers)).completed[0].result, Any)
    assert_type((await fan_out(Invoice, customers, result_type=Receipt)).completed[0].result, Receipt)
    assert_type((await fan_out("Invoice", customers)).completed[0].result, Any)
    assert_type((await fan_out("Invoice", source, result_type=Receipt)).completed[0].result, Receipt)
    assert_type(
        (await fan_out("activity:charge", orders, result_type=list[Receipt])).completed[0].result, list[Receipt]
    )


async def stopped(customers: list[str]) -> FanOutResult:
    """A plain `FanOutResult` is one of `Any`."""
    try:
        return await fan_out(Invoice.run, customers)
    except ToleratedFailureExceeded as breach:
        assert_type(breach.result, FanOutResult[Any])
        return breach.result


async def wrong(orders: list[Order], customers: list[str]) -> None:
    await fan_out(Invoice.run, "text")  # type: ignore[call-overload]
    await fan_out(Invoice.run, b"bytes")  # type: ignore[call-overload]
    await fan_out("Invoice", "text")  # type: ignore[call-overload]
    await fan_out(Invoice.run, set(customers))  # type: ignore[call-overload]
    await fan_out(Invoice.run, iter(customers))  # type: ignore[call-overload]
    await fan_out(Invoice.run, orders)  # type: ignore[arg-type]
    await fan_out(charge, customers)  # type: ignore[arg-type]
    await fan_out(render, customers)  # type: ignore[arg-type]
    await fan_out(5, orders)  # type: ignore[call-overload]
    await fan_out("Invoice", customers, {"max_concurrency": 5})  # type: ignore[call-overload]
    await fan_out("Invoice", customers, result_type="Receipt")  # type: ignore[call-overload]
    await fan_out(Invoice.run, deque(customers), FanOutOptions(), Receipt)  # type: ignore[call-overload]
    result = await fan_out(Invoice.run, customers)
    print(result.completed[0].result.total)  # type: ignore[attr-defined]
