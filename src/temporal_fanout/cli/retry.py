"""`fanout retry`"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import sys
from dataclasses import replace
from typing import Annotated, Any

import typer
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.worker import Worker

from temporal_fanout.checks import InvalidInput
from temporal_fanout.cli.output import Format, counted, note, print_json
from temporal_fanout.cli.results import Id, ListFormat, ListOutput, RunId, show
from temporal_fanout.cli.run import PATIENCE_SECONDS, Patience, follow_and_report, parse_json, with_client
from temporal_fanout.histories.listing import Listing
from temporal_fanout.plugin import FanOutPlugin
from temporal_fanout.process.exit import ExitCode
from temporal_fanout.results import Outcome
from temporal_fanout.retries.choice import NOT_COMPLETED
from temporal_fanout.retries.merged import until_listed
from temporal_fanout.retries.plan import Plan, plan_retry, start_retry


def retry(
    id: Id,
    outcome: Annotated[
        list[Outcome] | None, typer.Option(help="Items with this outcome; repeatable. [default: all but completed]")
    ] = None,
    type: Annotated[
        list[str] | None, typer.Option(metavar="TYPE", help="Items with an error of this type; repeatable.")
    ] = None,
    index: Annotated[
        list[str] | None, typer.Option(metavar="LIST", help="Items with these numbers, as 3,7,10-20; repeatable.")
    ] = None,
    work: Annotated[
        str | None, typer.Option(help="Another child type, or activity:NAME; to undo, with --outcome completed.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the items, and start nothing.")] = False,
    task_queue: Annotated[
        str | None, typer.Option(help="Where a worker with the plugin runs the retry. [default: this command runs it]")
    ] = None,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", help="Start the retry and return; the worker of --task-queue, or of the origin's, runs it."
        ),
    ] = False,
    item_task_queue: Annotated[str | None, typer.Option(help="The items' queue. [default: each item's own]")] = None,
    args: Annotated[
        str | None, typer.Option(metavar="JSON", help="Arguments after each item, an array. [default: its own]")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for an item. [default: its own]")] = None,
    attempts: Annotated[int | None, typer.Option(help="Attempts of an item. [default: its own]")] = None,
    max_concurrency: Annotated[int | None, typer.Option(help="Items in flight, at most. [default: 100]")] = None,
    starts_per_second: Annotated[float | None, typer.Option(help="Items started a second, at most.")] = None,
    tolerated_failure_count: Annotated[int | None, typer.Option(help="Failures the run tolerates.")] = None,
    tolerated_failure_ratio: Annotated[float | None, typer.Option(help="The same, as a share of all items.")] = None,
    options: Annotated[
        str | None, typer.Option(metavar="JSON", help="Any other limit (docs/options.md), an object.")
    ] = None,
    run_id: RunId = None,
    output: ListOutput = None,
    patience: Patience = PATIENCE_SECONDS,
) -> int:
    """Run the items of a finished workflow that did not complete once more, or undo those that did.

    The command is the worker of the retry itself, unless --task-queue names one or --detach leaves it to one.
    """
    given = {
        "task_queue": item_task_queue,
        "args": None if args is None else parse_json("--args", args, list),
        "timeout": timeout,
        "retry": None if attempts is None else {"maximum_attempts": attempts},
        "max_concurrency": max_concurrency,
        "starts_per_second": starts_per_second,
        "tolerated_failure_count": tolerated_failure_count,
        "tolerated_failure_ratio": tolerated_failure_ratio,
    }
    limits: dict[str, Any] = {} if options is None else parse_json("--options", options, dict)
    limits |= {key: value for key, value in given.items() if value is not None}
    if output not in (None, ListFormat.TABLE, ListFormat.JSON) and not dry_run:
        raise InvalidInput("--output: of a retry is table or json; jsonl and csv are for --dry-run and fanout results")

    async def run(client: Client) -> int:
        plan = await plan_retry(
            client, id, run_id=run_id, outcomes=outcome or NOT_COMPLETED, types=type or (), indexes=index or (),
            work=work, task_queue=task_queue, options=limits,
        )  # fmt: skip
        if not plan.count:
            note(f"nothing to retry: none of the {plan.total} items of {id} is chosen")
            return ExitCode.DONE
        if task_queue is None and not detach:
            plan = replace(plan, task_queue=plan.own_queue)
        if dry_run:
            note(f"would start {_said(plan)}")
            listing = Listing(client, id, plan.choice.first_run, plan.choice.last_run)
            return await show(client, listing, listing.rows(), output, None, keep=plan.choice.takes)
        note(_said(plan))
        handle, started = await start_retry(client, plan)
        queue, is_open = await _found(handle)
        if is_open and queue != plan.task_queue:
            note(_elsewhere(plan, queue))
        if detach:
            return _detached(plan.id, started, output)
        async with _worker(client, queue) if is_open and queue == plan.own_queue else contextlib.nullcontext():
            try:
                shown = Format.JSON if output is ListFormat.JSON else Format.TABLE
                code = await follow_and_report(client, handle, started, queue, shown)
            except asyncio.CancelledError:
                if queue == plan.own_queue:
                    note(f"{plan.id} waits; go on with: fanout {shlex.join(sys.argv[1:])}")
                raise
        if not plan.choice.is_compensation:
            await until_listed(client, plan.id)
            note(f"the last outcome of every item: fanout results {id} --merged")
        return code

    return with_client(run, patience)


async def _found(handle: WorkflowHandle[Any, Any]) -> tuple[str, bool]:
    """The task queue of a retry that is there, and whether it is open."""
    described = await handle.describe()
    return described.task_queue, described.status is WorkflowExecutionStatus.RUNNING


def _worker(client: Client, task_queue: str) -> Worker:
    """Runs a retry, and its shards, in this process; the items run where they ran."""
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)  # what it would log, the command says itself
    return Worker(client, task_queue=task_queue, plugins=[FanOutPlugin()])


def _elsewhere(plan: Plan, queue: str) -> str:
    if queue == plan.own_queue:
        return f"{plan.id} was started before, to be run by this command; without --detach it goes on"
    return f"{plan.id} was started before, on {queue}; if no worker there has the plugin, terminate it first"


def _detached(id: str, started: bool, output: ListFormat | None) -> int:
    note(f"{'started' if started else 'attached to'} {id}; follow it with: fanout progress {id} --watch")
    if output is ListFormat.JSON:
        print_json({"workflow_id": id})
    return ExitCode.DONE


def _said(plan: Plan) -> str:
    what = "undoing" if plan.choice.is_compensation else "retrying"
    where = f"on {plan.task_queue}, whose worker needs the FanOutPlugin"
    if plan.task_queue == plan.own_queue:
        where = "in this command"
    return (
        f"{plan.id} {where}: {what} {plan.count} of the {plan.total} "
        f"items of {plan.choice.workflow_id} ({counted(plan.outcomes)}) with {_few(plan.work)} "
        f"on {_few(plan.task_queues)}{', the last first' if plan.choice.is_compensation else ''}"
    )


def _few(names: Any) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
