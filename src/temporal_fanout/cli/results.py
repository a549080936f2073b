"""`fanout results`, and how items are listed"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
import sys
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from temporalio.client import Client

from temporal_fanout.checks import InvalidInput
from temporal_fanout.cli.output import ROWS, counted, err, note, out, print_table
from temporal_fanout.cli.run import PATIENCE_SECONDS, Patience, with_client
from temporal_fanout.histories.events import HistoryGone, read_attempts
from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.listing import Listing, Row
from temporal_fanout.process.exit import ExitCode
from temporal_fanout.results import Outcome
from temporal_fanout.retries.merged import merged
from temporal_fanout.wire.payloads import as_json

RUNNING = "running"
"""Where other items have an outcome."""
COLUMNS = ("index", "child_id", "input", "outcome", "result", "error", "type", "started_at", "seconds", "from_result")

_FAILED = {Outcome.FAILED, Outcome.TIMED_OUT, Outcome.CANCELLED, Outcome.TERMINATED}
_ASKED_AT_ONCE = 16
_SHOW_EVERY = 500

Write = Callable[[dict[str, Any]], None]


class ListFormat(StrEnum):
    """How items are listed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class Listed(StrEnum):
    """What can be asked for by --outcome."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    NOT_STARTED = "not_started"
    RUNNING = RUNNING


Id = Annotated[str, typer.Argument(metavar="ID", help="The workflow's id.")]
RunId = Annotated[
    str | None, typer.Option(metavar="RUN_ID", help="An older run, and what continues it. [default: the newest chain]")
]
ListOutput = Annotated[
    ListFormat | None, typer.Option(help="How to list. [default: table on a terminal, else jsonl, or as FILE ends]")
]
To = Annotated[Path | None, typer.Option(metavar="FILE", help="Write there; it is there only once it is whole.")]


def results(
    id: Id,
    failed: Annotated[bool, typer.Option("--failed", help="Only what was started and did not complete.")] = False,
    outcome: Annotated[list[Listed] | None, typer.Option(help="Only this outcome; repeatable.")] = None,
    merged: Annotated[
        bool, typer.Option("--merged", help="The last outcome of each item, retries and their retries included.")
    ] = False,
    attempts: Annotated[bool, typer.Option("--attempts", help="How often each was tried: asks every child.")] = False,
    run_id: RunId = None,
    output: ListOutput = None,
    to: To = None,
    patience: Patience = PATIENCE_SECONDS,
) -> int:
    """List what became of every child and activity of a workflow, whoever wrote it, finished or running."""
    wanted = {str(one) for one in outcome or ()} | ({str(one) for one in _FAILED} if failed else set())

    async def work(client: Client) -> int:
        listing = Listing(client, id, run_id)
        return await show(
            client, listing, merged_or_not(client, listing, merged), output, to,
            attempts=attempts, keep=lambda row: not wanted or str(row.item.outcome or RUNNING) in wanted,
        )  # fmt: skip

    return with_client(work, patience)


def merged_or_not(client: Client, listing: Listing, is_merged: bool) -> AsyncGenerator[Row, None]:
    return merged(client, listing) if is_merged else listing.rows()


async def show(
    client: Client,
    listing: Listing,
    rows: AsyncGenerator[Row, None],
    output: ListFormat | None,
    to: Path | None,
    *,
    attempts: bool = False,
    keep: Callable[[Row], bool] = lambda _: True,
) -> int:
    """Lists the rows that are to be kept as they are read, and says how many there were."""
    output = output or _format(to)
    counts, kept = Counter[str](), 0
    with _written(output, to) as write, _bar(output, to) as count:
        async with contextlib.aclosing(_attempted(client, _counted(rows, counts, keep), attempts)) as asked:
            async for row, tries in asked:
                kept += 1
                write(as_dict(row) | ({"attempts": tries} if attempts else {}))
                if kept % _SHOW_EVERY == 0:
                    count(sum(counts.values()))
    total = sum(counts.values())
    said = f"{total} items: {counted(counts) or 'it has started no child and no activity'} ({listing.workflow_id})"
    said += f"; {kept} listed" if kept < total else ""
    if output is ListFormat.TABLE and to is None:
        if kept > ROWS:
            out().print(f"… {ROWS} of {kept} shown; all: --output jsonl, csv or json")
        out().print(said)
    else:
        note(said)
    if listing.lost_items:
        shards = f"{listing.lost_items} items of {listing.lost_shards} shards"
        note(f"{shards} are known from their results only: their histories are gone")
    if listing.waiting:
        note(f"{listing.waiting} more wait to be started")
    if not listing.rest_known:
        note("it closed before its end, and nothing says how many more items it would have had")
    return ExitCode.DONE


def as_dict(row: Row) -> dict[str, Any]:
    """A row as JSON; what is not JSON of its payloads is shown as its encoding and size."""
    item = row.item
    return {
        "index": None if item.is_unnamed else row.index,
        "child_id": item.child_id,
        "input": as_json(item.inputs[0]) if item.inputs else None,
        "outcome": str(item.outcome or RUNNING),
        "result": as_json(item.result),
        "error": item.error,
        "type": item.type,
        "started_at": item.started_at and item.started_at.isoformat(timespec="milliseconds"),
        "seconds": None if item.seconds is None else round(item.seconds, 3),
        "from_result": item.from_result,
    }


async def _counted(
    rows: AsyncGenerator[Row, None], counts: Counter[str], keep: Callable[[Row], bool]
) -> AsyncGenerator[Row, None]:
    async with contextlib.aclosing(rows):
        async for row in rows:
            counts[str(row.item.outcome or RUNNING)] += 1
            if keep(row):
                yield row


async def _attempted(
    client: Client, rows: AsyncGenerator[Row, None], asked: bool
) -> AsyncGenerator[tuple[Row, int | None], None]:
    """Each row with its attempts; where they are asked for, of a few rows at once."""
    ahead: deque[tuple[Row, asyncio.Task[int | None]]] = deque()
    try:
        async with contextlib.aclosing(rows):
            async for row in rows:
                if not asked:
                    yield row, None
                    continue
                ahead.append((row, asyncio.create_task(_attempts(client, row.item))))
                if len(ahead) == _ASKED_AT_ONCE:
                    first, task = ahead.popleft()
                    yield first, await task
            while ahead:
                first, task = ahead.popleft()
                yield first, await task
    finally:
        for _, task in ahead:
            task.cancel()
        await asyncio.gather(*(task for _, task in ahead), return_exceptions=True)


async def _attempts(client: Client, item: ItemOutcome) -> int | None:
    """None: it was not started, is an activity that runs, or has no history any more."""
    if item.attempt or not item.run_id:
        return item.attempt or None
    try:
        return await read_attempts(client, item.child_id, item.run_id)
    except HistoryGone:
        return None


# -- writing


def _format(to: Path | None) -> ListFormat:
    if to is not None:
        return {".csv": ListFormat.CSV, ".json": ListFormat.JSON}.get(to.suffix.lower(), ListFormat.JSONL)
    return ListFormat.TABLE if sys.stdout.isatty() else ListFormat.JSONL


@contextlib.contextmanager
def _written(output: ListFormat, to: Path | None) -> Iterator[Write]:
    """What writes one row after the other; at its end, and only then, a file is there under its name."""
    if to is None:
        with _writer(output, sys.stdout) as write:
            yield write
        sys.stdout.flush()
        return
    if to.exists() and not to.is_file():  # a device or a pipe
        with _opened(to, "w") as file, _writer(output, file) as write:
            yield write
        return
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        with _opened(part, "x") as file, _writer(output, file) as write:
            yield write
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)


def _opened(path: Path, mode: str) -> TextIO:
    try:
        return path.open(mode, encoding="utf-8", newline="")  # type: ignore[return-value]
    except OSError as error:
        raise InvalidInput(f"--to: {path} cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def _writer(output: ListFormat, file: TextIO) -> Iterator[Write]:
    if output is ListFormat.JSONL:
        yield lambda row: print(json.dumps(row, ensure_ascii=False), file=file)
    elif output is ListFormat.CSV:
        with _csv(file) as write:
            yield write
    elif output is ListFormat.JSON:
        with _json_array(file) as write:
            yield write
    else:
        with _table() as write:
            yield write


@contextlib.contextmanager
def _csv(file: TextIO) -> Iterator[Write]:
    """Inputs and results as JSON; what is not there is an empty field."""
    writer = csv.writer(file, lineterminator="\n")
    columns: list[str] = []

    def write(row: dict[str, Any]) -> None:
        if not columns:
            columns.extend(row)
            writer.writerow(columns)
        text = {key: json.dumps(row[key], ensure_ascii=False) for key in ("input", "result") if row[key] is not None}
        writer.writerow((row | text).values())

    yield write
    if not columns:
        writer.writerow(COLUMNS)


@contextlib.contextmanager
def _json_array(file: TextIO) -> Iterator[Write]:
    before = "[\n"

    def write(row: dict[str, Any]) -> None:
        nonlocal before
        file.write(before + json.dumps(row, ensure_ascii=False))
        before = ",\n"

    yield write
    file.write("[]\n" if before == "[\n" else "\n]\n")


@contextlib.contextmanager
def _table() -> Iterator[Write]:
    """As many rows as a person reads; where there are more, those that did not complete come first."""
    good: list[tuple[int | None, Any, str, Any]] = []
    bad: list[tuple[int | None, Any, str, Any]] = []

    def write(row: dict[str, Any]) -> None:
        is_good = row["outcome"] in (Outcome.COMPLETED, RUNNING)
        rows = good if is_good else bad
        if len(rows) < ROWS:
            cause = f"{row['type']}: {row['error']}" if row["type"] else ""
            what = row["result"] if row["outcome"] == Outcome.COMPLETED else cause
            tries = f" ({row['attempts']} attempts)" if row.get("attempts", 1) not in (1, None) else ""
            rows.append((row["index"], row["input"], row["outcome"].replace("_", " ") + tries, what))

    yield write
    rows = bad + good
    print_table(sorted(rows, key=lambda row: row[0] or 0) if len(rows) <= ROWS else rows[:ROWS])


@contextlib.contextmanager
def _bar(output: ListFormat, to: Path | None) -> Iterator[Callable[[int], None]]:
    """Tells on a terminal how many items were read; not where the items themselves are shown on it as they come."""
    is_shown = to is None and output is not ListFormat.TABLE and sys.stdout.isatty()
    bar = Bar(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=err(), transient=True, disable=is_shown or not sys.stderr.isatty(),
    )  # fmt: skip
    task = bar.add_task("reading histories", total=None)
    with bar:
        yield lambda read: bar.update(task, description=f"{read:,} items read")
