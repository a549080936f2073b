"""The data pipeline: each row of the input is in one of its two files, once."""

from __future__ import annotations

import csv
import uuid
from collections import Counter
from pathlib import Path

import pytest
from temporalio.client import Client

from examples.pipeline.__main__ import ACTIVITIES
from examples.pipeline.generate import write_input
from examples.pipeline.models import Files, Inputs
from examples.pipeline.workflows import CleanBatch, CleanSales
from examples.program import Parts, working
from temporal_fanout.process.devserver import DevServer
from tests.examples.programs import AsShown, run_as_shown, started

pytestmark = [pytest.mark.xdist_group("pipeline"), pytest.mark.timeout(300)]

RATES = {"EUR": 1.0, "CHF": 1.04, "USD": 0.92}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Written:
    """The input and the two outputs."""

    def __init__(self, directory: Path) -> None:
        self.given = read(directory / "sales.csv")
        self.clean = read(directory / "clean.csv")
        self.rejected = read(directory / "rejected.csv")

    def check_that_no_row_is_lost(self) -> None:
        rejected = [row["line"] for row in self.rejected]
        written = Counter(row["order"] for row in self.clean)
        assert max(written.values()) == 1
        kept = [row for row in self.given if row["line"] not in set(rejected)]
        assert len(rejected) == len(set(rejected))
        assert Counter(row["order"] for row in kept) == written


@pytest.fixture(scope="module")
async def shown(tmp_path_factory: pytest.TempPathFactory) -> AsShown:
    return await run_as_shown("pipeline", tmp_path_factory.mktemp("pipeline"))


async def test_the_readmes_command_shows_what_the_readme_shows(shown: AsShown) -> None:
    """By its one command the example runs on a dev server of its own, says this, and leaves no process."""
    shown.check()


async def test_each_of_10000_rows_is_written_or_rejected_once(shown: AsShown) -> None:
    """No row is lost, and none is in both files or twice in one."""
    files = Written(shown.ended.directory)
    assert len(files.given) == 10_000
    assert len(files.clean) + len(files.rejected) == 10_000
    files.check_that_no_row_is_lost()


async def test_what_is_rejected_is_what_is_wrong_and_says_why(shown: AsShown) -> None:
    """The reason of each reject is what is wrong with its row; a batch that is mostly wrong is refused as a whole."""
    files = Written(shown.ended.directory)
    given = {row["line"]: row for row in files.given}
    for reject in files.rejected:
        row, reason = given[reject["line"]], reject["reason"]
        wrong = {
            "not an e-mail address": "@" not in row["email"],
            "quantity is not a whole number above 0": row["quantity"] == "-1",
            "unknown currency": row["currency"] not in RATES,
            "total over 10,000 EUR": float(row["price"]) > 10_000,
            "order number seen before": row["order"] == "S0000000",
        }
        assert wrong.get(reason) or (reason.startswith("batch 41: ") and 4002 <= int(row["line"]) <= 4101), reject
    assert sum(reject["stage"] == "batch" for reject in files.rejected) == 100
    good = [row for row in files.given if "@" in row["email"] and row["date"] and float(row["price"]) < 100]
    good = [row for row in good if row["quantity"] != "-1" and row["currency"] in RATES and row["order"] > "S0000000"]
    in_batch_41 = [row for row in good if 4002 <= int(row["line"]) <= 4101]
    assert len(files.clean) == len(good) - len(in_batch_41) + 1  # one of the rows with the doubled number is the first


async def test_what_is_written_is_in_one_form(shown: AsShown) -> None:
    """Amounts are in euros, dates in ISO's form, addresses in lower case; nothing else has changed."""
    files = Written(shown.ended.directory)
    given = {row["order"]: row for row in files.given}
    for row in files.clean:
        source = given[row["order"]]
        if row["order"] != "S0000000":
            euros = int(source["quantity"]) * float(source["price"]) * RATES[source["currency"]]
            assert abs(float(row["euros"]) - euros) < 0.006
            assert row["email"] == source["email"].strip().lower()
            assert row["country"] == source["country"].upper()
        assert len(row["date"].split("-")) == 3
        assert row["date"][:5] == "2025-"


async def test_the_rows_come_from_a_source_and_run_as_children(
    server: DevServer, client: Client, tmp_path: Path
) -> None:
    """On the user's own server: the parent asks for pages, each batch is a child, and no row holds its history up."""
    async with started("examples.pipeline", "clean", temporary=tmp_path, address=server.address) as program:
        ended = await program.end()
    assert ended.code == 0, ended.err
    assert "2,000 rows in 20 batches: 2,000 written, 0 rejected" in ended.out
    Written(ended.directory).check_that_no_row_is_lost()
    types: Counter[str] = Counter()
    async for event in client.get_workflow_handle(ended.id).fetch_history_events():
        types[event.activity_task_scheduled_event_attributes.activity_type.name] += 1
        types[event.start_child_workflow_execution_initiated_event_attributes.workflow_type.name] += 1
    assert types["fanout_read_file"] == 2  # a survey and a page
    assert types["CleanBatch"] == 20


async def test_a_batch_that_cannot_be_written_is_rejected_as_a_whole(client: Client, tmp_path: Path) -> None:
    """Where something is in the way of one batch's file, its rows are rejects that say so; the others are written."""
    names = ("sales.csv", "batches.jsonl", "parts", "clean.csv", "rejected.csv")
    files = Files(*(str(tmp_path / name) for name in names))
    write_input(Path(files.input), Inputs(500, 0.0))
    (Path(files.parts) / "000002.rows.jsonl").mkdir(parents=True)
    queue = f"pipeline-{uuid.uuid4().hex[:8]}"
    parts = Parts([CleanSales, CleanBatch], ACTIVITIES, source_roots=[str(tmp_path)])
    async with working(client, queue, parts):
        cleaned = await client.execute_workflow(CleanSales.run, files, id=queue, task_queue=queue)
    assert list(cleaned.refused) == ["2"]
    assert "Is a directory" in cleaned.refused["2"]
    written = Written(tmp_path)
    written.check_that_no_row_is_lost()
    assert [int(reject["line"]) for reject in written.rejected] == list(range(102, 202))
    assert {reject["reason"] for reject in written.rejected} == {cleaned.refused["2"]}
    assert len(written.clean) == 400
