"""`fanout run`"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, FailureError

from temporal_fanout import lab
from temporal_fanout.checks import InvalidInput
from temporal_fanout.cli.output import (
    Format,
    complain,
    counted,
    err,
    has_outcomes,
    note,
    print_json,
    print_outcomes,
    print_result,
)
from temporal_fanout.lab.scenarios import SCENARIOS
from temporal_fanout.metrics import SCENARIO_MEMO
from temporal_fanout.operations.attributes import check_search_attributes
from temporal_fanout.operations.connect import connect
from temporal_fanout.operations.follow import INPUT_BYTES, Watcher, follow, start_or_attach
from temporal_fanout.operations.steady import Pace, Progress, seconds_left, together
from temporal_fanout.process import logs
from temporal_fanout.process.exit import ExitCode, on_signals, unless
from temporal_fanout.process.logs import Level
from temporal_fanout.sources.files import read_items

Name = Annotated[str | None, typer.Argument(metavar="[SCENARIO]", help="One of: fanout scenarios.")]
Output = Annotated[Format, typer.Option(help="How to write the result.")]
Patience = Annotated[float, typer.Option(min=0, help="Seconds to wait for the server.")]
PATIENCE_SECONDS = 10.0


def run(
    scenario: Name = None,
    values: Annotated[
        str | None, typer.Option(metavar="JSON", help="The items, an array; for a --workflow, what it takes.")
    ] = None,
    items: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The items, read here: .json, .jsonl or .csv.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The items, read by the worker: .jsonl or .csv, at any size.")
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            "--id", help="The run's id; one that is there, open or closed, is attached to. [default: by time]"
        ),
    ] = None,
    workflow: Annotated[
        str | None, typer.Option(help=f"The parent workflow. [default: SCENARIO's, or {lab.PARENT}]")
    ] = None,
    task_queue: Annotated[str, typer.Option(envvar="FANOUT_TASK_QUEUE", help="The parent's queue.")] = lab.TASK_QUEUE,
    child: Annotated[str | None, typer.Option(help="The workflow to run for each item.")] = None,
    activity: Annotated[str | None, typer.Option(help="The activity to run for each item.")] = None,
    max_concurrency: Annotated[int | None, typer.Option(help="Items in flight, at most. [default: 100]")] = None,
    shard_size: Annotated[int | None, typer.Option(help="Items of one shard. [default: 200]")] = None,
    starts_per_second: Annotated[float | None, typer.Option(help="Items started a second, at most.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for an item. [default: 3600]")] = None,
    attempts: Annotated[int | None, typer.Option(help="Attempts of an item. [default: 1]")] = None,
    item_task_queue: Annotated[str | None, typer.Option(help="The items' queue. [default: the parent's]")] = None,
    args: Annotated[str | None, typer.Option(metavar="JSON", help="More arguments of each item, an array.")] = None,
    tolerated_failure_count: Annotated[int | None, typer.Option(help="Failures the run tolerates.")] = None,
    tolerated_failure_ratio: Annotated[float | None, typer.Option(help="The same, as a share of all items.")] = None,
    options: Annotated[
        str | None, typer.Option(metavar="JSON", help="Any other option (docs/options.md), an object.")
    ] = None,
    scenario_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its scenario in metrics. [default: SCENARIO]")
    ] = None,
    patience: Patience = PATIENCE_SECONDS,
    output: Output = Format.TABLE,
) -> int:
    """Run a fan-out to its end and print what became of each item: a SCENARIO, --values, --items or --source."""
    given = {
        "child": child,
        "activity": activity,
        "max_concurrency": max_concurrency,
        "shard_size": shard_size,
        "starts_per_second": starts_per_second,
        "timeout": timeout,
        "retry": None if attempts is None else {"maximum_attempts": attempts},
        "task_queue": item_task_queue,
        "args": None if args is None else parse_json("--args", args, list),
        "tolerated_failure_count": tolerated_failure_count,
        "tolerated_failure_ratio": tolerated_failure_ratio,
    }
    limits = {} if options is None else parse_json("--options", options, dict)
    limits |= {key: value for key, value in given.items() if value is not None}
    inputs = read_input(scenario, values, items, source, limits, workflow)
    parent = workflow or parent_of(scenario)

    async def start(client: Client) -> int:
        await check_search_attributes(client, limits_of(inputs).get("search_attributes") or {})
        return await run_and_report(client, inputs, id, parent, task_queue, output, scenario_name or scenario)

    return with_client(start, patience)


def with_client(work: Callable[[Client], Coroutine[Any, Any, int]], patience: float) -> int:
    """What `work` returns, given a client of the server; `INTERRUPTED` where SIGINT or SIGTERM comes first."""

    logs.configure(Level.WARNING)

    async def start() -> int:
        return await work(await connect(patience, note))

    async def until_told_to_end() -> int:
        code = await unless(on_signals(), start())
        return ExitCode.INTERRUPTED if code is None else code

    return asyncio.run(until_told_to_end())


def parent_of(scenario: str | None) -> str:
    """The parent workflow of a scenario that there is, or of none."""
    return lab.PARENT if scenario is None else SCENARIOS[scenario].workflow


def read_input(
    scenario: str | None,
    values: str | None,
    items: Path | None,
    source: str | None,
    limits: dict[str, Any],
    workflow: str | None = None,
) -> list[Any]:
    """The parent's inputs: its items, and the options where there are any. Raises `InvalidInput`.

    A `workflow` that is named may be another than `ParentWorkflow`, and take an object in place of items.
    """
    ways = {"SCENARIO": scenario, "--values": values, "--items": items, "--source": source}
    used = [way for way, value in ways.items() if value is not None]
    if len(used) != 1:
        raise InvalidInput(
            f"input: give one of SCENARIO, --values, --items and --source, not {' and '.join(used) or 'none'}"
        )
    what: Any
    if scenario is not None:
        known = SCENARIOS.get(scenario)
        if known is None:
            raise InvalidInput(f"SCENARIO: {scenario} is not known; known are {', '.join(SCENARIOS)}")
        what, limits = known.inputs[0], {**known.options, **limits}
    elif values is not None:
        what = parse_json("--values", values, list if workflow in (None, lab.PARENT) else list | dict)
    elif items is not None:
        what = _read_items(items)
    else:
        what = {"source": source}
    inputs = [what, limits] if limits else [what]
    of_its_own = isinstance(what, dict) and source is None
    lab.parent_input([[] if of_its_own else what, *inputs[1:]])
    size = len(json.dumps(what))
    if size > INPUT_BYTES:
        raise InvalidInput(
            f"input: {len(what)} items take {size / 1024**2:.1f} MiB, and the server takes "
            f"{INPUT_BYTES // 1024**2}; have the worker read them: --source ADDRESS"
        )
    return inputs


def limits_of(inputs: Sequence[Any]) -> dict[str, Any]:
    """The options of a run among its inputs, as `read_input` gives them."""
    return inputs[1] if len(inputs) > 1 else {}


async def run_and_report(
    client: Client,
    inputs: Sequence[Any],
    id: str | None,
    workflow: str,
    task_queue: str,
    output: Format,
    scenario: str | None = None,
    command: str = "fanout",
) -> int:
    """Starts a run, or attaches to it, and then as `follow_and_report`."""
    memo = {SCENARIO_MEMO: scenario} if scenario else None
    for second in itertools.count(int(time.time())):
        own = id or f"parent-child-workflow-{second}"
        handle, started = await start_or_attach(client, workflow, own, task_queue, inputs, memo)
        if started or id is not None:
            break
    return await follow_and_report(client, handle, started, task_queue, output, command)


async def follow_and_report(
    client: Client,
    handle: WorkflowHandle[Any, Any],
    started: bool,
    task_queue: str,
    output: Format,
    command: str = "fanout",
) -> int:
    """Follows a run to its end, and prints what became of its items, or what else it returned.

    `command` is what a person types in another terminal to reach the same server.
    """
    note(f"{'started' if started else 'attached to'} {handle.id}")
    began = time.monotonic()
    with RunBar(f"{command} held {handle.id}") as bar:
        try:
            result = await follow(client, handle, task_queue, Watcher(bar.show, bar.note))
        except WorkflowFailureError as error:
            bar.stop()
            return report_failure(handle.id, error.cause, output)
    seconds = time.monotonic() - began if started else None
    if output is Format.JSON:
        if isinstance(result, dict):
            result.setdefault("workflow_id", handle.id)
        print_json(result)
    elif has_outcomes(result):
        print_outcomes(result, handle.id, seconds)
    else:
        print_result(result, handle.id, seconds)
    return ExitCode.DONE


def report_failure(id: str, cause: BaseException, output: Format) -> int:
    """Prints why a run failed and what became of its items; returns the exit code."""
    kind = (cause.type if isinstance(cause, ApplicationError) else None) or type(cause).__name__
    message = cause.message if isinstance(cause, FailureError) else str(cause)
    details = cause.details[0] if isinstance(cause, ApplicationError) and cause.details else None
    if output is Format.JSON:
        print_json({"error": message, "type": kind, "summary": details, "workflow_id": id})
    elif isinstance(details, dict) and "outcomes" in details:
        for failure in details["failed_children"]:
            note(f"  item {failure['index']} {failure['outcome']}: {failure['type']}: {failure['error']}")
        note(f"  {details['total_children']} items: {counted(details['outcomes'])}")
    complain(f"{id} failed: {kind}: {message}; its history: temporal workflow show --workflow-id {id}")
    return ExitCode.WRONG_INPUT if kind == "InvalidInput" else ExitCode.RUN_FAILED


def parse_json(name: str, text: str, kind: type | UnionType) -> Any:
    """The value of an option. Raises `InvalidInput`, naming it."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{name}: is not JSON: {error}") from None
    if not isinstance(value, kind):
        wanted = "a JSON array" if kind is list else "a JSON object" if kind is dict else "a JSON array or object"
        raise InvalidInput(f"{name}: must be {wanted}, not {text if len(text) <= 60 else text[:59] + '…'}")
    return value


