"""What a person, or a program, reads of a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from temporal_fanout.process.logs import Level

ROWS = 50
"""Of a table, at most."""
_CELL = 100


MetricsPort = Annotated[
    int,
    typer.Option(
        envvar="FANOUT_METRICS_PORT", min=0, max=65535, help="Of /metrics, /livez and /readyz; 0 is any free one."
    ),
]
LogLevel = Annotated[Level, typer.Option(envvar="FANOUT_LOG_LEVEL", case_sensitive=False, help="The least to log.")]


class Format(StrEnum):
    """How results are written to stdout."""

    TABLE = "table"
    JSON = "json"


def out() -> Console:
    """Stdout: results."""
    return _console(sys.stdout)


def err() -> Console:
    """Stderr: progress, notes, errors."""
    return _console(sys.stderr, stderr=True)


def _console(stream: Any, stderr: bool = False) -> Console:
    width = None if stream.isatty() else 160
    return Console(stderr=stderr, width=width, highlight=False, markup=False, soft_wrap=not stream.isatty())


def complain(message: str) -> None:
    """One line on stderr."""
    print("error: " + " ".join(message.split()), file=sys.stderr)


def note(message: str) -> None:
    """One line on stderr for a person."""
    print(message, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def has_outcomes(result: Any) -> bool:
    """Whether a run's result is that of a fan-out, as `FanOutResult.to_dict` has it."""
    return isinstance(result, dict) and {"outcomes", "successful_results", "failed_indexes"} <= result.keys()


def print_result(result: Any, workflow_id: str, seconds: float | None) -> None:
    """Any other result: JSON for a person to read, and the run that it is of."""
    out().print(_json_lines(result))
    out().print(f"ended{_took(seconds)} ({workflow_id})")


def print_outcomes(result: Mapping[str, Any], workflow_id: str, seconds: float | None) -> None:
    """The table of outcomes, with the root cause of each failure, and the counts."""
    rows = _rows(result)
    print_table(rows[:ROWS])
    console = out()
    shown = min(len(rows), ROWS)
    if shown < result["total_children"]:
        console.print(f"… {shown} of {result['total_children']} items shown; all: fanout results {workflow_id}")
    if result.get("truncated"):
        console.print("The result was cut to its limit of bytes; the counts are whole.")
    console.print(summary(result, workflow_id, seconds))


def print_table(rows: Sequence[tuple[int | None, Any, str, Any]]) -> None:
    """A row an item: index, value, outcome, and its result or root cause. Nothing for no rows."""
    table = Table("item", "value", "outcome", "result or root cause", box=None, pad_edge=False)
    for index, value, outcome, what in rows:
        style = "green" if outcome == "completed" else "yellow" if outcome == "running" else "red"
        table.add_row("" if index is None else str(index), _short(value), Text(outcome, style=style), _short(what))
    if rows:
        out().print(table)


def summary(result: Mapping[str, Any], workflow_id: str, seconds: float | None) -> str:
    """The counts in one line."""
    counts = counted(result["outcomes"])
    rate = f"success rate {100 * result['success_rate']:.1f} %"
    return f"{result['total_children']} items{_took(seconds)}: {counts or 'nothing to do'}; {rate} ({workflow_id})"


def _took(seconds: float | None) -> str:
    return "" if seconds is None else f" in {seconds:.1f} s"


def _json_lines(value: Any, indent: str = "") -> str:
    """JSON in which what is short is one line, and what is not has a line for each entry."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent + flat) <= _CELL or not value or not isinstance(value, dict | list):
        return flat
    inner = indent + "  "
    if isinstance(value, list):
        entries, (left, right) = [_json_lines(entry, inner) for entry in value], "[]"
    else:
        entries = [f"{json.dumps(key)}: {_json_lines(entry, inner)}" for key, entry in value.items()]
        left, right = "{}"
    return left + "".join(f"\n{inner}{entry}," for entry in entries)[:-1] + f"\n{indent}{right}"


def counted(outcomes: Mapping[str, int]) -> str:
    """As in: 3 completed, 2 timed out."""
    return ", ".join(f"{n} {outcome.replace('_', ' ')}" for outcome, n in outcomes.items() if n)


def _rows(result: Mapping[str, Any]) -> list[tuple[int | None, Any, str, Any]]:
    """In the order of the input; failures first where not all fit."""
    indexes = result["failed_indexes"]
    failed: list[tuple[int | None, Any, str, Any]] = [
        (index, entry["value"], outcome.replace("_", " "), f"{entry['type']}: {entry['error']}")
        for index, outcome, entry in zip(indexes, result["failed_outcomes"], result["failed_children"], strict=True)
    ]
    good = result["successful_results"]
    rest: list[int | None] = [None] * len(good)
    if len(failed) + len(good) == result["total_children"]:
        missing = set(indexes)
        rest = [index for index in range(result["total_children"]) if index not in missing]
    completed = [(i, e["value"], "completed", e["result"]) for i, e in zip(rest, good, strict=True)]
    if len(failed) + len(completed) > ROWS or None in rest:
        return failed + completed
    return sorted(failed + completed, key=lambda row: row[0] or 0)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"
