"""The report: its figures are the database's, and what is missing is said."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from temporal_fanout.process.devserver import DevServer
from tests.examples.programs import AsShown, run_as_shown, started

pytestmark = [pytest.mark.xdist_group("report"), pytest.mark.timeout(300)]

_VOID = {"meta", "i"}


class Page(HTMLParser):
    """The page's text; every element that is opened is closed, and nothing is fetched from elsewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.elements: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        assert tag != "script"
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.text.append(data)


def revenue(directory: Path) -> dict[str, int]:
    """By month, from the lines themselves; a month in which a price is missing has none."""
    query = (
        "SELECT month, SUM(lines.quantity * lines.price) FROM lines JOIN orders ON orders.id = lines.order_id "
        "GROUP BY month HAVING COUNT(*) = COUNT(lines.price)"
    )
    with closing(sqlite3.connect(directory / "sales.db")) as db:
        return dict(db.execute(query).fetchall())


@pytest.fixture(scope="module")
async def shown(tmp_path_factory: pytest.TempPathFactory) -> AsShown:
    return await run_as_shown("report", tmp_path_factory.mktemp("report"))


async def test_the_readmes_command_shows_what_the_readme_shows(shown: AsShown) -> None:
    """By its one command the example runs on a dev server of its own, says this, and leaves no process."""
    shown.check()


async def test_the_pages_figures_are_those_of_the_database(shown: AsShown) -> None:
    """The year's revenue and that of each month stand in the page as the database has them, and it has its charts."""
    directory = shown.ended.directory
    page, by_month = Page(directory / "report.html"), revenue(directory)
    assert len(by_month) == 12
    total = sum(by_month.values())
    assert page.text.count(f"{total / 100:,.0f} €") == 2  # the first figure, and the last line of the finance table
    for cents in by_month.values():
        assert f"{cents / 100:,.0f} €" in page.text
    assert "12 of 12 months: " in shown.ended.out
    assert f"{total / 100:,.2f} EUR" in shown.ended.out
    assert page.elements.count("svg") == 2
    assert page.elements.count("table") == 3
    assert "Not in this report" not in page.text


async def test_what_is_damaged_is_a_gap_that_the_page_names(server: DevServer, client: Client, tmp_path: Path) -> None:
    """Two months without prices: the page says so and has the other ten; the three fan-outs ran side by side."""
    async with started("examples.report", "damaged", temporary=tmp_path, address=server.address) as program:
        ended = await program.end()
    assert ended.code == 0, ended.err
    page, by_month = Page(ended.directory / "report.html"), revenue(ended.directory)
    assert len(by_month) == 10
    missing = {f"2025-{month:02}" for month in range(1, 13)} - set(by_month)
    said = [re.fullmatch(r"(sales|finance) of (2025-\d\d): \d+ order lines have no price", text) for text in page.text]
    assert sorted((gap[1], gap[2]) for gap in said if gap) == sorted(
        (part, month) for part in ("sales", "finance") for month in missing
    )
    assert f"{sum(by_month.values()) / 100:,.0f} €" in page.text
    assert page.text.count("no data") == 2

    first_end = None
    started_before = []
    async for event in client.get_workflow_handle(ended.id).fetch_history_events():
        scheduled = event.activity_task_scheduled_event_attributes.activity_type.name
        child = event.start_child_workflow_execution_initiated_event_attributes.workflow_type.name
        if first_end is None and (scheduled or child):
            started_before.append(scheduled or child)
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            first_end = event.event_id
    assert {name: started_before.count(name) for name in started_before} == {
        "sales_of_month": 12,
        "finance_of_month": 12,
        "CustomersOfCountry": 5,
    }
