"""The order fulfilment: money and stock add up, whatever fails."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sqlite3
import threading
import uuid
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.api.history.v1 import ActivityTaskStartedEventAttributes
from temporalio.client import Client, WorkflowExecutionStatus

from examples.loopback import Answer, HangUp, Request, call, serve
from examples.orders.activities import Shop
from examples.orders.models import DECLINED, FLAKY, NOWHERE, SOLD_OUT, Inputs, Order, make_orders, make_stock
from examples.orders.services import Payment, Shipping
from examples.orders.workflows import FulfilOrders
from temporal_fanout.process.devserver import DevServer
from tests.conftest import until
from tests.examples.programs import AsShown, run_as_shown, started

pytestmark = [pytest.mark.xdist_group("orders"), pytest.mark.timeout(300)]


def ask(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path, timeout=30)) as db:
        return db.execute(query).fetchall()


class Files:
    """What the run left, read without the example's own code."""

    def __init__(self, directory: Path) -> None:
        self.ledger: dict[str, list[int]] = {}
        entries = "SELECT order_id, amount FROM entries WHERE account = 'shop' ORDER BY id"
        for order, amount in ask(directory / "payment.db", entries):
            self.ledger.setdefault(order, []).append(amount)
        ((self.sum,),) = ask(directory / "payment.db", "SELECT TOTAL(amount) FROM entries")
        requests = "SELECT key, COUNT(*) FROM requests WHERE path = '/charge' GROUP BY key"
        self.requests: dict[str, int] = dict(ask(directory / "payment.db", requests))
        self.reserved = dict(ask(directory / "inventory.db", "SELECT order_id, state FROM reservations"))
        self.stock = dict(ask(directory / "inventory.db", "SELECT product, pieces FROM stock"))
        self.labels = dict(ask(directory / "shipping.db", "SELECT order_id, state FROM labels"))
        self.mails = {path.stem for path in (directory / "mail").glob("*.eml")}

    def is_fulfilled(self, order: Order) -> bool:
        """Paid once, reserved, labelled and told of."""
        has = self.reserved.get(order.id) == "reserved" and self.labels.get(order.id) == "sold"
        return has and self.ledger.get(order.id) == [order.amount] and order.id in self.mails

    def is_undone(self, order: Order) -> bool:
        """Nothing of it is left: what was paid was given back."""
        paid = self.ledger.get(order.id, [])
        left = (
            self.reserved.get(order.id) == "reserved" or self.labels.get(order.id) == "sold" or order.id in self.mails
        )
        return paid in ([], [order.amount, -order.amount]) and not left

    def check_stock(self, orders: list[Order]) -> None:
        """The warehouse has what it had, less what fulfilled orders took."""
        expected = make_stock(orders)
        for order in orders:
            if self.reserved.get(order.id) == "reserved":
                expected[order.product] -= order.quantity
        assert self.stock == expected


@pytest.fixture(scope="module")
async def shown(tmp_path_factory: pytest.TempPathFactory) -> AsShown:
    return await run_as_shown("orders", tmp_path_factory.mktemp("orders"))


async def test_the_readmes_command_shows_what_the_readme_shows(shown: AsShown) -> None:
    """By its one command the example runs on a dev server of its own, says this, and leaves no process."""
    shown.check()


async def test_every_order_is_fulfilled_or_undone(shown: AsShown) -> None:
    """An order whose shipping, payment or stock fails leaves nothing behind; each other is paid once, and shipped."""
    orders, files = make_orders(Inputs()), Files(shown.ended.directory)
    for order in orders:
        if order.postcode == NOWHERE:
            assert files.ledger[order.id] == [order.amount, -order.amount]
        if order.card.endswith(DECLINED) or order.product == SOLD_OUT:
            assert order.id not in files.ledger
        fails = order.postcode == NOWHERE or order.card.endswith(DECLINED) or order.product == SOLD_OUT
        assert files.is_undone(order) if fails else files.is_fulfilled(order), order
    assert files.sum == 0
    files.check_stock(orders)


async def test_a_charge_without_an_answer_is_asked_for_again_and_made_once(shown: AsShown) -> None:
    """Where the payment service hangs up after it has charged, the second request finds the first one's charge."""
    files = Files(shown.ended.directory)
    flaky = [order for order in make_orders(Inputs()) if order.card.endswith(FLAKY) and order.id in files.ledger]
    assert len(flaky) > 10
    for order in flaky:
        assert files.requests[order.id] == 2
        assert [amount for amount in files.ledger[order.id] if amount > 0] == [order.amount]


class Held:
    """A payment service that, for one order, charges and then withholds its answer until it is let go."""

    def __init__(self, payment: Payment, order: str) -> None:
        self._payment = payment
        self._order = order
        self.charged = threading.Event()
        self.let_go = threading.Event()

    def handle(self, request: Request) -> Answer:
        answer = self._payment.handle(request)
        if request.body["order"] == self._order and not self.charged.is_set():
            self.charged.set()
            self.let_go.wait(60)
            raise HangUp
        return answer


