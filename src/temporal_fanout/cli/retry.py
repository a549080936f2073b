"""`fanout retry`"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from temporalio.client import Client

from temporal_fanout.checks import InvalidInput
from temporal_fanout.cli.output import Format, counted, note
from temporal_fanout.cli.results import Id, ListFormat, ListOutput, RunId, show
from temporal_fanout.cli.run import PATIENCE_SECONDS, Patience, follow_and_report, parse_json, with_client
from temporal_fanout.histories.listing import Listing
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
        str | None, typer.Option(help="Where a worker with the plugin runs the retry. [default: the origin's]")
    ] = None,
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
    """Run the items of a finished workflow that did not complete once more, or undo those that did."""
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
        if dry_run:
            note(f"would start {_said(plan)}")
            listing = Listing(client, id, plan.choice.first_run, plan.choice.last_run)
            return await show(client, listing, listing.rows(), output, None, keep=plan.choice.takes)
        note(_said(plan))
        handle, started = await start_retry(client, plan)
        queue = plan.task_queue if started else (await handle.describe()).task_queue
        if queue != plan.task_queue:
            note(f"{plan.id} was started before, on {queue}; if no worker there has the plugin, terminate it first")
        shown = Format.JSON if output is ListFormat.JSON else Format.TABLE
        code = await follow_and_report(client, handle, started, queue, shown)
        if not plan.choice.is_compensation:
            await until_listed(client, plan.id)
            note(f"the last outcome of every item: fanout results {id} --merged")
        return code

    return with_client(run, patience)


def _said(plan: Plan) -> str:
    what = "undoing" if plan.choice.is_compensation else "retrying"
    return (
        f"{plan.id} on {plan.task_queue}, whose worker needs the FanOutPlugin: {what} {plan.count} of the {plan.total} "
        f"items of {plan.choice.workflow_id} ({counted(plan.outcomes)}) with {_few(plan.work)} "
        f"on {_few(plan.task_queues)}{', the last first' if plan.choice.is_compensation else ''}"
    )


def _few(names: Any) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
