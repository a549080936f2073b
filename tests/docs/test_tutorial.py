"""docs/tutorial.md: a learner gets through it by copy and paste, and sees what stands there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from temporal_fanout.process.ports import free_port
from tests.docs.page import ROOT, Section, check, differs, moved, running, sections

PAGE = ROOT / "docs" / "tutorial.md"
_HERE, _, _ON_KIND = PAGE.read_text().partition("\n## 11. The same on Kubernetes\n")
SET_UP, *STEPS = sections(_HERE)
ON_KIND = sections(_ON_KIND)
METRICS_PORT = "9494"

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("tutorial")]


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[str]:
    """The address of the server that the page's first command brings up, and which Ctrl-C ends."""
    demo, *others = SET_UP.commands
    async with running(demo, {}) as run:
        await run.shows(demo.shown)
        (address,) = re.findall(r"TEMPORAL_ADDRESS=(\S+)", run.lines[-1])
        activate, export, *others = others
        assert activate.line == ". .venv/bin/activate"
        assert re.fullmatch(r"export TEMPORAL_ADDRESS=127\.0\.0\.1:\d+", export.line)
        await check(Section(SET_UP.title, others), {"TEMPORAL_ADDRESS": address})
        yield address


@pytest.mark.parametrize("section", STEPS, ids=lambda section: section.title)
async def test_the_commands_show_what_the_page_shows(address: str, section: Section) -> None:
    """But for ids, times and what is left out."""
    await check(moved(section, {METRICS_PORT: free_port()}), {"TEMPORAL_ADDRESS": address})


def test_code_that_the_page_shows_is_the_code() -> None:
    """Each block of Python stands so in the file that is named last before it."""
    parts = re.split(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    blocks = list(zip(parts[::2], parts[1::2], strict=False))
    assert len(blocks) == 2
    for before, code in blocks:
        file = re.findall(r"\]\(([^)#]+\.py)\)", before)[-1]
        assert code in (PAGE.parent / file).read_text(), file


def test_files_that_the_page_names_are_there() -> None:
    """Its links and pictures lead somewhere, and so do the files in its commands."""
    text = PAGE.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text):
        assert (PAGE.parent / target).exists(), target
    for file in re.findall(r"-f (\S+\.yaml)", text):
        assert (ROOT / file).exists(), file


def test_clean_removes_the_environment(tmp_path: Path) -> None:
    """And what was built."""
    for name in (".venv", "build"):
        (tmp_path / name).mkdir()
    (tmp_path / "kept").touch()
    subprocess.run(["make", "-f", ROOT / "Makefile", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("shown", "line", "same"),
    [
        ("  1  2026-11-24T15:28:33Z  TimerStarted", "  1  2027-01-02T03:04:05Z  TimerStarted", True),
        ("  1  2026-11-24T15:28:33Z  TimerStarted", "  2  2026-11-24T15:28:33Z  TimerStarted", False),
        ("  1  2026-11-24T15:28:33Z  TimerStarted", "  1  2026-11-24T15:28:33Z  TimerFired", False),
        ("  Failed  a.1  ChildWorkflow  2 seconds ago", "  Failed  a.1  ChildWorkflow  now", True),
        ("  Failed  a.1  ChildWorkflow  2 seconds ago", "  Completed  a.1  ChildWorkflow  2 seconds ago", False),
        ("  UNVERSIONED  workflow  2  3.4s  0.5  0.5  0", "  UNVERSIONED  workflow  7  1m 2.1s  1e-07  0  0", True),
        ("  UNVERSIONED  workflow  2  3.4s  0.5  0.5  0", "  UNVERSIONED  workflow  0  0s  0.5  0.5  0", False),
        ("  UNVERSIONED  workflow  1@a  now  100000", "  UNVERSIONED  workflow  23@b.c  1 second ago  9", True),
        ("  UNVERSIONED  workflow  1@a  now  100000", "  UNVERSIONED  activity  1@a  now  100000", False),
        ("  RunId  01a20e2c-4969-77be-a164-52db2907fd7d", "  RunId  01a20e2e-0013-73e3-b3fb-f24c32a5aff4", True),
    ],
)
def test_only_what_is_another_each_time_may_differ(shown: str, line: str, same: bool) -> None:
    """Times, ages, processes, rates and run ids; not what happened."""
    assert (differs([shown], [line]) is None) is same
