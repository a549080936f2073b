"""Batches of rows, and what each stage makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from examples.checks import share, whole

BATCH_ROWS = 100
Row = dict[str, str]


@dataclass(frozen=True)
class Inputs:
    """What the command line can set."""

    rows: int = field(default=10_000, metadata={"help": "how many rows, up to 200,000"})
    failure_rate: float = field(default=0.05, metadata={"help": "the share of rows that are wrong"})

    def __post_init__(self) -> None:
        whole("rows", self.rows, most=200_000)
        share("failure-rate", self.failure_rate)


@dataclass(frozen=True)
class Files:
    """Where the pipeline reads and writes."""

    input: str
    batches: str
    """JSON lines, one for each batch: what `Source.file` reads."""
    parts: str
    """Of each batch that is through, a file of rows and one of rejects."""
    output: str
    rejects: str


@dataclass(frozen=True)
class Batch:
    """An item of the fan-out: a batch is an item that has a list in it."""

    number: int
    rows: list[Row]


@dataclass(frozen=True)
class Reject:
    """A row that did not get through."""

    line: str
    """Of the input, where the first row is line 2."""
    order: str
    reason: str
    stage: str


@dataclass(frozen=True)
class Stage:
    """What a stage hands to the next: rows, and what has been rejected so far."""

    number: int
    rows: list[Row]
    rejects: list[Reject]


@dataclass(frozen=True)
class Written:
    """What a batch came to."""

    rows: int
    rejects: int


@dataclass(frozen=True)
class Report:
    """What the rows came to."""

    written: int
    rejected: int
    reasons: dict[str, int]
    euros: float
    """The total of the rows that were written."""


@dataclass(frozen=True)
class Cleaned:
    """What the whole run came to."""

    rows: int
    batches: int
    refused: dict[str, str]
    """The batches that did not get through: why, by number."""
    report: Report
