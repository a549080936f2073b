"""The analyses, each an activity over one month or one country, and the one that writes the page."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from temporalio import activity
from temporalio.exceptions import ApplicationError

from examples.database import rows
from examples.report.models import Buyer, Buyers, Finance, Report, Sales, Wanted
from examples.report.page import html

PAYMENT_SHARE, PAYMENT_FEE = 0.019, 25
"""Of each order's amount, and for each order: what the payment service takes."""
SHIPPING_FEE = {"DE": 420, "AT": 690, "CH": 890, "FR": 640, "NL": 590}


@activity.defn
def sales_of_month(month: str, database: str) -> Sales:
    path = Path(database)
    _refuse_damage(path, month)
    counts = "SELECT COUNT(DISTINCT order_id), COALESCE(SUM(amount), 0) FROM sold WHERE month = ?"
    ((orders, revenue),) = rows(path, counts, [month])
    categories = rows(path, "SELECT category, SUM(amount) FROM sold WHERE month = ? GROUP BY category", [month])
    countries = rows(path, "SELECT country, SUM(amount) FROM sold WHERE month = ? GROUP BY country", [month])
    return Sales(month, orders, revenue, dict(categories), dict(countries))


@activity.defn
def finance_of_month(month: str, database: str) -> Finance:
    path = Path(database)
    _refuse_damage(path, month)
    query = "SELECT country, SUM(amount), SUM(cost) FROM sold WHERE month = ? GROUP BY order_id"
    orders = rows(path, query, [month])
    return Finance(
        month=month,
        revenue=sum(revenue for _, revenue, _ in orders),
        goods=sum(cost for _, _, cost in orders),
        payment=sum(round(revenue * PAYMENT_SHARE) + PAYMENT_FEE for _, revenue, _ in orders),
        shipping=sum(SHIPPING_FEE[country] for country, _, _ in orders),
    )


@activity.defn
def buyers_of_country(country: str, database: str) -> Buyers:
    path = Path(database)
    query = (
        "SELECT buyer, COUNT(DISTINCT order_id), COALESCE(SUM(amount), 0) AS spent FROM sold WHERE country = ? "
        "GROUP BY customer ORDER BY spent DESC, customer"
    )
    buyers = rows(path, query, [country])
    return Buyers(
        buyers=len(buyers),
        returning=sum(orders > 1 for _, orders, _ in buyers),
        best=[Buyer(name, country, orders, spent) for name, orders, spent in buyers[:5]],
    )


@activity.defn
def cohorts_of_country(country: str, database: str) -> list[list[int]]:
    """By the quarter of the first order, 0 to 3: how many bought in that quarter, and in each later one."""
    query = "SELECT DISTINCT customer, month FROM sold WHERE country = ?"
    quarters: dict[int, set[int]] = defaultdict(set)
    for customer, month in rows(Path(database), query, [country]):
        quarters[customer].add((int(month[-2:]) - 1) // 3)
    cohorts = [[0] * (4 - first) for first in range(4)]
    for bought in quarters.values():
        first = min(bought)
        for quarter in bought:
            cohorts[first][quarter - first] += 1
    return cohorts


@activity.defn
def write_page(report: Report, wanted: Wanted) -> int:
    """Writes the page; returns its size in bytes."""
    page = Path(wanted.page)
    unfinished = page.with_suffix(".part")
    size = unfinished.write_text(html(report), encoding="utf-8")
    unfinished.replace(page)
    return size


def _refuse_damage(path: Path, month: str) -> None:
    ((missing,),) = rows(path, "SELECT COUNT(*) FROM sold WHERE month = ? AND amount IS NULL", [month])
    if missing:
        raise ApplicationError(f"{missing} order lines have no price", type="Damaged", non_retryable=True)
