"""Records the histories that the replay tests replay: `python -m tests.replay.record [NAME …]`, all if none is named.

Run it for runs that are new only. What is recorded stands for runs that are open somewhere: it is never recorded anew.
A change of a workflow's commands is made with a new version (`temporal_fanout.wire.tuning`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle

from temporal_fanout import lab, retry
from temporal_fanout.lab.scenarios import SCENARIOS
from temporal_fanout.lab.worker import make_worker
from temporal_fanout.operations.connect import connect
from temporal_fanout.operations.updates import held_items, release, update
from temporal_fanout.process.devserver import dev_server
from temporal_fanout.process.exit import end
from temporal_fanout.wire.protocol import PAUSE, RESIZE, RESUME
from tests.conftest import Bench, until

FOLDER = Path(__file__).parent / "histories"

EXPERIMENTS = (
    "random-failures", "random-delays", "sequential", "validation", "transformation", "conditional", "batches",
    "retries", "try-except", "compensation",
)  # fmt: skip
"""Scenarios with workflows, or with ways through them, that no other run has."""

RUNS: dict[str, tuple[str, list[Any]]] = {
    "flat": (lab.PARENT, [[1, 2, 3, 4, 5]]),
    "empty": (lab.PARENT, [[]]),
    "activities": (lab.PARENT, [[1, 2, 3], {"activity": "double"}]),
    "shards": (lab.PARENT, [list(range(60)), {"shard_size": 10, "max_concurrency": 20}]),
    "nested": (lab.PARENT, [list(range(205)), {"shard_size": 2, "activity": "double"}]),
    "paced": (lab.PARENT, [list(range(12)), {"starts_per_second": 8, "shard_size": 6}]),
    "breach": (
        lab.PARENT,
        [list(range(40)), {"tolerated_failure_count": 2, "shard_size": 10, "max_concurrency": 4}],
    ),
    "operated": (
        lab.PARENT,
        [[2, *range(1, 120, 2)], {"shard_size": 10, "max_concurrency": 4, "on_failure": "hold"}],
    ),
    "source": (lab.PARENT, [{"source": "@items.jsonl"}, {"shard_size": 20, "activity": "double"}]),
    "invalid": (lab.PARENT, ["text"]),
    **{name: (SCENARIOS[name].workflow, SCENARIOS[name].inputs) for name in EXPERIMENTS},
}
"""By name: the parent workflow and its inputs."""

KEPT = ("", ".0", ".s0", ".s1", ".s0.s1", ".validation.0", ".transformation.0", ".undo.0")
"""Of each run: itself, and by the end of their ids its first child and its shards."""
RETRIES = ("flat", "shards", "activities")
"""Runs whose failures are retried, too."""


async def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        for suffix in KEPT:
            (FOLDER / f"replay-{name}{suffix}.json").unlink(missing_ok=True)
        for old in FOLDER.glob(f"replay-{name}.retry-*.json"):  # whose ids come from the run's, which will be another
            old.unlink()
    async with dev_server() as server:
        client = await connect(30, target_host=server.address)
        with tempfile.TemporaryDirectory() as folder:
            items = Path(folder) / "items.jsonl"
            items.write_text("".join(f"{n}\n" for n in range(70)))
            async with make_worker(client, source_roots=[folder], graceful_seconds=1):
                bench = Bench(client, lab.TASK_QUEUE)
                for name in names:
                    workflow, inputs = RUNS[name]
                    if name == "source":
                        inputs = [{"source": str(items)}, *inputs[1:]]
                    await record(bench, name, workflow, inputs)
                for name in (name for name in RETRIES if name in names):
                    await record_retry(bench, name)


async def operate(bench: Bench, id: str) -> None:
    """Whatever an operator may ask, but an abort."""
    await update(bench.client, id, PAUSE)
    await update(bench.client, id, RESIZE, max_concurrency=3)
    await update(bench.client, id, RESUME)
    await update(bench.client, id, RESIZE, max_concurrency=8)
    await until(lambda: held_items(bench.client, id), "the held item")
    await release(bench.client, id, None, name=None, skip=False)
    await until(lambda: held_items(bench.client, id), "the item that failed again")
    await release(bench.client, id, None, name=None, skip=True)


async def record(bench: Bench, name: str, workflow: str, inputs: list[Any]) -> None:
    """The histories of a run, of its first child and of its shards."""
    handle = await bench.start(workflow, *inputs, id=f"replay-{name}")
    if name == "operated":
        await operate(bench, handle.id)
    await _record(bench, handle)


async def record_retry(bench: Bench, name: str) -> None:
    """The same of a retry of the run of this name, by shards of ten."""
    await _record(bench, await retry(bench.client, f"replay-{name}", options={"shard_size": 10}))


async def _record(bench: Bench, handle: WorkflowHandle[Any, Any]) -> None:
    with contextlib.suppress(WorkflowFailureError):
        await handle.result()
    for suffix in KEPT:
        with contextlib.suppress(Exception):
            history = await bench.client.get_workflow_handle(handle.id + suffix).fetch_history()
            (FOLDER / f"{handle.id}{suffix}.json").write_text(
                json.dumps(_clean(history.to_json_dict()), indent=2) + "\n"
            )


def _clean(value: Any) -> Any:
    """Without what tells of the machine that recorded it: replay reads neither."""
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items() if key not in ("stackTrace", "identity")}
    return [_clean(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or list(RUNS)))
    end(0)
