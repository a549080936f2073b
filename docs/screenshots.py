"""Takes the pictures of docs/tutorial.md: the tutorial's parents in Temporal's own Web UI. `make screenshots` runs it.

Starts a dev server and a worker, runs the parents, and has a browser without a window look at them. Needs Chromium.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from temporalio.client import Client
from tests.conftest import until

from temporal_fanout import lab
from temporal_fanout.lab.worker import make_worker
from temporal_fanout.operations.connect import connect
from temporal_fanout.process import logs
from temporal_fanout.process.devserver import dev_server
from temporal_fanout.process.exit import end

FOLDER = Path(__file__).parent / "tutorial"
PARENTS: dict[str, list[int | str]] = {"tutorial-all-success": [1, 3, 5, 7, 9], "tutorial-mixed": [1, 2, 3, "four"]}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
UI_MILLISECONDS = 20_000
"""Of the page's own time, which the browser makes pass as fast as it can: until all that it asks for is there."""


@dataclass(frozen=True)
class Page:
    """An address of the Web UI, and the size in which it is shown."""

    address: str
    width: int
    height: int


async def main() -> int:
    browser = find_browser()
    if browser is None:
        print("screenshots: there is no Chromium (Debian: apt install chromium)", file=sys.stderr)
        return 2
    logs.configure(logs.Level.ERROR)
    async with pages() as shown:
        FOLDER.mkdir(exist_ok=True)
        for name, page in shown.items():
            picture = FOLDER / f"{name}.png"
            await look(browser, page, f"--screenshot={picture}")
            print(picture.relative_to(Path.cwd()) if picture.is_relative_to(Path.cwd()) else picture)
    return 0


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextlib.asynccontextmanager
async def pages() -> AsyncIterator[dict[str, Page]]:
    """What the pictures show, by their names, while a server shows it."""
    async with dev_server(ui=True) as server, contextlib.AsyncExitStack() as stack:
        client = await connect(60, target_host=server.address)
        await stack.enter_async_context(make_worker(client))  # without it the Web UI warns of that
        runs = {id: await _run(client, id, values) for id, values in PARENTS.items()}
        number = sum(1 + len(values) for values in PARENTS.values())

        async def listed() -> bool:
            return (await client.count_workflows('ExecutionStatus != "Running"')).count == number

        await until(listed, "the list of all that has ended", 60)
        workflows = f"{server.ui}/namespaces/default/workflows"
        mixed = f"{workflows}/tutorial-mixed/{runs['tutorial-mixed']}"
        query = quote('WorkflowId STARTS_WITH "tutorial-"')
        yield {
            "list": Page(f"{workflows}?query={query}", 1280, 800),
            "relationships": Page(f"{mixed}/relationships", 1280, 1100),
            "timeline": Page(f"{mixed}/timeline", 1280, 1000),
        }


async def _run(client: Client, id: str, values: list[int | str]) -> str:
    """The run id of a parent that has ended."""
    handle = await client.start_workflow(lab.PARENT, values, id=id, task_queue=lab.TASK_QUEUE)
    await handle.result()
    return str(handle.result_run_id)


async def look(browser: str, page: Page, *options: str) -> str:
    """Opens the page and waits until all is there; returns what the browser prints."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}",
            f"--window-size={page.width},{page.height}", f"--virtual-time-budget={UI_MILLISECONDS}",
        ]  # fmt: skip
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # which Chromium does not have for root
        process = await asyncio.create_subprocess_exec(
            *command, *options, page.address, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(120):
            printed, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{browser} ended with {process.returncode}")
    return printed.decode()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        end(asyncio.run(main()))
    end(130)
