"""The database: a year of a shop that sells more before Christmas, made of nothing but arithmetic."""

from __future__ import annotations

import hashlib
import math
import sqlite3
from pathlib import Path

from examples.checks import is_failing
from examples.database import create, transaction
from examples.report.models import CATEGORIES, COUNTRIES, MONTHS, Inputs

_SCHEMA = """
    CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, country TEXT);
    CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT, category TEXT, price INTEGER, cost INTEGER);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, month TEXT, date TEXT);
    CREATE TABLE lines (order_id INTEGER, product INTEGER, quantity INTEGER, price INTEGER);
    CREATE INDEX orders_by_month ON orders (month);
    CREATE INDEX lines_by_order ON lines (order_id);
    CREATE VIEW sold AS
        SELECT month, order_id, customer, customers.name AS buyer, country, category,
               quantity * lines.price AS amount, quantity * cost AS cost
        FROM lines
        JOIN orders ON orders.id = order_id
        JOIN products ON products.id = product
        JOIN customers ON customers.id = customer;
"""
_FIRST = ("Ada", "Blaise", "Carl", "Dorothy", "Emmy", "Felix", "Grace", "Hedy", "Ida", "Joan", "Katherine", "Leonhard")
_LAST = ("Adler", "Brandt", "Conti", "Dubois", "Egger", "Fischer", "Graf", "Huber", "Imhof", "Jansen", "Keller", "Lang")
_PRODUCTS = (
    ("Desk lamp", 0, 4900), ("Night light", 0, 1900), ("Notebook", 1, 890), ("Calendar", 1, 1490),
    ("Mug", 2, 1250), ("Teapot", 2, 3900), ("Chopping board", 2, 2790), ("Backpack", 3, 7900), ("Flask", 3, 2290),
)  # fmt: skip
_SALES = {"02": 0.92, "07": 0.88, "11": 0.85}
"""The months in which all prices are lower, and by what factor."""


def write_database(path: Path, inputs: Inputs) -> None:
    """The same for the same inputs. The lines of a damaged month partly lack their price."""
    create(path, _SCHEMA)
    countries = [country for country, weight in zip(COUNTRIES, (9, 3, 4, 6, 4), strict=True) for _ in range(weight)]
    with transaction(path) as db:
        for number in range(inputs.customers):
            name = f"{_FIRST[number % 12]} {_LAST[number // 12 % 12]}"
            db.execute("INSERT INTO customers VALUES (?, ?, ?)", (number, name, countries[number * 7 % len(countries)]))
        for number, (name, category, price) in enumerate(_PRODUCTS):
            cost = round(price * (0.38 + 0.04 * (number % 5)))
            product = (number, name, CATEGORIES[category], price, cost)
            db.execute("INSERT INTO products VALUES (?, ?, ?, ?, ?)", product)
        for place, month in enumerate(MONTHS):
            _write_month(db, inputs, place, month)


def _write_month(db: sqlite3.Connection, inputs: Inputs, place: int, month: str) -> None:
    season = 0.30 + 0.02 * place + 0.14 * math.exp(-((place - 10.7) ** 2) / 1.2) - 0.07 * math.exp(-((place - 7) ** 2))
    factor = _SALES.get(month[-2:], 1.0)
    damaged = is_failing(place, inputs.failure_rate)
    for customer in range(inputs.customers):
        loyalty = 0.5 + _evenly("loyalty", customer)
        if _evenly("orders", customer, month) >= season * loyalty:
            continue
        date = f"{month}-{1 + int(28 * _evenly('day', customer, month)):02}"
        order = db.execute("INSERT INTO orders (customer, month, date) VALUES (?, ?, ?)", (customer, month, date))
        for line in range(1 + int(3 * _evenly("lines", customer, month))):
            product = int(len(_PRODUCTS) * _evenly("product", customer, month, line))
            quantity = 1 + int(3 * _evenly("quantity", customer, month, line) ** 2)
            lost = damaged and _evenly("lost", customer, month, line) < 0.1
            price = None if lost else round(factor * _PRODUCTS[product][2])
            db.execute("INSERT INTO lines VALUES (?, ?, ?, ?)", (order.lastrowid, product, quantity, price))


def _evenly(*key: object) -> float:
    """A number from 0 to 1 that depends on the key alone, spread evenly over many keys."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=4).digest()) / 2**32
