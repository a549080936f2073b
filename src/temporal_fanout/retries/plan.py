"""The plan of a retry: what it takes of a finished workflow, and its start."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RawValue

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.events import describe
from temporal_fanout.histories.listing import Listing
from temporal_fanout.histories.values import encoded
from temporal_fanout.operations.follow import start_or_attach
from temporal_fanout.results import Outcome
from temporal_fanout.retries.choice import NOT_COMPLETED, ORIGIN_MEMO, Choice, Limits, ranges
from temporal_fanout.wire.payloads import pack
from temporal_fanout.wire.protocol import RETRY_WORKFLOW
from temporal_fanout.wire.starts import name_of, split

_SEVERAL = "several"


@dataclass(frozen=True)
class Plan:
    """What a retry would do."""

    choice: Choice
    options: Mapping[str, Any]
    """The limits of the run, in the JSON form of `FanOutOptions`."""
    args: Sequence[Payload]
    """What the arguments after each item are changed to, if the choice says so."""
    id: str
    """Of the retry."""
    task_queue: str
    """Of the retry itself; each item's own is in its history, or in the choice's changes."""
    total: int
    """Items of the origin."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Of the items that it takes, how many there are of each."""
    work: Sequence[str] = ()
    """The types of what it starts."""
    task_queues: Sequence[str] = ()
    """Where it starts them."""

    @property
    def count(self) -> int:
        """Items that it takes."""
        return sum(self.outcomes.values())

    @property
    def own_queue(self) -> str:
        """A task queue that no other run uses, for a worker that is there for this retry only."""
        return self.id

    @property
    def inputs(self) -> list[RawValue]:
        """What the retry's workflow is given."""
        limits = Limits(work=self.work[0] if len(self.work) == 1 else _SEVERAL, options=dict(self.options))
        return [self.choice.to_raw(), limits.to_raw(), RawValue(pack(self.args))]

    @property
    def memo(self) -> dict[str, Any]:
        return {ORIGIN_MEMO: {"workflow_id": self.choice.workflow_id, "run_id": self.choice.first_run}}


async def plan_retry(
    client: Client,
    workflow_id: str,
    *,
    run_id: str | None = None,
    outcomes: Iterable[str] = NOT_COMPLETED,
    types: Iterable[str] = (),
    indexes: Iterable[int | str] = (),
    work: Any = None,
    task_queue: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """Reads the histories of a workflow and says what a retry would do, with the arguments of `retry`.

    Raises as `retry` does, but not where there is nothing to retry: the plan's count is 0 then.
    """
    changes, limits = split(options or {})
    converter = client.data_converter.payload_converter
    args = converter.to_payloads(changes.pop("args", ()))
    listing = Listing(client, workflow_id, run_id)
    choice = Choice(
        workflow_id=workflow_id,
        first_run="",
        last_run="",
        outcomes=_outcomes(outcomes),
        types=sorted(set(types)),
        indexes=ranges(indexes),
        work=None if work is None else name_of(work),
        changes=changes,
        has_args="args" in (options or {}),
    )
    as_in_history = await encoded(client, args)
    total, counts, works, queues = 0, Counter[str](), dict[str, None](), dict[str, None]()
    async for row in listing.rows():
        total += 1
        if choice.takes(row):
            choice.start(row, as_in_history)
            counts[str(row.item.outcome)] += 1
            works[choice.work or row.item.child_type] = None
            queues[changes.get("task_queue") or row.item.task_queue] = None
    _check(listing, total)
    choice = replace(choice, first_run=listing.runs[0], last_run=listing.runs[-1])
    return Plan(
        choice=choice,
        options=limits,
        args=args,
        id=_id(choice, args),
        task_queue=task_queue or (await describe(client, workflow_id)).task_queue,
        total=total,
        outcomes=counts,
        work=list(works),
        task_queues=list(queues),
    )


async def start_retry(client: Client, plan: Plan) -> tuple[WorkflowHandle[Any, Any], bool]:
    """The retry of this plan, started unless it is there, open or closed; and whether it was started now.

    One that was closed before it had started anything, as where no worker of its task queue has the plugin, is started
    again.
    """
    args = (client, RETRY_WORKFLOW, plan.id, plan.task_queue, plan.inputs, plan.memo)
    handle, started = await start_or_attach(*args)
    if not started and await _was_in_vain(client, plan.id):
        return await start_or_attach(*args, again=True)
    return handle, started


async def _was_in_vain(client: Client, id: str) -> bool:
    listing = Listing(client, id)
    async with contextlib.aclosing(listing.rows()) as rows:
        async for row in rows:
            if row.item.outcome is not Outcome.NOT_STARTED:
                return False
    return listing.closed and listing.outcome is not Outcome.COMPLETED


async def retry(
    client: Client,
    workflow_id: str,
    *,
    run_id: str | None = None,
    outcomes: Iterable[str] = NOT_COMPLETED,
    types: Iterable[str] = (),
    indexes: Iterable[int | str] = (),
    work: Any = None,
    task_queue: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> WorkflowHandle[Any, Any]:
    """Starts a run over the items of a closed workflow that did not complete; returns its handle.

    Any workflow can be retried, in any language: each child or activity is started as its history says, with the same
    type, task queue, inputs, timeouts, retry policy, memo, search attributes and priority. The run's result is the JSON
    form of `FanOutResult`; its items are those that were taken, in their order.

    `outcomes` are those to take, `types` the types of errors, `indexes` numbers of items and ranges as `"10-20"`.
    With `outcomes=["completed"]` and the `work` that undoes one item it compensates, from the last item to the first.
    `task_queue` is where a worker with the `FanOutPlugin` polls, unless the origin's own does. `options` are those of
    `FanOutOptions` in their JSON form: the limits of the run, and what is to change of each start: `task_queue`,
    `timeout`, `retry`, `args`. Without `run_id` the newest run is retried, with all that it continues.

    The same choice of the same runs with the same changes is the same retry, whatever its limits: it is started once,
    and given again, open or closed.

    Raises `InvalidInput` where nothing is to be retried, where the workflow or a child of it still runs, and for
    arguments that cannot work; `HistoryGone` where retention has removed the history; `RPCError` when the server does
    not answer.
    """
    plan = await plan_retry(
        client,
        workflow_id,
        run_id=run_id,
        outcomes=outcomes,
        types=types,
        indexes=indexes,
        work=work,
        task_queue=task_queue,
        options=options,
    )
    if not plan.count:
        raise InvalidInput(f"{workflow_id}: none of its {plan.total} items is to be retried")
    handle, _ = await start_retry(client, plan)
    return handle


def _outcomes(given: Iterable[str]) -> list[Outcome]:
    try:
        return sorted({Outcome(one) for one in given})
    except ValueError as error:
        raise InvalidInput(f"outcomes: {error}; there are {', '.join(Outcome)}") from None


def _check(listing: Listing, total: int) -> None:
    id = listing.workflow_id
    if not listing.closed:
        raise InvalidInput(f"{id}: still runs; wait for its end")
    if not listing.settled:
        raise InvalidInput(f"{id}: has closed, but children of it still run; wait for their end, or end them")
    if not total:
        raise InvalidInput(f"{id}: has started no child and no activity, so there is nothing to retry")


def _id(choice: Choice, args: Sequence[Payload]) -> str:
    """Says all that tells one retry of a workflow from another: what is run, and how it is started."""
    chosen = asdict(choice) | {"version": 0, "args": [arg.SerializeToString(deterministic=True).hex() for arg in args]}
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
    return f"{choice.workflow_id}.retry-{digest[:10]}"
