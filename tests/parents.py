"""Parents that know nothing of this package, and a child that ends in any way: what the history reader is to read."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import (
    Priority,
    RawValue,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)
from temporalio.exceptions import ApplicationError, ChildWorkflowError, WorkflowAlreadyStartedError

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
class Slow:
    """An activity and a child that take longer than one attempt may."""

    @workflow.run
    async def run(self) -> None:
        second = timedelta(seconds=1)
        policy = RetryPolicy(maximum_attempts=2, initial_interval=second / 10)
        await asyncio.gather(
            workflow.execute_activity(act, "sleep", start_to_close_timeout=second, retry_policy=policy),
            workflow.execute_child_workflow(Act.run, "sleep", run_timeout=second),
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


@workflow.defn
class Flaky:
    """Fails as often as it is told to, and completes where it is run by as many retries."""

    @workflow.run
    async def run(self, item: Any, *more: Any) -> dict[str, Any]:
        info = workflow.info()
        handle_flaky(item, info.parent.workflow_id if info.parent else "")
        timeout = info.execution_timeout.total_seconds() if info.execution_timeout else None
        attributes = {pair.key.name: pair.value for pair in info.typed_search_attributes}
        return {
            "item": item, "more": list(more), "memo": workflow.memo(), "timeout": timeout, "attributes": attributes,
            "task_queue": info.task_queue, "priority": info.priority.priority_key,
        }  # fmt: skip


@activity.defn
async def flaky(item: Any, *more: Any) -> list[Any]:
    """The same as an activity."""
    handle_flaky(item, activity.info().workflow_id or "")
    return [item, *more]


def handle_flaky(item: Any, parent_id: str) -> None:
    times = item.get("fails", 0) if isinstance(item, dict) else item % 3
    if parent_id.count(".retry-") < times:
        raise ApplicationError(f"not yet: {times}", type=f"Not{times}", non_retryable=True)


@workflow.defn
class GatherFlaky:
    """A plain gather over `Flaky`, each with further arguments and options of its own, on another task queue."""

    @workflow.run
    async def run(self, items: list[Any], task_queue: str) -> None:
        key = SearchAttributeKey.for_keyword("Customer")
        children = [
            workflow.execute_child_workflow(
                Flaky.run,
                args=[item, n, b"\x00\xff"[n % 2 :].decode("latin1")],
                id=f"{workflow.info().workflow_id}-flaky-{n}",
                task_queue=task_queue,
                execution_timeout=timedelta(seconds=50 + n),
                memo={"n": n},
                search_attributes=TypedSearchAttributes([SearchAttributePair(key, f"c-{n}")]),
                priority=Priority(priority_key=1 + n % 5),
            )
            for n, item in enumerate(items)
        ]
        activities = [
            workflow.execute_activity(
                flaky, args=[item, n], task_queue=task_queue, start_to_close_timeout=timedelta(seconds=50)
            )
            for n, item in enumerate(items)
        ]
        await asyncio.gather(*children, *activities, return_exceptions=True)


@workflow.defn
class EntityFlaky:
    """Handles two items a run by `Flaky`, whatever becomes of them, and continues as new with the rest."""

    @workflow.run
    async def run(self, items: list[Any]) -> None:
        id = workflow.info().workflow_id
        children = [
            workflow.execute_child_workflow("Flaky", item, id=f"{id}:{len(items)}:{n}")
            for n, item in enumerate(items[:2])
        ]
        await asyncio.gather(*children, return_exceptions=True)
        if len(items) > 2:
            workflow.continue_as_new(items[2:])


@workflow.defn
class Raw:
    """Takes and gives back whatever payload it is given; fails unless a retry runs it."""

    @workflow.run
    async def run(self, what: RawValue) -> RawValue:
        parent = workflow.info().parent
        if parent is None or ".retry-" not in parent.workflow_id:
            raise ApplicationError("not yet")
        return what


@workflow.defn
class GatherRaw:
    """Gives `Raw` payloads of these encodings and these bytes."""

    @workflow.run
    async def run(self, payloads: list[tuple[str, str]]) -> None:
        raw = [
            RawValue(Payload(metadata={"encoding": encoding.encode(), "more": b"\xff"}, data=base64.b64decode(data)))
            for encoding, data in payloads
        ]
        children = [workflow.execute_child_workflow(Raw.run, one) for one in raw]
        await asyncio.gather(*children, return_exceptions=True)


@workflow.defn
class Again:
    """Tries a child again, under the same id, until it completes; and starts one whose id is taken."""

    @workflow.run
    async def run(self) -> None:
        id = f"{workflow.info().workflow_id}-again"
        for what in ("fail", "fail", "complete"):
            with contextlib.suppress(ChildWorkflowError):
                await workflow.execute_child_workflow(Act.run, what, id=id)
        left = await workflow.start_child_workflow(Act.run, "sleep", id=f"{id}-2")
        with contextlib.suppress(WorkflowAlreadyStartedError):
            await workflow.start_child_workflow(Act.run, "complete", id=f"{id}-2")
        left.cancel()
        with contextlib.suppress(ChildWorkflowError):
            await left


@workflow.defn
class Refund:
    """Undoes an item: tells in which order that was done by when it started."""

    @workflow.run
    async def run(self, item: Any) -> list[Any]:
        return ["undone", item]


@workflow.defn
class Keyed:
    """Completes only with a key that is good, or bytes."""

    @workflow.run
    async def run(self, item: Any, key: Any = None, *more: Any) -> list[Any]:
        if key != "good" and not isinstance(key, bytes | list):
            raise ApplicationError(f"no key: {key}", type="Refused", non_retryable=True)
        return [item, len(more)]


@workflow.defn
class Childless:
    @workflow.run
    async def run(self) -> None:
        return None


WORKFLOWS: list[type] = [
    Act, Gather, GatherActivities, Slow, Entity, Leaver, Retried, Besides, Flaky, GatherFlaky, EntityFlaky, Raw,
    GatherRaw, Again, Refund, Childless, Keyed,
]  # fmt: skip
ACTIVITIES: list[Any] = [act, flaky]
