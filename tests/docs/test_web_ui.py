"""What a learner sees in Temporal's Web UI, as a browser without a window has it."""

from __future__ import annotations

import re

import pytest
from docs.screenshots import FOLDER, find_browser, look, pages

from tests.needs import missing

CHILDREN = ["Completed ChildWorkflow tutorial-mixed.0", "Failed ChildWorkflow tutorial-mixed.1",
            "Completed ChildWorkflow tutorial-mixed.2", "Failed ChildWorkflow tutorial-mixed.3"]  # fmt: skip


@pytest.mark.timeout(300)
async def test_the_web_ui_shows_what_the_tutorial_says() -> None:
    """The list has both parents and all children, the tree has each child and how it ended, the timeline the parent's
    input and result; these are the pages of which the tutorial has pictures."""
    browser = find_browser()
    if browser is None:
        missing("there is no Chromium: apt-get install chromium")
    async with pages() as shown:
        seen = {name: text(await look(browser, page, "--dump-dom")) for name, page in shown.items()}
    assert sorted(seen) == sorted(path.stem for path in FOLDER.glob("*.png"))
    for id in ("tutorial-all-success", *(f"tutorial-all-success.{n}" for n in range(5)), "tutorial-mixed"):
        assert f" {id} " in seen["list"]
    for child in CHILDREN:
        assert child in seen["relationships"]
    assert '[ 1 , 2 , 3 , "four" ]' in seen["timeline"]
    assert '"success_rate" : 0.5' in seen["timeline"]


def text(page: str) -> str:
    """What a page shows, without its markup."""
    without = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", without))
