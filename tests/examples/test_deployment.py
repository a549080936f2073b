"""The service deployment: within the tolerance what is broken stays as it was, over it everything does."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from temporal_fanout.process.devserver import DevServer
from tests.conftest import until
from tests.examples.programs import AsShown, run_as_shown, started

pytestmark = [pytest.mark.xdist_group("deployment"), pytest.mark.timeout(300)]

ALL = {f"service-{number:03}" for number in range(40)}


def ask(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def traffic(directory: Path) -> dict[str, list[int]]:
    """To which versions each service's traffic went, in the order in which the routes were set."""
    went: dict[str, list[int]] = {}
    for service, event in ask(directory / "fleet.db", "SELECT service, event FROM events ORDER BY id"):
        if found := re.fullmatch(r"traffic to version (\d)", event):
            went.setdefault(service, []).append(int(found[1]))
    return went


def schemas(directory: Path) -> dict[str, int]:
    """The version of each service's database, which its columns agree with."""
    found = {}
    for service in sorted(ALL):
        ((version,),) = ask(directory / f"{service}.db", "PRAGMA user_version")
        columns = {row[1] for row in ask(directory / f"{service}.db", "PRAGMA table_info(accounts)")}
        assert ("currency" in columns) is (version == 2)
        found[service] = version
    return found


def broken(directory: Path) -> set[str]:
    """The services that the new version cannot work for: those with an account in a country that is not known."""
    query = "SELECT COUNT(*) FROM accounts WHERE country = '??'"
    return {service for service in ALL if ask(directory / f"{service}.db", query)[0][0]}


@pytest.fixture(scope="module")
async def shown(tmp_path_factory: pytest.TempPathFactory) -> AsShown:
    return await run_as_shown("deployment", tmp_path_factory.mktemp("deployment"))


async def test_the_readmes_command_shows_what_the_readme_shows(shown: AsShown) -> None:
    """By its one command the example runs on a dev server of its own, says this, and leaves no process."""
    shown.check()


async def test_within_the_tolerance_only_what_is_broken_keeps_the_old_version(shown: AsShown) -> None:
    """A service that the new version breaks never has traffic to it, and its old database; all others are updated."""
    directory = shown.ended.directory
    bad = broken(directory)
    assert len(bad) == 2
    assert schemas(directory) == {service: 1 if service in bad else 2 for service in ALL}
    for service, versions in traffic(directory).items():
        assert versions == ([1, 1] if service in bad else [1, 2])


async def test_a_breach_rolls_back_exactly_what_was_updated(server: DevServer, client: Client, tmp_path: Path) -> None:
    """By the histories, the second fan-out is over the children of the first that completed, and all are as before."""
    async with started("examples.deployment", "breach", temporary=tmp_path, address=server.address) as program:
        ended = await program.end()
    assert ended.code == 1, ended.err
    assert "breach: more items failed than the 4 that are tolerated" in ended.out
    assert "asked through the gateway: 40 are version 1\n" in ended.out

    children: dict[str, dict[str, WorkflowExecutionStatus | None]] = {}

    async def all_are_listed() -> bool:
        async for child in client.list_workflows(f'ParentWorkflowId="{ended.id}"'):
            (service,) = await _input(client, child.id)
            children.setdefault(child.workflow_type, {})[service] = child.status
        return len(children.get("RollBackService", ())) == len(completed())

    def completed() -> set[str]:
        deployed = children.get("DeployService", {}).items()
        return {service for service, status in deployed if status is WorkflowExecutionStatus.COMPLETED}

    await until(all_are_listed, "the children in the server's list")
    assert len(completed()) >= 5
    assert set(children["RollBackService"]) == completed()
    assert set(children["RollBackService"].values()) == {WorkflowExecutionStatus.COMPLETED}
    assert f"rolled back: {len(completed())} services" in ended.out
    failed = set(children["DeployService"]) - completed()
    assert failed == broken(ended.directory) & set(children["DeployService"])
    assert set(schemas(ended.directory).values()) == {1}
    for service, versions in traffic(ended.directory).items():
        expected = [1, 2, 1] if service in completed() else [1, 1] if service in failed else [1]
        assert versions == expected, service


async def _input(client: Client, id: str) -> list[Any]:
    history = await client.get_workflow_handle(id).fetch_history()
    given = history.events[0].workflow_execution_started_event_attributes.input.payloads
    return await client.data_converter.decode(given)
