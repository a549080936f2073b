"""The shards of a run, and how long histories are."""

from __future__ import annotations

from tests.conftest import Bench


async def shards_of(bench: Bench, id: str) -> list[str]:
    """The ids of all shards that a run had, at any depth."""
    query = f'WorkflowType = "FanOutShard" AND WorkflowId STARTS_WITH "{id}."'
    return [one.id async for one in bench.client.list_workflows(query)]


async def longest_history(bench: Bench, id: str) -> tuple[int, int]:
    """The most bytes, and the most events, of a history of a run: its own, or a shard's."""
    ids = [id, *await shards_of(bench, id)]
    found = [(await bench.client.get_workflow_handle(one).describe()).raw_description for one in ids]
    infos = [one.workflow_execution_info for one in found]
    return max(info.history_size_bytes for info in infos), max(info.history_length for info in infos)
