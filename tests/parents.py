"""Parents that know nothing of this package, and a child that ends in any way: what the history reader is to read."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from temporal_fanout import FanOutOptions, fan_out


@workflow.defn
class Act:
    """Completes, fails, fails by its activity, or sleeps until it is ended."""

    @workflow.run
    async def run(self, what: str) -> str:
        if what == "fail":
            raise ApplicationError("no such customer", {"id": 17}, type="Missing")
        if what == "activity":
            await workflow.execute_activity(
                "declined",
                5,
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        if what == "sleep":
            await workflow.sleep(600)
        return what.upper()


@activity.defn
async def act(what: str) -> str:
    """The same as an activity."""
    if what == "fail":
        raise ApplicationError("no such customer", type="Missing", non_retryable=True)
    if what == "sleep":
        await asyncio.sleep(600)
    return what.upper()


@workflow.defn
class Gather:
    """Temporal's own way: children by gather, with ids of its own or the SDK's."""

    @workflow.run
    async def run(self, whats: list[str], seconds: float | None = None) -> list[str]:
        ended = await asyncio.gather(
            *(
                workflow.execute_child_workflow(
                    Act.run,
                    what,
                    id=f"{workflow.info().workflow_id}-child-{n}",
                    execution_timeout=timedelta(seconds=seconds) if seconds else None,
                )
                for n, what in enumerate(whats)
            ),
            return_exceptions=True,
        )
        return [str(end) for end in ended]


@workflow.defn
class GatherActivities:
    """The same with activities, whose ids are the SDK's: 1, 2, 3, …"""

    @workflow.run
    async def run(self, whats: list[str], seconds: float) -> None:
        await asyncio.gather(
            *(
                workflow.execute_activity(
                    act,
                    what,
                    start_to_close_timeout=timedelta(seconds=seconds),
                    retry_policy=RetryPolicy(maximum_attempts=1),
                )
                for what in whats
            ),
            return_exceptions=True,
        )


@workflow.defn
class Entity:
    """Handles two items a run and continues as new with the rest."""

    @workflow.run
    async def run(self, whats: list[str]) -> str:
        for n, what in enumerate(whats[:2]):
            await workflow.execute_child_workflow(Act.run, what, id=f"{workflow.info().workflow_id}:{len(whats)}:{n}")
        if len(whats) > 2:
            workflow.continue_as_new(whats[2:])
        return "done"


@workflow.defn
class Leaver:
    """Completes while its child runs on."""

    @workflow.run
    async def run(self) -> None:
        await workflow.start_child_workflow(
            Act.run,
            "sleep",
            id=f"{workflow.info().workflow_id}-left",
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        )


@workflow.defn
class Retried:
    """Fans out, and fails its first attempt after that."""

    @workflow.run
    async def run(self) -> int:
        result = await fan_out(Act.run, ["a", "fail"])
        if workflow.info().attempt < 2:
            raise ApplicationError("not yet")
        return result.success_count


@workflow.defn
class Besides:
    """Runs activities of its own before and after a fan-out over the same activity, in a list that it makes itself."""

    @workflow.run
    async def run(self, count: int) -> None:
        for _ in range(2):
            await workflow.execute_activity(act, "own", start_to_close_timeout=timedelta(seconds=10))
        await fan_out(act, [f"item {n}" for n in range(count)], FanOutOptions(shard_size=3))
        await workflow.execute_activity(act, "own", start_to_close_timeout=timedelta(seconds=10))


WORKFLOWS: list[type] = [Act, Gather, GatherActivities, Entity, Leaver, Retried, Besides]
ACTIVITIES: list[Any] = [act]
