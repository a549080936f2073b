"""Records the histories that the replay tests replay: `python -m tests.replay.record`.

Run it when a workflow changes its commands, until 0.1.0 is tagged; after that a change is made with workflow.patched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle

from temporal_fanout import retry
from temporal_fanout.client import connect
from temporal_fanout.devserver import dev_server
from temporal_fanout.process import end
from tests.conftest import Bench, working

FOLDER = Path(__file__).parent / "histories"

RUNS: dict[str, tuple[Any, ...]] = {
    "flat": ([1, 2, 3, 4, 5],),
    "empty": ([],),
    "activities": ([1, 2, 3], {"activity": "double"}),
    "shards": (list(range(60)), {"shard_size": 10, "max_concurrency": 20}),
    "nested": (list(range(205)), {"shard_size": 2, "activity": "double"}),
    "paced": (list(range(12)), {"starts_per_second": 8, "shard_size": 6}),
    "breach": (list(range(40)), {"tolerated_failure_count": 2, "shard_size": 10, "max_concurrency": 4}),
    "source": ({"source": "@items.jsonl"}, {"shard_size": 20, "activity": "double"}),
    "invalid": ("text",),
}
RETRIES = ("flat", "shards", "activities")
"""Runs whose failures are retried, too."""


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    async with dev_server() as server:
        client = await connect(30, target_host=server.address)
        with tempfile.TemporaryDirectory() as folder:
            items = Path(folder) / "items.jsonl"
            items.write_text("".join(f"{n}\n" for n in range(70)))
            async with working(client, [folder]) as bench:
                for name, args in RUNS.items():
                    given = ({"source": str(items)}, *args[1:]) if name == "source" else args
                    await record(bench, name, given)
                for name in RETRIES:
                    await record_retry(bench, name)


async def record(bench: Bench, name: str, args: tuple[Any, ...]) -> None:
    """The histories of a run, of its first child and of its shards."""
    handle = await bench.start("ParentWorkflow", *args, id=f"replay-{name}")
    await _record(bench, handle)


async def record_retry(bench: Bench, name: str) -> None:
    """The same of a retry of the run of this name, by shards of ten."""
    await _record(bench, await retry(bench.client, f"replay-{name}", options={"shard_size": 10}))


async def _record(bench: Bench, handle: WorkflowHandle[Any, Any]) -> None:
    with contextlib.suppress(WorkflowFailureError):
        await handle.result()
    for id in (handle.id, f"{handle.id}.0", f"{handle.id}.s0", f"{handle.id}.s1", f"{handle.id}.s0.s1"):
        with contextlib.suppress(Exception):
            history = await bench.client.get_workflow_handle(id).fetch_history()
            (FOLDER / f"{id}.json").write_text(json.dumps(_clean(history.to_json_dict()), indent=2) + "\n")


def _clean(value: Any) -> Any:
    """Without what tells of the machine that recorded it: replay reads neither."""
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items() if key not in ("stackTrace", "identity")}
    return [_clean(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    asyncio.run(main())
    end(0)
