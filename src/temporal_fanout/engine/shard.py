"""The workflow of a shard; `FanOutPlugin` registers it."""

from typing import Any

from temporalio import workflow

from temporal_fanout.checks import InvalidInput
from temporal_fanout.engine.node import run_shard
from temporal_fanout.wire.protocol import SHARD_WORKFLOW


@workflow.defn(name=SHARD_WORKFLOW)
class FanOutShard:
    """A part of a fan-out, started by `fan_out` when there are more items than one history takes."""

    @workflow.run
    async def run(self, *args: Any) -> dict[str, Any]:
        if len(args) != 1 or not isinstance(args[0], dict) or not args[0].get("is_shard"):
            raise InvalidInput("input: a shard is started by fan_out only; start the workflow that calls it instead")
        return await run_shard(args[0])
