"""Two real workers and the exporter under a real Prometheus, with the rules loaded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporal_fanout.process.ports import free_port
from tests.conftest import until
from tests.processes import Serving, serving

RULES = Path(__file__).parents[2] / "monitoring" / "rules"
SCRAPE_SECONDS = 1


@dataclass
class Stack:
    address: str
    task_queue: str
    workers: list[Serving]
    exporter: Serving
    prometheus: str
    """The address of its API."""

    async def ask(self, path: str, **parameters: str) -> Any:
        """What Prometheus' API answers. Raises `ValueError`, with its message, for a query that it refuses."""
        url = f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"

        def get() -> Any:
            try:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code == 503:  # it is still starting, and says so in plain text
                    raise
                return json.load(error)

        answer = await asyncio.to_thread(get)
        if answer["status"] != "success":
            raise ValueError(f"{parameters}: {answer['error']}")
        return answer["data"]

    async def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that the expression gives now."""
        data = await self.ask("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    async def number(self, expression: str) -> float:
        """The one value that the expression gives now; NaN where it gives none."""
        found = await self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else float("nan")


@contextlib.asynccontextmanager
async def stack(address: str, task_queue: str, folder: Path) -> AsyncIterator[Stack]:
    """Starts all of it against the Temporal server at this address; `folder` takes the configuration and the data."""
    queue = ["--task-queue", task_queue]
    async with contextlib.AsyncExitStack() as exits:
        workers = [await exits.enter_async_context(serving("worker", *queue, address=address)) for _ in range(2)]
        exporter = await exits.enter_async_context(serving("exporter", "--interval", "2", address=address))
        for one in (*workers, exporter):
            await until(one.is_ready, "a process that is ready")
        port = free_port()
        jobs = {"fanout-worker": workers, "fanout-exporter": [exporter]}
        (folder / "prometheus.json").write_text(json.dumps(_configuration(jobs)))  # JSON is YAML, too
        process = await asyncio.create_subprocess_exec(
            "prometheus", f"--config.file={folder}/prometheus.json", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            running = Stack(address, task_queue, workers, exporter, f"http://127.0.0.1:{port}")

            async def scraped() -> bool:
                assert process.returncode is None, (await process.stderr.read()).decode() if process.stderr else ""
                with contextlib.suppress(OSError):
                    return await running.number("sum(up)") == len(workers) + 1
                return False

            await until(scraped, "a Prometheus that scrapes them all")
            yield running
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()


def _configuration(jobs: dict[str, list[Serving]]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": "1s"},
        "rule_files": [f"{RULES}/*.yaml"],
        "scrape_configs": [
            {
                "job_name": name,
                "honor_labels": True,
                "static_configs": [{"targets": [f"127.0.0.1:{one.port}" for one in processes]}],
            }
            for name, processes in jobs.items()
        ],
    }
