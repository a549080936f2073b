"""`python -m examples.pipeline`: makes a clean CSV of a generated one, and says why the rest was rejected."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from examples.pipeline import stages
from examples.pipeline.generate import write_input
from examples.pipeline.models import Cleaned, Files, Inputs
from examples.pipeline.workflows import CleanBatch, CleanSales
from examples.program import Asked, Parts, Scenario, main, note, running
from temporal_fanout.plugin import Expected

SCENARIOS = [
    Scenario("default", "10,000 rows in 100 batches", "9,406 are written, and one batch is refused", Inputs()),
    Scenario("clean", "no row is wrong", "2,000 of 2,000 are written", Inputs(2000, 0.0)),
    Scenario("dirty", "four rows in ten are wrong", "1,201 of 2,000 are written", Inputs(2000, 0.4)),
]
ACTIVITIES: list[Callable[..., Any]] = [
    stages.split_into_batches,
    stages.validate,
    stages.transform,
    stages.check_quality,
    stages.write_part,
    stages.combine,
]


async def example(asked: Asked[Inputs]) -> int:
    files = _files(asked.directory)
    write_input(Path(files.input), asked.inputs)
    note(f"{asked.inputs.rows:,} rows in {files.input}")
    parts = Parts(
        [CleanSales, CleanBatch],
        ACTIVITIES,
        [Expected(CleanSales, CleanBatch, asked.scenario)],
        source_roots=[str(asked.directory)],
    )
    async with running(asked, "pipeline", parts, CleanSales.run, files) as cleaned:
        note(f"written: {files.output}\n         {files.rejects}")
        return _report(cleaned, Path(files.output))


def _files(directory: Path) -> Files:
    directory = directory.resolve()
    (directory / "parts").mkdir()
    names = ("sales.csv", "batches.jsonl", "parts", "clean.csv", "rejected.csv")
    return Files(*(str(directory / name) for name in names))


def _report(cleaned: Cleaned, output: Path) -> int:
    report = cleaned.report
    print(
        f"{cleaned.rows:,} rows in {cleaned.batches} batches: {report.written:,} written, {report.rejected:,} rejected"
    )
    for reason, count in sorted(report.reasons.items(), key=lambda entry: -entry[1]):
        print(f"{count:6,} {reason}")
    print(f"total of what was written: {report.euros:,.2f} EUR; its first rows:")
    with output.open(encoding="utf-8") as file:
        for line in islice(file, 4):
            print(f"  {line.rstrip()}")
    lost = cleaned.rows - report.written - report.rejected
    if lost:
        print(f"NOT TRUE: every row is written or rejected; {lost} are neither")
    return 1 if lost else 0


if __name__ == "__main__":
    main(__doc__ or "", SCENARIOS, example)