@contextlib.asynccontextmanager
async def worker(shop: Shop, queue: str, services: Sequence[str], server: DevServer) -> AsyncIterator[Process]:
    """A worker in a process of its own, which works."""
    args = ["--task-queue", queue, "--directory", str(shop.inventory.parent)]
    args += ["--payment", services[0], "--shipping", services[1]]
    async with started("examples.orders.worker", *args, temporary=shop.mail, address=server.address) as program:
        assert program.process.stderr is not None
        await asyncio.wait_for(program.process.stderr.readuntil(b"working\n"), 60)
        yield program.process


async def test_a_worker_that_is_killed_after_a_charge_does_not_charge_twice(
    server: DevServer, client: Client, tmp_path: Path
) -> None:
    """The history has the charge's first attempt lost with its worker and a second one; the ledger has one charge."""
    orders = make_orders(Inputs(12, 0.0))
    held = Held(Payment(tmp_path), orders[5].id)
    queue = f"orders-{uuid.uuid4().hex[:8]}"
    with serve(held.handle) as payment, serve(Shipping(tmp_path).handle) as shipping:
        services = payment, shipping
        shop = Shop(tmp_path, *services)
        shop.open(make_stock(orders))
        async with worker(shop, queue, services, server) as first:
            handle = await client.start_workflow(FulfilOrders.run, orders, id=queue, task_queue=queue)
            assert await asyncio.to_thread(held.charged.wait, 60)
            first.kill()
            await first.wait()
        held.let_go.set()
        async with worker(shop, queue, services, server) as second:
            summary = await asyncio.wait_for(handle.result(), 120)
    assert summary.fulfilled == 12
    attempt = await started_event(client, f"{queue}.5", "charge_payment")
    assert attempt.attempt == 2
    assert attempt.last_failure.timeout_failure_info.timeout_type == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
    assert attempt.identity.startswith(f"{second.pid}@")
    files = Files(tmp_path)
    assert files.requests[orders[5].id] == 2
    assert all(files.is_fulfilled(order) for order in orders)
    files.check_stock(orders)


async def started_event(client: Client, id: str, activity: str) -> ActivityTaskStartedEventAttributes:
    """The history's one event of the start of this activity; it tells of the attempt that ended it."""
    events = (await client.get_workflow_handle(id).fetch_history()).events
    scheduled = [
        event.event_id
        for event in events
        if event.activity_task_scheduled_event_attributes.activity_type.name == activity
    ]
    all_started = [
        event.activity_task_started_event_attributes
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    ]
    (one,) = [started for started in all_started if started.scheduled_event_id in scheduled]
    return one


@pytest.mark.parametrize("own_server", [False, True], ids=["the user's server", "its own server"])
async def test_an_interrupted_run_undoes_what_is_open(
    server: DevServer, client: Client, tmp_path: Path, own_server: bool
) -> None:
    """Ctrl-C in the middle: the run is cancelled, each order is fulfilled or undone, and no process is left."""
    address = None if own_server else server.address

    async def in_the_middle() -> bool:
        for ledger in tmp_path.glob("*/payment.db"):
            with contextlib.suppress(sqlite3.OperationalError):  # its tables are not there yet
                return bool(ask(ledger, "SELECT COUNT(*) FROM entries")[0][0] > 60)
        return False

    async with started("examples.orders", "--orders", "400", temporary=tmp_path, address=address) as program:
        await until(in_the_middle, "thirty charges", 120)
        program.process.send_signal(signal.SIGINT)
        ended = await program.end(120)
    assert ended.code == 130, ended.err
    assert "undoing what is open" in ended.err
    assert "terminated" not in ended.err
    orders, files = make_orders(Inputs(400)), Files(ended.directory)
    fulfilled = sum(files.is_fulfilled(order) for order in orders)
    assert 0 < fulfilled < 360
    neither = [order.id for order in orders if not files.is_fulfilled(order) and not files.is_undone(order)]
    assert neither == []
    files.check_stock(orders)
    if not own_server:
        description = await client.get_workflow_handle(ended.id).describe()
        assert description.status is WorkflowExecutionStatus.CANCELED


@pytest.fixture
def payment(tmp_path: Path) -> Iterator[str]:
    with serve(Payment(tmp_path).handle) as address:
        yield address


def test_a_charge_that_comes_after_its_refund_is_refused(payment: str) -> None:
    """An attempt that was lost and arrives when its order has been undone takes no money."""
    body = {"order": "late", "amount": 100, "card": "valid"}
    assert call("POST", payment, "/refund", body, key="late").body == {"refunded": 0}
    late = call("POST", payment, "/charge", body, key="late")
    assert (late.status, late.body["type"]) == (409, "Refunded")


@pytest.mark.parametrize(("option", "value"), [("--failure-rate", "2"), ("--orders", "0"), ("--orders", "many")])
async def test_a_wrong_option_is_refused_by_its_name(tmp_path: Path, option: str, value: str) -> None:
    """Exit code 2 and the option's name, before anything is started."""
    async with started("examples.orders", option, value, temporary=tmp_path) as program:
        _, err = await asyncio.wait_for(program.process.communicate(), 60)
    assert program.process.returncode == 2
    assert re.search(rf"{option}:", err.decode())
    assert list(tmp_path.iterdir()) == []
