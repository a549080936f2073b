"""What is ordered, and what becomes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from examples.checks import failing_before, is_failing, share, whole

PRICES = {"mug": 1250, "notebook": 890, "pen": 340, "poster": 1990, "lamp": 4900}
"""Cents."""
SOLD_OUT = "lamp"
DECLINED = "declined"
"""How the number of a card ends that the bank declines."""
FLAKY = "flaky"
"""How the number of a card ends at which the payment service takes the money and then hangs up, once."""
NOWHERE = "00000"
"""A postcode to which the carrier does not deliver."""

_PLACES = ("10115", "20095", "50667", "60311", "80331")


@dataclass(frozen=True)
class Inputs:
    """What the command line can set."""

    orders: int = field(default=200, metadata={"help": "how many orders, up to 2,000"})
    failure_rate: float = field(default=0.1, metadata={"help": "the share of orders that cannot be fulfilled"})

    def __post_init__(self) -> None:
        whole("orders", self.orders, most=2000)
        share("failure-rate", self.failure_rate)


@dataclass(frozen=True)
class Order:
    """One customer's order of one product."""

    id: str
    product: str
    quantity: int
    amount: int
    """Cents."""
    card: str
    postcode: str
    email: str


@dataclass(frozen=True)
class Fulfilled:
    """An order that was paid for and is on its way."""

    order: str
    tracking: str


@dataclass(frozen=True)
class Refusal:
    """An order that was not fulfilled, and why."""

    order: str
    type: str
    why: str


@dataclass(frozen=True)
class Summary:
    """What became of all orders."""

    orders: int
    fulfilled: int
    refusals: list[Refusal]


def make_orders(inputs: Inputs) -> list[Order]:
    """As many orders as asked for; every tenth card is flaky, and the failing orders take turns in how they fail."""
    return [_order(n, _trouble(n, inputs.failure_rate)) for n in range(inputs.orders)]


def make_stock(orders: list[Order]) -> dict[str, int]:
    """Pieces of each product in the warehouse: what is ordered and ten more, but none of what is sold out."""
    ordered: Counter[str] = Counter()
    for order in orders:
        ordered[order.product] += order.quantity
    return {product: 0 if product == SOLD_OUT else ordered[product] + 10 for product in PRICES}


def _trouble(number: int, rate: float) -> str:
    kinds = ("no route", "declined", "sold out")
    return kinds[failing_before(number, rate) % 3] if is_failing(number, rate) else ""


def _order(number: int, trouble: str) -> Order:
    products = [product for product in PRICES if product != SOLD_OUT]
    product = SOLD_OUT if trouble == "sold out" else products[number % len(products)]
    quantity = 1 + number % 3
    ending = DECLINED if trouble == "declined" else FLAKY if number % 10 == 0 else "valid"
    return Order(
        id=f"order-{number:04}",
        product=product,
        quantity=quantity,
        amount=quantity * PRICES[product],
        card=f"{number:012}-{ending}",
        postcode=NOWHERE if trouble == "no route" else _PLACES[number % len(_PLACES)],
        email=f"customer-{number}@example.com",
    )
