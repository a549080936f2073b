"""`fanout run`"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, FailureError

from temporal_fanout import lab, logs
from temporal_fanout.cli.output import Format, complain, counted, err, note, print_json, print_outcomes
from temporal_fanout.client import connect
from temporal_fanout.follow import INPUT_BYTES, Watcher, follow, start_or_attach
from temporal_fanout.logs import Level
from temporal_fanout.metrics import SCENARIO_MEMO
from temporal_fanout.models import InvalidInput
from temporal_fanout.process import ExitCode, on_signals, unless
from temporal_fanout.progress import Progress
from temporal_fanout.scenarios import SCENARIOS
from temporal_fanout.sources import read_items

Name = Annotated[str | None, typer.Argument(metavar="[SCENARIO]", help="One of: fanout scenarios.")]
Output = Annotated[Format, typer.Option(help="How to write the result.")]
Patience = Annotated[float, typer.Option(min=0, help="Seconds to wait for the server.")]
PATIENCE_SECONDS = 10.0


def run(
    scenario: Name = None,
    values: Annotated[str | None, typer.Option(metavar="JSON", help="The items, as a JSON array.")] = None,
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
    workflow: Annotated[str, typer.Option(help="The parent workflow.")] = lab.PARENT,
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
    inputs = read_input(scenario, values, items, source, limits)
    logs.configure(Level.WARNING)

    async def start(client: Client) -> int:
        return await run_and_report(client, inputs, id, workflow, task_queue, output, scenario_name or scenario)

    return with_client(start, patience)


def with_client(work: Callable[[Client], Coroutine[Any, Any, int]], patience: float) -> int:
    """What `work` returns, given a client of the server; `INTERRUPTED` where SIGINT or SIGTERM comes first."""

    async def start() -> int:
        return await work(await connect(patience, note))

    async def until_told_to_end() -> int:
        code = await unless(on_signals(), start())
        return ExitCode.INTERRUPTED if code is None else code

    return asyncio.run(until_told_to_end())


def read_input(
    scenario: str | None, values: str | None, items: Path | None, source: str | None, limits: dict[str, Any]
) -> list[Any]:
    """The parent's inputs: its items, and the options where there are any. Raises `InvalidInput`."""
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
        what, limits = list(known.values), known.options | limits
    elif values is not None:
        what = parse_json("--values", values, list)
    elif items is not None:
        what = _read_items(items)
    else:
        what = {"source": source}
    inputs = [what, limits] if limits else [what]
    lab.parent_input(inputs)
    size = len(json.dumps(what))
    if size > INPUT_BYTES:
        raise InvalidInput(
            f"input: {len(what)} items take {size / 1024**2:.1f} MiB, and the server takes "
            f"{INPUT_BYTES // 1024**2}; have the worker read them: --source ADDRESS"
        )
    return inputs


async def run_and_report(
    client: Client,
    inputs: Sequence[Any],
    id: str | None,
    workflow: str,
    task_queue: str,
    output: Format,
    scenario: str | None = None,
) -> int:
    """Starts a run, or attaches to it, follows it, and prints what became of its items."""
    memo = {SCENARIO_MEMO: scenario} if scenario else None
    for second in itertools.count(int(time.time())):
        own = id or f"parent-child-workflow-{second}"
        handle, started = await start_or_attach(client, workflow, own, task_queue, inputs, memo)
        if started or id is not None:
            break
    return await follow_and_report(client, handle, started, task_queue, output)


async def follow_and_report(
    client: Client, handle: WorkflowHandle[Any, Any], started: bool, task_queue: str, output: Format
) -> int:
    """Follows a run to its end, and prints what became of its items."""
    note(f"{'started' if started else 'attached to'} {handle.id}")
    began = time.monotonic()
    with _Bar() as bar:
        try:
            result = await follow(client, handle, task_queue, Watcher(bar.show, bar.note))
        except WorkflowFailureError as error:
            bar.stop()
            return _report_failure(handle.id, error.cause, output)
    if not isinstance(result, dict) or "successful_results" not in result:
        print_json(result)
    elif output is Format.JSON:
        print_json(result | {"workflow_id": handle.id})
    else:
        print_outcomes(result, handle.id, time.monotonic() - began if started else None)
    return ExitCode.DONE


def _report_failure(id: str, cause: BaseException, output: Format) -> int:
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


def parse_json(name: str, text: str, kind: type) -> Any:
    """The value of an option. Raises `InvalidInput`, naming it."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{name}: is not JSON: {error}") from None
    if not isinstance(value, kind):
        wanted = "a JSON array" if kind is list else "a JSON object"
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


class _Bar:
    """The progress of a run on stderr: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._said = 0.0
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=err(), transient=True, disable=not self._live,
        )  # fmt: skip
        self._task = self._bar.add_task("waiting for a worker", total=None)

    def __enter__(self) -> _Bar:
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

    def show(self, progress: Progress) -> None:
        failed = progress.finished - progress.outcomes["completed"]
        text = f"{progress.in_flight} in flight, {failed} failed"
        self._bar.update(self._task, description=text, total=progress.total, completed=progress.finished)
        # Where all have ended the result comes next, on stdout: two streams that one log takes might change places.
        if not self._live and progress.finished < progress.total and time.monotonic() - self._said > 5:
            self._said = time.monotonic()
            note(f"{progress.finished} of {progress.total} items, {text}")
