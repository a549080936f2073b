"""The stages: activities that each take what the one before made, and can be tried again."""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from temporalio import activity
from temporalio.exceptions import ApplicationError

from examples.pipeline.models import BATCH_ROWS, Batch, Files, Reject, Report, Row, Stage, Written

RATES = {"EUR": 1.0, "CHF": 1.04, "USD": 0.92}
"""Euros for one unit."""
OUTPUT_COLUMNS = ["order", "date", "email", "country", "product", "quantity", "euros"]
REJECT_COLUMNS = ["line", "order", "stage", "reason"]
MOST_EUROS = 10_000.0
"""Of one row: a price over it is a slip of the comma."""
MOST_REJECTS = 0.5
"""Of a batch: one with more rejects is not to be trusted, and refused as a whole."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[a-z]+", re.IGNORECASE)
_DATES = ("%Y-%m-%d", "%d.%m.%Y")


@activity.defn
def split_into_batches(files: Files) -> int:
    """Writes the rows as JSON lines of batches; returns how many rows there are."""
    count = 0
    with Path(files.input).open(newline="", encoding="utf-8") as given, _replaced(files.batches) as out:
        for number, rows in enumerate(_batches(csv.DictReader(given)), 1):
            out.write(json.dumps({"number": number, "rows": rows}) + "\n")
            count += len(rows)
    return count


@activity.defn
def validate(batch: Batch) -> Stage:
    """Is each row what it should be? Each reject says what is not."""
    good, rejects = [], []
    for row in batch.rows:
        if reason := _invalid(row):
            rejects.append(Reject(row["line"], row["order"], reason, "validation"))
        else:
            good.append(row)
    if len(rejects) > MOST_REJECTS * len(batch.rows):
        reason, count = Counter(reject.reason for reject in rejects).most_common(1)[0]
        raise ApplicationError(
            f"batch {batch.number}: {len(rejects)} of {len(batch.rows)} rows are invalid, {count} of them: {reason}",
            type="BatchRefused",
            non_retryable=True,
        )
    return Stage(batch.number, good, rejects)


@activity.defn
def transform(stage: Stage) -> Stage:
    """One form of dates, addresses and countries, and one currency."""
    rows = [
        {
            "line": row["line"],
            "order": row["order"],
            "date": _date(row["date"]).isoformat(),
            "email": row["email"].strip().lower(),
            "country": row["country"].upper(),
            "product": row["product"],
            "quantity": row["quantity"],
            "euros": f"{int(row['quantity']) * float(row['price']) * RATES[row['currency']]:.2f}",
        }
        for row in stage.rows
    ]
    return Stage(stage.number, rows, stage.rejects)


@activity.defn
def check_quality(stage: Stage) -> Stage:
    """Is each row, valid by itself, also likely?"""
    rows, rejects = [], list(stage.rejects)
    for row in stage.rows:
        if float(row["euros"]) > MOST_EUROS:
            rejects.append(Reject(row["line"], row["order"], f"total over {MOST_EUROS:,.0f} EUR", "quality"))
        else:
            rows.append(row)
    return Stage(stage.number, rows, rejects)


@activity.defn
def write_part(stage: Stage, files: Files) -> Written:
    """Leaves the batch's rows and rejects in files of its own, each whole or not there."""
    with _replaced(_part(files, stage.number, "rejects")) as out:
        out.writelines(json.dumps(vars(reject)) + "\n" for reject in stage.rejects)
    with _replaced(_part(files, stage.number, "rows")) as out:
        out.writelines(json.dumps(row) + "\n" for row in stage.rows)
    return Written(len(stage.rows), len(stage.rejects))


@activity.defn
def combine(files: Files, refused: dict[str, str]) -> Report:
    """Makes the two files of all parts; `refused` is why a batch has none, by its number.

    An order number that has been seen in an earlier row is a duplicate: only here are all batches together.
    """
    written, euros, seen = 0, 0.0, set[str]()
    reasons: Counter[str] = Counter()
    with _replaced(files.output) as out, _replaced(files.rejects) as rejected:
        output = csv.DictWriter(out, OUTPUT_COLUMNS, extrasaction="ignore")
        rejects = csv.DictWriter(rejected, REJECT_COLUMNS)
        output.writeheader()
        rejects.writeheader()
        for row in _rows_and_rejects(files, refused):
            if isinstance(row, dict) and row["order"] in seen:
                row = Reject(row["line"], row["order"], "order number seen before", "all batches")
            if isinstance(row, Reject):
                rejects.writerow(vars(row))
                reasons[row.reason] += 1
            else:
                output.writerow(row)
                seen.add(row["order"])
                written += 1
                euros += float(row["euros"])
    return Report(written, reasons.total(), dict(reasons), round(euros, 2))


def _rows_and_rejects(files: Files, refused: dict[str, str]) -> Iterator[Row | Reject]:
    """Each row of the input once: as it was written, or why it was not."""
    for line in _json_lines(files.batches):
        batch = Batch(**line)
        part, rejects = _part(files, batch.number, "rows"), _part(files, batch.number, "rejects")
        if str(batch.number) in refused or not part.exists():
            why = refused.get(str(batch.number), "its batch is not through")
            yield from (Reject(row["line"], row["order"], why, "batch") for row in batch.rows)
        else:
            yield from _json_lines(part)
            yield from (Reject(**reject) for reject in _json_lines(rejects))


def _invalid(row: Row) -> str:
    if not _EMAIL.fullmatch(row["email"].strip()):
        return "not an e-mail address"
    if not row["quantity"].isdecimal() or int(row["quantity"]) < 1:
        return "quantity is not a whole number above 0"
    if row["currency"] not in RATES:
        return "unknown currency"
    try:
        _date(row["date"])
    except ValueError:
        return "not a date"
    return ""


def _date(text: str) -> datetime.date:
    for form in _DATES:
        try:
            return datetime.datetime.strptime(text, form).date()
        except ValueError:
            continue
    raise ValueError(text)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    while batch := list(islice(rows, BATCH_ROWS)):
        yield batch


def _part(files: Files, number: int, kind: str) -> Path:
    return Path(files.parts) / f"{number:06}.{kind}.jsonl"


def _json_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    with Path(path).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


@contextlib.contextmanager
def _replaced(path: str | Path) -> Iterator[TextIO]:
    """The file to write; it is there when the block has ended, whole, in place of one that was there before."""
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        yield file
    unfinished.replace(path)
