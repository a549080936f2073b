"""README.md: its story of operating a run is told once more, and shows what stands there."""

from __future__ import annotations

import pytest

from temporal_fanout.process.devserver import DevServer
from tests.docs.page import ROOT, check, sections
from tests.processes import serving

STORY = ("Operate a run", "Run what failed once more")

pytestmark = pytest.mark.timeout(300)


async def test_a_run_is_operated_as_the_readme_tells(server: DevServer) -> None:
    """Each command of the story ends well and shows what the page shows, but for ids, rates and times."""
    told = {section.title: section for section in sections((ROOT / "README.md").read_text())}
    async with serving("worker", address=server.address):
        for title in STORY:
            await check(told[title], {"TEMPORAL_ADDRESS": server.address})
