"""The fleet: services that are real HTTP servers, each with a database of its own, behind one gateway.

A service's two versions run side by side. The gateway asks the table of routes which of them gets a request.
"""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from examples.checks import is_failing
from examples.database import create, rows, transaction
from examples.deployment.models import NEW, OLD, Inputs
from examples.loopback import Answer, Request, Server, call

_FLEET = """
    CREATE TABLE routes (service TEXT PRIMARY KEY, address TEXT);
    CREATE TABLE events (id INTEGER PRIMARY KEY, service TEXT, event TEXT);
"""
_ACCOUNTS = """
    CREATE TABLE accounts (id INTEGER PRIMARY KEY, country TEXT, cents INTEGER);
    PRAGMA user_version = 1;
"""
_CURRENCIES = {"DE": "EUR", "CH": "CHF", "US": "USD"}


class Fleet:
    """All services, and the steps that change them: each may be tried again, and changes a service once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = directory / "fleet.db"
        create(self.path, _FLEET)
        self._servers: dict[tuple[str, int], Server] = {}
        self._lock = threading.Lock()
        self.gateway = Server(self._route)

    def open(self, inputs: Inputs) -> list[str]:
        """Makes the services, each with its data, at the old version. Returns their names.

        What the new version breaks is in the data: an account whose country has no currency.
        """
        names = [f"service-{number:03}" for number in range(inputs.services)]
        for number, name in enumerate(names):
            countries = ["DE", "CH", "??" if is_failing(number, inputs.failure_rate) else "US"]
            create(self._database(name), _ACCOUNTS)
            with transaction(self._database(name)) as db:
                accounts = [(country, 100 * (number + place)) for place, country in enumerate(countries)]
                db.executemany("INSERT INTO accounts (country, cents) VALUES (?, ?)", accounts)
            self._start(name, OLD)
            self._point(name, OLD)
        return names

    def close(self) -> None:
        """Stops all servers, several at a time: each takes a moment to notice."""
        with ThreadPoolExecutor(32) as threads:
            list(threads.map(Server.stop, [self.gateway, *self._servers.values()]))

    def versions(self, names: list[str]) -> dict[str, int]:
        """Which version of each service answers a request through the gateway."""
        return {name: int(call("GET", self.gateway.address, f"/{name}").body["version"]) for name in names}

    @property
    def activities(self) -> list[Any]:
        forth = [self.migrate, self.start_new, self.check_health, self.route_to_new]
        return [*forth, self.route_to_old, self.stop_new, self.migrate_back, self.stop_old]

    # -- the steps of a deployment

    @activity.defn
    def migrate(self, service: str) -> None:
        """Adds the currency to the accounts; the old version does not mind."""
        with transaction(self._database(service)) as db:
            if _schema(db) == OLD:
                db.execute("ALTER TABLE accounts ADD COLUMN currency TEXT")
                known = [(currency, country) for country, currency in _CURRENCIES.items()]
                db.executemany("UPDATE accounts SET currency = ? WHERE country = ?", known)
                db.execute(f"PRAGMA user_version = {NEW}")
        self._note(service, "migrated")

    @activity.defn
    def start_new(self, service: str) -> None:
        self._start(service, NEW)

    @activity.defn
    def check_health(self, service: str) -> None:
        """Asks the new version whether it works with the data that is there."""
        answer = call("GET", self._servers[service, NEW].address, "/health")
        if answer.status != 200:
            raise ApplicationError(answer.body["error"], type="Unhealthy")

    @activity.defn
    def route_to_new(self, service: str) -> None:
        self._point(service, NEW)

    @activity.defn
    def stop_old(self, service: str) -> None:
        self._stop(service, OLD)

    # -- and what undoes them: harmless where there is nothing to undo

    @activity.defn
    def route_to_old(self, service: str) -> None:
        self._point(service, OLD)

    @activity.defn
    def stop_new(self, service: str) -> None:
        self._stop(service, NEW)

    @activity.defn
    def migrate_back(self, service: str) -> None:
        with transaction(self._database(service)) as db:
            if _schema(db) == NEW:
                db.execute("ALTER TABLE accounts DROP COLUMN currency")
                db.execute(f"PRAGMA user_version = {OLD}")
        self._note(service, "migrated back")

    # -- servers and routes

    def _database(self, service: str) -> Path:
        return self._directory / f"{service}.db"

    def _start(self, service: str, version: int) -> None:
        with self._lock:
            if (service, version) not in self._servers:
                self._servers[service, version] = Server(_Service(service, version, self._database(service)).handle)
        self._note(service, f"version {version} started")

    def _stop(self, service: str, version: int) -> None:
        with self._lock:
            server = self._servers.pop((service, version), None)
        if server is not None:
            server.stop()
        self._note(service, f"version {version} stopped")

    def _point(self, service: str, version: int) -> None:
        address = self._servers[service, version].address
        with transaction(self.path) as db:
            db.execute("INSERT OR REPLACE INTO routes VALUES (?, ?)", (service, address))
        self._note(service, f"traffic to version {version}")

    def _route(self, request: Request) -> Answer:
        """The gateway: passes a request on to the version that its service is routed to."""
        service, _, path = request.path.removeprefix("/").partition("/")
        found = rows(self.path, "SELECT address FROM routes WHERE service = ?", (service,))
        if not found:
            return Answer(404, {"error": f"no route to {service}"})
        return call(request.method, found[0][0], f"/{path}", request.body)

    def _note(self, service: str, event: str) -> None:
        with transaction(self.path) as db:
            db.execute("INSERT INTO events (service, event) VALUES (?, ?)", (service, event))


class _Service:
    """One version of one service."""

    def __init__(self, name: str, version: int, database: Path) -> None:
        self._name = name
        self._version = version
        self._database = database

    def handle(self, request: Request) -> Answer:
        if request.path == "/health" and self._version == NEW:
            (missing,) = rows(self._database, "SELECT COUNT(*) FROM accounts WHERE currency IS NULL")[0]
            if missing:
                return Answer(503, {"error": f"{self._name}: {missing} account without a currency"})
        (cents,) = rows(self._database, "SELECT SUM(cents) FROM accounts")[0]
        return Answer(200, {"service": self._name, "version": self._version, "cents": cents})


def _schema(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
