"""The input: sales of a year as three shops export them, each a little differently, and some of them wrong."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Callable
from pathlib import Path

from examples.checks import failing_before, is_failing
from examples.pipeline.models import BATCH_ROWS, Inputs, Row

COLUMNS = ["line", "order", "date", "email", "country", "product", "quantity", "price", "currency"]
BROKEN_BATCH = 41
"""The batch, of inputs with so many, in which a shop's export went wrong: most of its rows have no date."""

_FIRST_DAY = datetime.date(2025, 1, 1)
_PRODUCTS = {"mug": 12.5, "notebook": 8.9, "pen": 3.4, "poster": 19.9, "lamp": 49.0}
_SHOPS = (("DE", "EUR"), ("ch", "CHF"), ("Us", "USD"))

_FAULTS: tuple[Callable[[Row], Row], ...] = (
    lambda row: row | {"email": row["email"].replace("@", " at ")},
    lambda row: row | {"quantity": "-1"},
    lambda row: row | {"currency": "XXX"},
    lambda row: row | {"price": "9999999.00"},
    lambda row: row | {"order": "S0000000"},
)
"""Wrong in five ways: three that validation finds, one for the quality checks, and one that only all batches show."""


def write_input(path: Path, inputs: Inputs) -> None:
    """Writes the CSV; the same for the same inputs."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number in range(inputs.rows):
            row = _row(number)
            if is_failing(number, inputs.failure_rate):
                row = _FAULTS[failing_before(number, inputs.failure_rate) % len(_FAULTS)](row)
            if number // BATCH_ROWS + 1 == BROKEN_BATCH and number % 4:
                row["date"] = ""
            writer.writerow(row)


def _row(number: int) -> Row:
    country, currency = _SHOPS[number % 3]
    product = list(_PRODUCTS)[number % 5]
    day = _FIRST_DAY + datetime.timedelta(days=number % 365)
    return {
        "line": str(number + 2),
        "order": f"S{number + 1:07}",
        "date": day.strftime("%d.%m.%Y" if country == "DE" else "%Y-%m-%d"),
        "email": f" Customer{number % 977}@Example.com ",
        "country": country,
        "product": product,
        "quantity": str(1 + number % 7),
        "price": f"{_PRODUCTS[product]:.2f}",
        "currency": currency,
    }
