"""What is analysed, and what each analysis finds. Amounts are in cents."""

from __future__ import annotations

from dataclasses import dataclass, field

from examples.checks import share, whole

YEAR = 2025
MONTHS = [f"{YEAR}-{month:02}" for month in range(1, 13)]
COUNTRIES = {"DE": "Germany", "AT": "Austria", "CH": "Switzerland", "FR": "France", "NL": "Netherlands"}
CATEGORIES = ("Lighting", "Paper", "Kitchen", "Travel")


@dataclass(frozen=True)
class Inputs:
    """What the command line can set."""

    customers: int = field(default=600, metadata={"help": "how many customers, up to 20,000"})
    failure_rate: float = field(default=0.0, metadata={"help": "the share of months whose data is damaged"})

    def __post_init__(self) -> None:
        whole("customers", self.customers, most=20_000)
        share("failure-rate", self.failure_rate)


@dataclass(frozen=True)
class Wanted:
    """What the parent is given."""

    database: str
    page: str


@dataclass(frozen=True)
class Sales:
    """Of one month."""

    month: str
    orders: int
    revenue: int
    by_category: dict[str, int]
    by_country: dict[str, int]


@dataclass(frozen=True)
class Finance:
    """Of one month: what is left of its revenue, and what took the rest."""

    month: str
    revenue: int
    goods: int
    payment: int
    shipping: int

    @property
    def profit(self) -> int:
        return self.revenue - self.goods - self.payment - self.shipping


@dataclass(frozen=True)
class Buyer:
    """A customer and what they spent in the year."""

    name: str
    country: str
    orders: int
    spent: int


@dataclass(frozen=True)
class Buyers:
    """The customers of one country who bought."""

    buyers: int
    returning: int
    """Of those, who bought more than once."""
    best: list[Buyer]


@dataclass(frozen=True)
class Customers:
    """Of one country."""

    country: str
    buyers: Buyers
    cohorts: list[list[int]]
    """By the quarter of the first order: how many bought in that quarter, and in each later one."""


@dataclass(frozen=True)
class Gap:
    """A part of the report that could not be made, and why."""

    part: str
    item: str
    why: str


@dataclass(frozen=True)
class Report:
    """Everything on the page."""

    sales: list[Sales]
    finance: list[Finance]
    customers: list[Customers]
    gaps: list[Gap]
