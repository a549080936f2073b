"""Recorded histories of every workflow, replayed by the code of today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from temporal_fanout.lab.worker import WORKFLOWS
from temporal_fanout.plugin import FanOutPlugin
from temporal_fanout.wire.protocol import RETRY_WORKFLOW, SHARD_WORKFLOW
from tests.conftest import Bench, working
from tests.replay.record import FOLDER, RETRIES, RUNS

HISTORIES = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    """The workflow makes the same commands as when it was recorded."""
    replayer = Replayer(workflows=WORKFLOWS, plugins=[FanOutPlugin()])
    await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, path.read_text()))


def test_every_workflow_and_way_is_recorded() -> None:
    """Every workflow of the worker, shards, and each run that record.py names, are among the histories."""
    started = (json.loads(path.read_text())["events"][0] for path in HISTORIES)
    types = {event["workflowExecutionStartedEventAttributes"]["workflowType"]["name"] for event in started}
    assert types == {workflow.__name__ for workflow in WORKFLOWS} | {SHARD_WORKFLOW, RETRY_WORKFLOW}
    names = {path.stem for path in HISTORIES}
    assert {f"replay-{name}" for name in RUNS} <= names
    for name in RETRIES:
        assert any(stem.startswith(f"replay-{name}.retry-") for stem in names)
    assert {"replay-flat.0", "replay-shards.s0", "replay-nested.s0.s1", "replay-source.s1"} <= names


async def test_a_run_without_a_cache_is_replayed_at_every_task(client: object) -> None:
    """With no cache each workflow task replays the whole history: a command that differs would fail it."""
    async with working(client, max_cached_workflows=0) as bench:  # type: ignore[arg-type]
        assert isinstance(bench, Bench)
        result = await bench.parent(list(range(40)), shard_size=10, max_concurrency=12, starts_per_second=30)
        assert result["outcomes"] == {"completed": 20, "failed": 20}
