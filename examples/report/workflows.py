"""The parent, and the child that looks at the customers of one country."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from examples.report import analyses
    from examples.report.models import COUNTRIES, MONTHS, Customers, Gap, Report, Wanted
    from temporal_fanout import FanOutOptions, FanOutResult, fan_out

_RETRY = RetryPolicy(maximum_attempts=3)
_QUERY = workflow.ActivityConfig(start_to_close_timeout=timedelta(seconds=60), retry_policy=_RETRY)


@workflow.defn
class CustomersOfCountry:
    """Two looks at the customers of one country, side by side."""

    @workflow.run
    async def run(self, country: str, database: str) -> Customers:
        given = [country, database]
        buyers, cohorts = await asyncio.gather(
            workflow.execute_activity(analyses.buyers_of_country, args=given, **_QUERY),
            workflow.execute_activity(analyses.cohorts_of_country, args=given, **_QUERY),
        )
        return Customers(country, buyers, cohorts)


@workflow.defn
class SalesReport:
    """Three fan-outs at once, each under its name; what one of them lacks is a gap in the report, and says so."""

    @workflow.run
    async def run(self, wanted: Wanted) -> Report:
        def options(name: str) -> FanOutOptions:
            return FanOutOptions(name=name, args=[wanted.database], timeout=timedelta(minutes=5), retry=_RETRY)

        sales, finance, customers = await asyncio.gather(
            fan_out(analyses.sales_of_month, MONTHS, options("sales")),
            fan_out(analyses.finance_of_month, MONTHS, options("finance")),
            fan_out(CustomersOfCountry.run, list(COUNTRIES), options("customers")),
        )
        report = Report(
            sales=[done.result for done in sales.completed],
            finance=[done.result for done in finance.completed],
            customers=[done.result for done in customers.completed],
            gaps=[*_gaps("sales", sales), *_gaps("finance", finance), *_gaps("customers", customers)],
        )
        await workflow.execute_activity(analyses.write_page, args=[report, wanted], **_QUERY)
        return report


def _gaps(part: str, result: FanOutResult) -> list[Gap]:
    return [Gap(part, failure.value, failure.error) for failure in result.failed]
