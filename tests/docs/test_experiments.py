"""docs/experiments.md: every command is run, in the page's order, and shows what the page shows."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from temporal_fanout.lab.scenarios import SCENARIOS
from tests.docs.page import ROOT, Section, check, differs, running, sections

PAGE = ROOT / "docs" / "experiments.md"
SET_UP, *EXPERIMENTS = sections(PAGE.read_text())

pytestmark = [pytest.mark.timeout(1300), pytest.mark.xdist_group("experiments")]


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[str]:
    """The address of the server that the page's first command brings up."""
    demo, *others = SET_UP.commands
    assert [command.line for command in others] == [". .venv/bin/activate", "export TEMPORAL_ADDRESS=127.0.0.1:39231"]
    async with running(demo, {}) as run:
        await run.shows(demo.shown)
        (address,) = re.findall(r"TEMPORAL_ADDRESS=(\S+)", run.lines[-1])
        yield address


@pytest.mark.parametrize("section", EXPERIMENTS, ids=lambda section: section.title)
async def test_the_commands_show_what_the_page_shows(address: str, section: Section) -> None:
    """But for ids, times and what is left out."""
    await check(section, {"TEMPORAL_ADDRESS": address})


def test_the_page_has_a_section_for_every_scenario() -> None:
    """Each is in a heading, and each heading has known ones alone."""
    named = [name.strip() for section in EXPERIMENTS for name in section.title.partition(": ")[2].split(",")]
    assert sorted(named) == sorted(SCENARIOS)


def test_files_that_the_page_names_are_there() -> None:
    """Its links lead somewhere."""
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target


@pytest.mark.parametrize(
    ("shown", "lines", "same"),
    [
        (["a", "b"], ["a", "b"], True),
        (["a"], ["a", "b"], False),
        (["a", "b"], ["a"], False),
        (["b"], ["a", "b"], False),
        (["…", "b"], ["a", "b"], True),
        (["a", "…"], ["a", "b"], True),
        (["a", "…", "b"], ["a", "b"], True),
        (["a …"], ["a long line"], True),
        (["ended in 0.1 s"], ["ended in 9.7 s"], True),
        (["3  completed"], ["4 completed"], False),
    ],
)
def test_a_line_is_left_out_only_where_the_page_says_so(shown: list[str], lines: list[str], same: bool) -> None:
    """The comparison itself."""
    assert (differs(shown, lines) is None) is same
