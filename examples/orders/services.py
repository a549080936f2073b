"""The two services that the shop does not own: payment and shipping, each an HTTP server with its SQLite file.

Both take an idempotency key with each request: what was done once under a key is not done again, and the answer is
the same. An undo whose step never came in marks the key, so that a step that comes late is refused.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from examples.database import create, transaction
from examples.loopback import Answer, HangUp, Request
from examples.orders.models import DECLINED, FLAKY, NOWHERE

_PAYMENT = """
    CREATE TABLE charges (key TEXT PRIMARY KEY, order_id TEXT, amount INTEGER, state TEXT);
    CREATE TABLE entries (id INTEGER PRIMARY KEY, order_id TEXT, account TEXT, amount INTEGER);
    CREATE TABLE requests (id INTEGER PRIMARY KEY, path TEXT, key TEXT);
"""
_SHIPPING = "CREATE TABLE labels (key TEXT PRIMARY KEY, order_id TEXT, postcode TEXT, state TEXT)"


class Payment:
    """Takes money and gives it back; `entries` is a ledger whose sum is always 0."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "payment.db"
        if not self.path.exists():
            create(self.path, _PAYMENT)

    def handle(self, request: Request) -> Answer:
        with transaction(self.path) as db:
            db.execute("INSERT INTO requests (path, key) VALUES (?, ?)", (request.path, request.key))
            known = db.execute("SELECT state, order_id, amount FROM charges WHERE key = ?", (request.key,)).fetchone()
            if request.path == "/refund":
                return self._refund(db, request, known)
            answer = self._charge(db, request, known)
        if known is None and answer.status == 200 and request.body["card"].endswith(FLAKY):
            raise HangUp
        return answer

    def _charge(self, db: sqlite3.Connection, request: Request, known: tuple[str, str, int] | None) -> Answer:
        order, amount = request.body["order"], request.body["amount"]
        if known is not None:
            if known[0] == "charged":
                return Answer(200, {"charged": known[2]})
            return Answer(409, {"type": "Refunded", "error": f"{order} was given back already"})
        if request.body["card"].endswith(DECLINED):
            return Answer(402, {"type": "CardDeclined", "error": f"the bank declines the card of {order}"})
        db.execute("INSERT INTO charges VALUES (?, ?, ?, 'charged')", (request.key, order, amount))
        _transfer(db, order, "customer", "shop", amount)
        return Answer(200, {"charged": amount})

    def _refund(self, db: sqlite3.Connection, request: Request, known: tuple[str, str, int] | None) -> Answer:
        if known is None:
            db.execute("INSERT INTO charges VALUES (?, ?, 0, 'refunded')", (request.key, request.body["order"]))
        elif known[0] == "charged":
            db.execute("UPDATE charges SET state = 'refunded' WHERE key = ?", (request.key,))
            _transfer(db, known[1], "shop", "customer", known[2])
        return Answer(200, {"refunded": known[2] if known else 0})


def _transfer(db: sqlite3.Connection, order: str, giver: str, taker: str, amount: int) -> None:
    entries = [(order, giver, -amount), (order, taker, amount)]
    db.executemany("INSERT INTO entries (order_id, account, amount) VALUES (?, ?, ?)", entries)


class Shipping:
    """Sells labels, and takes them back."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "shipping.db"
        if not self.path.exists():
            create(self.path, _SHIPPING)

    def handle(self, request: Request) -> Answer:
        order, postcode = request.body["order"], request.body["postcode"]
        cancelling = request.path == "/cancel"
        if postcode == NOWHERE and not cancelling:
            return Answer(422, {"type": "NoRoute", "error": f"no delivery of {order} to {postcode}"})
        with transaction(self.path) as db:
            state = "cancelled" if cancelling else "sold"
            db.execute("INSERT OR IGNORE INTO labels VALUES (?, ?, ?, ?)", (request.key, order, postcode, state))
            if cancelling:
                db.execute("UPDATE labels SET state = 'cancelled' WHERE key = ?", (request.key,))
            number, state = db.execute("SELECT rowid, state FROM labels WHERE key = ?", (request.key,)).fetchone()
        if state == "cancelled" and not cancelling:
            return Answer(409, {"type": "Cancelled", "error": f"the label of {order} was cancelled already"})
        return Answer(200, {"tracking": f"{postcode}-{number:05}"})
