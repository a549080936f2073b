"""The parent, the child that deploys one service, and the child that takes it back."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from examples.deployment.fleet import Fleet
    from examples.deployment.models import Broken, Deployed, Plan
    from examples.steadfast import to_the_end
    from temporal_fanout import FanOutOptions, FanOutResult, Outcome, ToleratedFailureExceeded, fan_out

_AT_A_TIME = 5
_FIRST = timedelta(milliseconds=200)
_ATTEMPT = timedelta(seconds=10)
_STEP = workflow.ActivityConfig(
    start_to_close_timeout=_ATTEMPT, retry_policy=RetryPolicy(initial_interval=_FIRST, maximum_attempts=3)
)
_UNDO = workflow.ActivityConfig(
    start_to_close_timeout=_ATTEMPT, retry_policy=RetryPolicy(initial_interval=_FIRST, maximum_interval=_ATTEMPT)
)


@workflow.defn
class DeployService:
    """Brings one service to the new version, or leaves it as it was."""

    @workflow.run
    async def run(self, service: str) -> None:
        try:
            for step in (Fleet.migrate, Fleet.start_new, Fleet.check_health, Fleet.route_to_new):
                await workflow.execute_activity_method(step, service, **_STEP)
        except (FailureError, asyncio.CancelledError):
            await to_the_end(_roll_back(service))
            raise


@workflow.defn
class RollBackService:
    """Takes one service back to the old version."""

    @workflow.run
    async def run(self, service: str) -> None:
        await to_the_end(_roll_back(service))


async def _roll_back(service: str) -> None:
    for step in (Fleet.route_to_old, Fleet.stop_new, Fleet.migrate_back):
        await workflow.execute_activity_method(step, service, **_UNDO)


@workflow.defn
class DeployAll:
    """Deploys all services, a few at a time. If too many break, those that were updated are rolled back."""

    @workflow.run
    async def run(self, plan: Plan) -> Deployed:
        limits = FanOutOptions(max_concurrency=_AT_A_TIME, tolerated_failure_ratio=plan.tolerance)
        try:
            result = await fan_out(DeployService.run, plan.services, limits)
        except ToleratedFailureExceeded as breach:
            back = await self._take_back(breach.result)
            return _outcome(breach.result, back, breach.message)
        updated = [done.value for done in result.completed]
        await fan_out(Fleet.stop_old, updated, FanOutOptions(name="retire"))
        return _outcome(result, None, "")

    async def _take_back(self, result: FanOutResult) -> FanOutResult:
        """Rolls back what had completed, and what was ended before it could roll itself back."""
        services = [done.value for done in result.completed]
        services += [ended.value for ended in result.failed if ended.outcome is not Outcome.FAILED]
        return await fan_out(RollBackService.run, services, FanOutOptions(name="rollback"))


def _outcome(result: FanOutResult, back: FanOutResult | None, breach: str) -> Deployed:
    return Deployed(
        updated=[done.value for done in result.completed] if back is None else [],
        broken=[Broken(failure.value, failure.error) for failure in result.failed],
        not_started=result.not_started_count,
        rolled_back=[done.value for done in back.completed] if back else [],
        stuck=[Broken(failure.value, failure.error) for failure in back.failed] if back else [],
        breach=breach,
    )
