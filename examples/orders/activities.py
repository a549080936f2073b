"""The steps of an order, and what undoes each: every one may be tried again, and does its work once."""

from __future__ import annotations

import json
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from examples.database import create, transaction
from examples.loopback import call
from examples.orders.models import Order

_INVENTORY = """
    CREATE TABLE stock (product TEXT PRIMARY KEY, pieces INTEGER NOT NULL CHECK (pieces >= 0));
    CREATE TABLE reservations (order_id TEXT PRIMARY KEY, product TEXT, pieces INTEGER, state TEXT);
"""


class Shop:
    """The shop's own inventory and mail in a directory, and where its payment and shipping services listen."""

    def __init__(self, directory: Path, payment: str, shipping: str) -> None:
        self.inventory = directory / "inventory.db"
        self.mail = directory / "mail"
        self._payment = payment
        self._shipping = shipping

    def open(self, stock: dict[str, int]) -> None:
        """Fills the warehouse."""
        create(self.inventory, _INVENTORY)
        self.mail.mkdir()
        with transaction(self.inventory) as db:
            db.executemany("INSERT INTO stock VALUES (?, ?)", stock.items())

    @property
    def activities(self) -> list[Any]:
        return [
            self.reserve_stock,
            self.release_stock,
            self.charge_payment,
            self.refund_payment,
            self.buy_label,
            self.cancel_label,
            self.notify_customer,
        ]

    @activity.defn
    def reserve_stock(self, order: Order) -> None:
        with transaction(self.inventory) as db:
            known = db.execute("SELECT state FROM reservations WHERE order_id = ?", (order.id,)).fetchone()
            if known is not None:
                if known[0] == "released":
                    raise ApplicationError(f"{order.id} was released already", type="Released", non_retryable=True)
                return
            (pieces,) = db.execute("SELECT pieces FROM stock WHERE product = ?", (order.product,)).fetchone()
            if pieces < order.quantity:
                raise ApplicationError(
                    f"{order.quantity} × {order.product} wanted, {pieces} in stock", type="SoldOut", non_retryable=True
                )
            taken = (order.id, order.product, order.quantity)
            db.execute("INSERT INTO reservations VALUES (?, ?, ?, 'reserved')", taken)
            db.execute("UPDATE stock SET pieces = pieces - ? WHERE product = ?", (order.quantity, order.product))

    @activity.defn
    def release_stock(self, order: Order) -> None:
        with transaction(self.inventory) as db:
            known = db.execute("SELECT state FROM reservations WHERE order_id = ?", (order.id,)).fetchone()
            if known is None:
                # A reservation that is still on its way must find that it comes too late.
                db.execute("INSERT INTO reservations VALUES (?, ?, 0, 'released')", (order.id, order.product))
            elif known[0] == "reserved":
                db.execute("UPDATE reservations SET state = 'released' WHERE order_id = ?", (order.id,))
                db.execute("UPDATE stock SET pieces = pieces + ? WHERE product = ?", (order.quantity, order.product))

    @activity.defn
    def charge_payment(self, order: Order) -> None:
        _ask(self._payment, "/charge", order, {"amount": order.amount, "card": order.card})

    @activity.defn
    def refund_payment(self, order: Order) -> None:
        _ask(self._payment, "/refund", order, {})

    @activity.defn
    def buy_label(self, order: Order) -> str:
        return str(_ask(self._shipping, "/buy", order, {"postcode": order.postcode})["tracking"])

    @activity.defn
    def cancel_label(self, order: Order) -> None:
        _ask(self._shipping, "/cancel", order, {"postcode": order.postcode})

    @activity.defn
    def notify_customer(self, order: Order, tracking: str) -> None:
        """Leaves a mail for the mail server to fetch, under a name by which it is left once."""
        mail = EmailMessage()
        mail["To"] = order.email
        mail["Subject"] = f"{order.id} is on its way"
        mail.set_content(f"{order.quantity} × {order.product}, tracking number {tracking}.")
        unfinished = self.mail / f"{order.id}.part"
        unfinished.write_bytes(mail.as_bytes())
        unfinished.rename(self.mail / f"{order.id}.eml")


def _ask(address: str, path: str, order: Order, body: dict[str, Any]) -> dict[str, Any]:
    """What the service says, asked under the order's own key, however often it is asked.

    A refusal is not tried again; no answer, or an error of the service's own, is.
    """
    answer = call("POST", address, path, body | {"order": order.id}, key=order.id)
    if answer.status == 200:
        return answer.body
    if answer.status >= 500:
        raise RuntimeError(f"{path} answers {answer.status}: {json.dumps(answer.body)}")
    raise ApplicationError(answer.body["error"], type=answer.body["type"], non_retryable=True)