def _read_items(path: Path) -> list[Any]:
    if path.suffix in (".csv", ".jsonl"):
        return read_items(str(path), path.suffix[1:])
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidInput(f"--items: {path} cannot be read: {reason}") from None
    items: list[Any] = parse_json("--items", text, list)
    return items


class RunBar:
    """The progress of a run on stderr: a bar on a terminal, else a line now and then.

    `held` is the command that shows what waits for a person, once nothing else is left to wait for.
    """

    def __init__(self, held: str) -> None:
        self._held = held
        self._waited_for = 0
        self._pace = Pace()
        self._live = sys.stderr.isatty()
        self._said = 0.0
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=err(), transient=True, disable=not self._live,
        )  # fmt: skip
        self._task = self._bar.add_task("waiting for a worker", total=None)

    def __enter__(self) -> RunBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._bar.stop()

    def note(self, message: str) -> None:
        if self._live:
            self._bar.console.print(message)
        else:
            note(message)

    def show(self, answers: Mapping[str, Progress]) -> None:
        progress = together(answers)
        self._pace.look(time.monotonic(), progress)
        seconds = seconds_left(progress, self._pace.items_per_second)
        failed = progress.finished - progress.outcomes["completed"]
        text = f"{progress.in_flight} in flight, {failed} failed" + (f", {progress.held} held" if progress.held else "")
        text += f", about {seconds:.0f} s left" if seconds else ""
        self._bar.update(self._task, description=text, total=progress.total, completed=progress.finished)
        left = progress.held if progress.in_flight + progress.waiting == 0 else 0
        if left and left != self._waited_for:
            self.note(f"held for a person: {left}; see: {self._held}")
        self._waited_for = left
        # Where all have ended the result comes next, on stdout: two streams that one log takes might change places.
        if not self._live and progress.finished < progress.total and time.monotonic() - self._said > 5:
            self._said = time.monotonic()
            note(f"{progress.finished} of {progress.total} items, {text}")
