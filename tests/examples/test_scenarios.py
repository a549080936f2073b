"""What the examples say of themselves: their scenarios, and the pages that name them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from examples.deployment.__main__ import SCENARIOS as DEPLOYMENT
from examples.orders.__main__ import SCENARIOS as ORDERS
from examples.pipeline.__main__ import SCENARIOS as PIPELINE
from examples.program import Scenario
from examples.report.__main__ import SCENARIOS as REPORT
from temporal_fanout.process.devserver import DevServer
from tests.examples.programs import ROOT, started

ALL: dict[str, list[Scenario[Any]]] = {
    "orders": [*ORDERS],
    "pipeline": [*PIPELINE],
    "deployment": [*DEPLOYMENT],
    "report": [*REPORT],
}


@pytest.mark.parametrize("name", ALL)
async def test_help_lists_every_scenario_and_what_is_to_be_expected_of_it(tmp_path: Path, name: str) -> None:
    """`--help` names each scenario of an example, what it shows, and what is to be expected."""
    async with started(f"examples.{name}", "--help", temporary=tmp_path) as program:
        out, _ = await program.process.communicate()
    for scenario in ALL[name]:
        assert f"{scenario.shows}; {scenario.expected}" in out.decode()


@pytest.mark.parametrize(
    ("name", "scenario", "line"),
    [
        ("orders", "no-trouble", "50 orders: 50 fulfilled, 0 not"),
        ("orders", "bad-day", "100 orders: 50 fulfilled, 50 not"),
        ("pipeline", "dirty", "2,000 rows in 20 batches: 1,201 written, 799 rejected"),
    ],
)
@pytest.mark.timeout(300)
async def test_a_scenario_ends_as_it_says(
    server: DevServer, tmp_path: Path, name: str, scenario: str, line: str
) -> None:
    """The scenarios that no other test runs end as their text says, on the user's own server."""
    async with started(f"examples.{name}", scenario, temporary=tmp_path, address=server.address) as program:
        ended = await program.end()
    assert ended.code == 0, ended.err
    assert line in ended.out.splitlines()


def test_the_pages_name_every_example_and_no_other() -> None:
    """The README's table and the index of examples have each example, with a page of at most a page's half."""
    found = {path.parent.name for path in (ROOT / "examples").glob("*/__main__.py")}
    assert set(ALL) == found
    assert re.findall(r"`make example NAME=(\w+)` \|", (ROOT / "README.md").read_text()) == list(ALL)
    index = (ROOT / "examples" / "README.md").read_text()
    assert re.findall(r"\[\w+\]\((\w+)/README.md\) \| `python -m examples\.(\w+)`", index) == [(n, n) for n in ALL]
    for name in ALL:
        assert len((ROOT / "examples" / name / "README.md").read_text().splitlines()) < 40
