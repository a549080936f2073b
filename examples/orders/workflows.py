"""The parent and its child."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from examples.orders.activities import Shop
    from examples.orders.models import Fulfilled, Order, Refusal, Summary
    from examples.steadfast import to_the_end
    from temporal_fanout import FanOutOptions, fan_out

_FIRST = timedelta(milliseconds=200)
_ATTEMPT = timedelta(seconds=10)
_STEP = workflow.ActivityConfig(
    start_to_close_timeout=_ATTEMPT, retry_policy=RetryPolicy(initial_interval=_FIRST, maximum_attempts=5)
)
_ALWAYS = workflow.ActivityConfig(
    start_to_close_timeout=_ATTEMPT, retry_policy=RetryPolicy(initial_interval=_FIRST, maximum_interval=_ATTEMPT)
)
"""Without a limit of attempts: money that is owed is given back however long the service is away."""


@workflow.defn
class FulfilOrder:
    """All steps of one order or, as it seems afterwards, none: also where the run is cancelled in the middle."""

    @workflow.run
    async def run(self, order: Order) -> Fulfilled:
        undo: list[Callable[[Shop, Order], None]] = []
        try:
            # What undoes a step is noted before it: one that gave no answer may have been done all the same.
            undo.append(Shop.release_stock)
            await workflow.execute_activity_method(Shop.reserve_stock, order, **_STEP)
            undo.append(Shop.refund_payment)
            await workflow.execute_activity_method(Shop.charge_payment, order, **_STEP)
            undo.append(Shop.cancel_label)
            tracking = await workflow.execute_activity_method(Shop.buy_label, order, **_STEP)
        except (FailureError, asyncio.CancelledError):
            await to_the_end(self._take_back(undo, order))
            raise
        # From here on the order stands, and the customer is told, also if the run is cancelled just now.
        await to_the_end(self._notify(order, tracking))
        return Fulfilled(order.id, tracking)

    async def _take_back(self, undo: list[Callable[[Shop, Order], None]], order: Order) -> None:
        for step in reversed(undo):
            await workflow.execute_activity_method(step, order, **_ALWAYS)

    async def _notify(self, order: Order, tracking: str) -> None:
        await workflow.execute_activity_method(Shop.notify_customer, args=[order, tracking], **_ALWAYS)


@workflow.defn
class FulfilOrders:
    """Fans the orders out. One that cannot be fulfilled is part of the result, and hinders no other."""

    @workflow.run
    async def run(self, orders: list[Order]) -> Summary:
        result = await fan_out(FulfilOrder.run, orders, FanOutOptions(max_concurrency=50))
        refusals = [Refusal(failure.value.id, failure.type, failure.error) for failure in result.failed]
        return Summary(result.total_children, result.success_count, refusals)
