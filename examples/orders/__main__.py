"""`python -m examples.orders`: fulfils orders, and shows that the books balance."""

from __future__ import annotations

from collections import Counter

from examples.loopback import serve
from examples.orders import books
from examples.orders.activities import Shop
from examples.orders.models import Inputs, Summary, make_orders, make_stock
from examples.orders.services import Payment, Shipping
from examples.orders.worker import parts
from examples.orders.workflows import FulfilOrders
from examples.program import Asked, Scenario, main, note, running

SCENARIOS = [
    Scenario("default", "one order in ten cannot be fulfilled", "180 of 200 are, and the books balance", Inputs()),
    Scenario("no-trouble", "all can be", "50 of 50 are fulfilled", Inputs(50, 0.0)),
    Scenario("bad-day", "half cannot be", "50 of 100 are fulfilled, and the books balance", Inputs(100, 0.5)),
]


async def example(asked: Asked[Inputs]) -> int:
    orders = make_orders(asked.inputs)
    stock = make_stock(orders)
    with serve(Payment(asked.directory).handle) as payment, serve(Shipping(asked.directory).handle) as shipping:
        note(f"payment at {payment}, shipping at {shipping}, databases in {asked.directory}")
        shop = Shop(asked.directory, payment, shipping)
        shop.open(stock)
        async with running(asked, "orders", parts(shop, asked.scenario), FulfilOrders.run, orders) as summary:
            return _report(summary, books.read(asked.directory), sum(stock.values()))


def _report(summary: Summary, found: books.Books, pieces: int) -> int:
    print(f"{summary.orders} orders: {summary.fulfilled} fulfilled, {len(summary.refusals)} not")
    examples = {refusal.type: refusal.why for refusal in reversed(summary.refusals)}
    for kind, count in sorted(Counter(refusal.type for refusal in summary.refusals).items()):
        print(f"{count:6} {kind:13} as in: {examples[kind]}")
    print("the books, read from the databases")
    print(f"  charged     {_euros(found.charged)}")
    print(f"  given back  {_euros(found.refunded)}")
    print(f"  kept        {_euros(found.kept)}  which is the price of the {found.shipped} orders that were shipped")
    print(f"  stock       {pieces} pieces before, {found.pieces_sold} sold, {found.pieces_left} left")
    print(f"  charges     {found.asked_again} asked for again, since no answer came; {found.charged_twice} made twice")
    faults = found.faults(pieces, summary.fulfilled)
    for claim in faults:
        print(f"NOT TRUE: {claim}")
    return 1 if faults else 0


def _euros(cents: int) -> str:
    return f"{cents / 100:>10,.2f} EUR"


if __name__ == "__main__":
    main(__doc__ or "", SCENARIOS, example)
