"""The page: one HTML file with all that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from examples.report import charts
from examples.report.models import CATEGORIES, COUNTRIES, MONTHS, YEAR, Finance, Report

_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LABELS = dict(zip(MONTHS, _MONTH_NAMES, strict=True))

_STYLE = """
:root { --ink: #22281f; --soft: #6d7267; --line: #e6e2d8; --paper: #fff; --ground: #f7f5ef; --green: #31572c; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 18px; margin: 0 0 2px; }
p { margin: 0 0 16px; color: var(--soft); }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 22px 24px;
  margin-top: 20px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 14px; margin-top: 24px; }
.figures div { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 14px 18px; }
.figures b { display: block; font-size: 24px; line-height: 1.3; font-variant-numeric: tabular-nums; }
.figures span { color: var(--soft); font-size: 13px; }
.gaps { border-color: #e07a5f; background: #fdf3f0; }
.gaps ul { margin: 4px 0 0; padding-left: 20px; }
.halves { display: grid; grid-template-columns: 1fr 1fr; gap: 20px; }
@media (max-width: 760px) { .halves { grid-template-columns: 1fr; gap: 0; } }
svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); text-anchor: middle; }
svg text.axis { text-anchor: end; }
svg text.value { fill: var(--ink); }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; font-size: 13px; color: var(--soft); padding-left: 54px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; }
.bars .row { display: grid; grid-template-columns: 100px 1fr; align-items: center; margin: 7px 0; }
.bars .bar { display: inline-block; height: 18px; background: var(--green); border-radius: 3px;
  vertical-align: -4px; margin-right: 6px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: right; padding: 6px 8px; white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { color: var(--soft); font-weight: 500; font-size: 13px; }
tr.total td { font-weight: 600; border-bottom: 0; }
td.none { color: var(--soft); text-align: center; font-style: italic; }
footer { color: var(--soft); font-size: 13px; margin-top: 24px; }
"""


def html(report: Report) -> str:
    """The whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sales report {YEAR}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>Sales report {YEAR}</h1><p>Home and travel goods, {len(COUNTRIES)} countries, all amounts in euros</p>"
        f"{_figures(report)}{_gaps(report)}{_revenue(report)}{_margin(report)}"
        f'<div class="halves">{_countries(report)}{_cohorts(report)}</div>{_best(report)}{_finance(report)}'
        "<footer>Made by <code>python -m examples.report</code>: "
        "three fan-outs over months and countries, one page.</footer>"
        "</main></body></html>\n"
    )


def _figures(report: Report) -> str:
    revenue = sum(month.revenue for month in report.sales)
    orders = sum(month.orders for month in report.sales)
    buyers = sum(country.buyers.buyers for country in report.customers)
    returning = sum(country.buyers.returning for country in report.customers)
    profit, of = sum(month.profit for month in report.finance), sum(month.revenue for month in report.finance)
    figures = {
        "revenue": _euros(revenue),
        "orders": f"{orders:,}",
        "per order": _cents(revenue / orders if orders else 0),
        "profit of revenue": _share(profit, of),
        "customers who bought again": _share(returning, buyers),
    }
    return f'<div class="figures">{"".join(f"<div><b>{v}</b><span>{k}</span></div>" for k, v in figures.items())}</div>'


def _gaps(report: Report) -> str:
    if not report.gaps:
        return ""
    lines = (f"<li>{escape(gap.part)} of {escape(gap.item)}: {escape(gap.why)}</li>" for gap in report.gaps)
    return f'<section class="gaps"><h2>Not in this report</h2><ul>{"".join(lines)}</ul></section>'


def _revenue(report: Report) -> str:
    by_month = {month.month: month.by_category for month in report.sales}
    layers = {
        category: [by_month[month].get(category, 0) if month in by_month else None for month in MONTHS]
        for category in CATEGORIES
    }
    return _section("Revenue by month", "What was sold, by category.", charts.columns(_MONTH_NAMES, layers, _euros))


def _margin(report: Report) -> str:
    by_month = {month.month: 100 * month.profit / month.revenue for month in report.finance if month.revenue}
    values = [by_month.get(month) for month in MONTHS]
    chart = charts.line(_MONTH_NAMES, values, lambda value: f"{value:.1f} %")
    return _section("Profit as a share of revenue", "After goods, payment and shipping.", chart)


def _countries(report: Report) -> str:
    sums = {
        name: sum(month.by_country.get(country, 0) for month in report.sales) for country, name in COUNTRIES.items()
    }
    return _section("Revenue by country", "Where the parcels went.", charts.bars(sums, _euros))


def _cohorts(report: Report) -> str:
    sums = [
        [sum(c.cohorts[first][later] for c in report.customers) for later in range(4 - first)] for first in range(4)
    ]
    lines = []
    for first, counts in enumerate(sums):
        cells = (_heat(count, counts[0]) for count in counts[1:])
        lines.append(f"<tr><td>Q{first + 1}</td><td>{counts[0]:,}</td>{''.join(cells)}</tr>")
    head = _row("th", ["first order", "customers", "+1 quarter", "+2", "+3"])
    return _section(
        "Who comes back", "Of the customers of a quarter, who bought in the later ones.", _table(head, lines)
    )


def _heat(count: int, of: int) -> str:
    share = count / of if of else 0
    colour = "#fff" if share > 0.55 else "inherit"
    return f'<td style="background:rgba(49,87,44,{share:.2f});color:{colour}">{_share(count, of)}</td>'


def _best(report: Report) -> str:
    buyers = [buyer for country in report.customers for buyer in country.buyers.best]
    buyers.sort(key=lambda buyer: (-buyer.spent, buyer.name))
    lines = [
        _row("td", [escape(buyer.name), COUNTRIES[buyer.country], f"{buyer.orders}", _cents(buyer.spent)])
        for buyer in buyers[:8]
    ]
    head = _row("th", ["customer", "country", "orders", "spent"])
    return _section("The best customers", "By what they spent in the year.", _table(head, lines))


def _finance(report: Report) -> str:
    by_month = {month.month: month for month in report.finance}
    lines = []
    for month in MONTHS:
        if month in by_month:
            lines.append(_row("td", _amounts(_LABELS[month], [by_month[month]])))
        else:
            lines.append(f'<tr><td>{_LABELS[month]}</td><td class="none" colspan="6">no data</td></tr>')
    total = _row("td", _amounts("Year", report.finance)).replace("<tr>", '<tr class="total">')
    head = _row("th", ["", "revenue", "goods", "payment", "shipping", "profit", "share"])
    return _section("From revenue to profit", "What took how much.", _table(head, [*lines, total]))


def _amounts(name: str, months: Sequence[Finance]) -> list[str]:
    parts = ("revenue", "goods", "payment", "shipping", "profit")
    sums = [sum(int(getattr(month, part)) for month in months) for part in parts]
    return [name, *map(_euros, sums), _share(sums[-1], sums[0])]


def _section(title: str, about: str, body: str) -> str:
    return f"<section><h2>{title}</h2><p>{about}</p>{body}</section>"


def _table(head: str, lines: Sequence[str]) -> str:
    return f"<table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>"


def _row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _euros(cents: float) -> str:
    return f"{cents / 100:,.0f} €"


def _cents(cents: float) -> str:
    return f"{cents / 100:,.2f} €"


def _share(part: float, of: float) -> str:
    return f"{100 * part / of:.0f} %" if of else "–"
