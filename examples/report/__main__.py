"""`python -m examples.report`: analyses a year of sales in parallel, and writes a page about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.program import Asked, Parts, Scenario, main, note, running
from examples.report import analyses
from examples.report.generate import write_database
from examples.report.models import MONTHS, Inputs, Report, Wanted
from examples.report.workflows import CustomersOfCountry, SalesReport
from temporal_fanout.plugin import Expected

SCENARIOS = [
    Scenario("default", "a year without a gap", "twelve months and five countries in one page", Inputs()),
    Scenario("damaged", "two months lack prices", "ten months, and the page says what is missing", Inputs(600, 0.2)),
]
WORK: list[Any] = [analyses.sales_of_month, analyses.finance_of_month, CustomersOfCountry]
ACTIVITIES: list[Callable[..., Any]] = [
    analyses.sales_of_month,
    analyses.finance_of_month,
    analyses.buyers_of_country,
    analyses.cohorts_of_country,
    analyses.write_page,
]


async def example(asked: Asked[Inputs]) -> int:
    directory = asked.directory.resolve()
    wanted = Wanted(str(directory / "sales.db"), str(directory / "report.html"))
    write_database(Path(wanted.database), asked.inputs)
    note(f"a year of sales in {wanted.database}")
    expected = [Expected(SalesReport, work, asked.scenario) for work in WORK]
    parts = Parts([SalesReport, CustomersOfCountry], ACTIVITIES, expected)
    async with running(asked, "report", parts, SalesReport.run, wanted) as report:
        note(f"open it in a browser: {wanted.page}")
        return _report(report)


def _report(report: Report) -> int:
    orders, revenue = sum(month.orders for month in report.sales), sum(month.revenue for month in report.sales)
    profit = sum(month.profit for month in report.finance)
    buyers = sum(country.buyers.buyers for country in report.customers)
    print(f"sales of {len(report.sales)} of {len(MONTHS)} months: {orders:,} orders, {_euros(revenue)}")
    print(f"finance of {len(report.finance)} months: {_euros(profit)} of profit")
    print(f"customers of {len(report.customers)} countries: {buyers:,} who bought")
    for gap in report.gaps:
        print(f"  missing: {gap.part} of {gap.item}: {gap.why}")
    same = {month.month: month.revenue for month in report.sales} == {
        month.month: month.revenue for month in report.finance
    }
    if not same:
        print("NOT TRUE: sales and finance find the same revenue in each month")
    return 0 if same else 1


def _euros(cents: int) -> str:
    return f"{cents / 100:,.2f} EUR"


if __name__ == "__main__":
    main(__doc__ or "", SCENARIOS, example)
