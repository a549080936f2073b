"""`fanout compare`"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from temporalio.client import Client, WorkflowFailureError

from temporal_fanout import lab
from temporal_fanout.checks import InvalidInput
from temporal_fanout.cli.output import Format, counted, note, out, print_json
from temporal_fanout.cli.run import (
    PATIENCE_SECONDS,
    Name,
    Output,
    RunBar,
    parent_of,
    read_input,
    report_failure,
    with_client,
)
from temporal_fanout.operations.follow import Watcher, follow, start_or_attach
from temporal_fanout.process.exit import ExitCode


def compare(
    scenario: Name = None,
    values: Annotated[str | None, typer.Option(metavar="JSON", help="The items instead, as a JSON array.")] = None,
    max_concurrency: Annotated[int | None, typer.Option(help="Of the parallel run. [default: 100]")] = None,
    task_queue: Annotated[str, typer.Option(envvar="FANOUT_TASK_QUEUE", help="The parent's queue.")] = lab.TASK_QUEUE,
    output: Output = Format.TABLE,
) -> int:
    """Run the same items one after another, then in parallel, and print both with the speed-up."""
    if (scenario is None) == (values is None):
        raise InvalidInput("input: give either SCENARIO or --values")
    ways = {"sequential": 1, "parallel": max_concurrency}
    inputs = {way: _input(scenario, values, lanes) for way, lanes in ways.items()}

    async def both(client: Client) -> int:
        second = int(time.time())
        runs = []
        for way, given in inputs.items():
            try:
                runs.append(await _timed(client, way, f"parent-child-workflow-{second}-{way}", given, task_queue))
            except WorkflowFailureError as error:
                return report_failure(f"parent-child-workflow-{second}-{way}", error.cause, output)
        _show(runs, output)
        return ExitCode.DONE

    return with_client(both, PATIENCE_SECONDS)


def _input(scenario: str | None, values: str | None, lanes: int | None) -> list[Any]:
    given = read_input(scenario, values, None, None, {} if lanes is None else {"max_concurrency": lanes})
    if parent_of(scenario) != lab.PARENT:
        raise InvalidInput(f"SCENARIO: {scenario} is of {parent_of(scenario)}; give one of {lab.PARENT}")
    if not given[0]:
        raise InvalidInput("input: is empty; there is nothing to compare")
    if len(given) > 1:
        given[1].pop("on_failure", None)  # nobody is there to decide on what is held
    return given


async def _timed(client: Client, way: str, id: str, inputs: list[Any], task_queue: str) -> dict[str, Any]:
    """A run, with its time as the server has it: what this process takes to notice is not of interest."""
    handle, _ = await start_or_attach(client, lab.PARENT, id, task_queue, inputs)
    note(f"started {id}, {way}")
    with RunBar(f"fanout held {id}") as bar:
        result = await follow(client, handle, task_queue, Watcher(bar.show, bar.note))
    described = await handle.describe()
    closed = described.close_time or datetime.now(UTC)  # a closed run has one
    seconds = (closed - described.start_time).total_seconds()
    return {"execution_type": way, "execution_time": round(seconds, 3), "results": result, "workflow_id": id}


def _show(runs: list[dict[str, Any]], output: Format) -> None:
    sequential, parallel = (run["execution_time"] for run in runs)
    speed_up = sequential / parallel if parallel else None
    if output is Format.JSON:
        print_json({"runs": runs, "speed_up": None if speed_up is None else round(speed_up, 2)})
        return
    table = Table("execution", "seconds", "items/s", "outcomes", "workflow id", box=None, pad_edge=False)
    for run in runs:
        seconds, total = run["execution_time"], run["results"]["total_children"]
        rate = f"{total / seconds:.1f}" if seconds else ""
        table.add_row(
            run["execution_type"], f"{seconds:.2f}", rate, counted(run["results"]["outcomes"]), run["workflow_id"]
        )
    out().print(table)
    if speed_up is not None:
        out().print(f"speed-up: {speed_up:.1f}")
