"""Retry: a run over chosen items of a finished workflow, whoever wrote it, and what became of each item in the end.

A retry is a workflow of its own, whose id is that of its origin, `.retry-` and a digest of what was chosen: the same
choice is the same retry, however often it is asked for. Its memo names the origin. A retry can be retried.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import RawValue

from temporal_fanout.choice import NOT_COMPLETED, Choice, ranges
from temporal_fanout.events import describe, read_started
from temporal_fanout.follow import start_or_attach
from temporal_fanout.history import ItemOutcome
from temporal_fanout.lab import parent_output
from temporal_fanout.listing import Listing, Row
from temporal_fanout.models import FanOutOptions, FanOutResult, InvalidInput, Outcome, Source
from temporal_fanout.recorded import RECORDED, split
from temporal_fanout.sources import READ_HISTORY
from temporal_fanout.work import name_of

RETRY_WORKFLOW = "FanOutRetry"
ORIGIN_MEMO = "fanout_origin"
"""Of a retry: `workflow_id` and `run_id` of what it retries, the first run of a chain."""

_PAGE_TIMEOUT = timedelta(hours=1)
"""For a page of a history, or a survey of all of it, with every attempt."""
_SEVERAL = "several"
_LISTED_TRIES = 50
"""How often visibility is asked for a new workflow, every 0.2 s: it usually has it within a second."""


@dataclass(frozen=True)
class Plan:
    """What a retry would do."""

    choice: Choice
    options: Mapping[str, Any]
    """The limits of the run, in the JSON form of `FanOutOptions`."""
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
    def inputs(self) -> list[Any]:
        """What the retry's workflow is given."""
        work = self.work[0] if len(self.work) == 1 else _SEVERAL
        return [self.choice.to_dict(), {"work": work, "options": dict(self.options)}]

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
    FanOutOptions.from_dict(limits)
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
    )
    args = await client.data_converter.encode(changes.get("args", ()))
    total, counts, works, queues = 0, Counter[str](), dict[str, None](), dict[str, None]()
    async for row in listing.rows():
        total += 1
        if choice.takes(row):
            choice.start(row, args)
            counts[str(row.item.outcome)] += 1
            works[choice.work or row.item.child_type] = None
            queues[changes.get("task_queue") or row.item.task_queue] = None
    _check(listing, total)
    choice = replace(choice, first_run=listing.runs[0], last_run=listing.runs[-1])
    return Plan(
        choice=choice,
        options=limits,
        id=_id(choice),
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

    The same choice of the same runs is the same retry: it is started once, and given again, open or closed.

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


def _id(choice: Choice) -> str:
    chosen = [choice.first_run, choice.last_run, choice.outcomes, choice.types, choice.indexes, choice.work]
    return f"{choice.workflow_id}.retry-{hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:10]}"


# -- inside the retry's workflow


def retry_input(args: Sequence[Any]) -> tuple[str, Source, FanOutOptions]:
    """What `FanOutRetry` was given, as `fan_out` takes it. Raises `InvalidInput`."""
    if len(args) != 2 or not isinstance(args[1], dict) or not isinstance(args[1].get("work"), str):
        raise InvalidInput("input: a retry is started by fanout retry, or by temporal_fanout.retry")
    choice = Choice.from_dict(args[0])
    source = Source(READ_HISTORY, [choice.to_dict()], timeout=_PAGE_TIMEOUT)
    return RECORDED + args[1]["work"], source, FanOutOptions.from_dict(args[1].get("options"))


def retry_output(result: FanOutResult) -> RawValue:
    """The result as JSON, in the order of its keys."""
    return parent_output(result)


# -- what became of each item in the end


async def merged(client: Client, listing: Listing) -> AsyncGenerator[Row, None]:
    """The rows of a listing, each with the last outcome that its item had: of the origin, or of a retry, or of theirs.

    What was retried and not yet started keeps the outcome it had. A compensation is no retry: it leaves outcomes as
    they are. In constant memory, for each retry. Raises as `Listing.rows`.
    """
    retries: list[_Retry] | None = None
    try:
        async for row in listing.rows():
            if retries is None:
                retries = await _retries(client, listing.workflow_id, listing.runs[0])
            item = row.item
            for one in retries:
                if one.choice.takes(row):
                    last = await one.next()
                    if last is not None and last.outcome is not Outcome.NOT_STARTED:
                        item = replace(last, index=row.item.index, inputs=row.item.inputs)
            yield row if item is row.item else replace(row, item=item)
    finally:
        for one in retries or ():
            await one.close()


async def until_listed(client: Client, workflow_id: str) -> None:
    """Waits until visibility has a workflow that was just started, so that `merged` finds it; not for ever."""
    for _ in range(_LISTED_TRIES):
        if (await client.count_workflows(f'WorkflowId = "{_quoted(workflow_id)}"')).count:
            return
        await asyncio.sleep(0.2)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class _Retry:
    """A retry of the workflow that is being listed; its items come in the order of those that it took."""

    def __init__(self, client: Client, id: str, run_id: str, choice: Choice, started_at: float) -> None:
        self.choice = choice
        self.started_at = started_at
        self._rows = merged(client, Listing(client, id, run_id))
        self._taken = 0
        self._ahead: Row | None = None
        self._is_over = False

    async def next(self) -> ItemOutcome | None:
        """What became of the next item that it took; none where it has not come to it."""
        number, self._taken = self._taken, self._taken + 1
        while not self._is_over and (self._ahead is None or self._ahead.index < number):
            self._ahead = await anext(self._rows, None)
            self._is_over = self._ahead is None
        return self._ahead.item if self._ahead is not None and self._ahead.index == number else None

    async def close(self) -> None:
        await self._rows.aclose()


async def _retries(client: Client, workflow_id: str, run_id: str) -> list[_Retry]:
    """The retries of the chain of runs that begins with this one, the first started first."""
    query = f'WorkflowType = "{RETRY_WORKFLOW}" AND WorkflowId STARTS_WITH "{_quoted(workflow_id)}.retry-"'
    is_own = re.compile(re.escape(workflow_id) + r"\.retry-[0-9a-f]{10}")
    found = []
    async for run in client.list_workflows(query):
        if is_own.fullmatch(run.id) and run.run_id:
            started = await read_started(client, run.id, run.run_id)
            choice = Choice.from_dict((await client.data_converter.decode(started.input.payloads[:1]))[0])
            if choice.first_run == run_id and not choice.is_compensation:
                found.append(_Retry(client, run.id, run.run_id, choice, run.start_time.timestamp()))
    return sorted(found, key=lambda one: one.started_at)
