"""The lab's parent with a clock: the same items one after another, or in parallel."""

from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from temporal_fanout.engine.fan_out import fan_out
from temporal_fanout.lab import parent_input
from temporal_fanout.wire.payloads import in_order


@workflow.defn
class TimedParentWorkflow:
    """Does what `ParentWorkflow` does, says how long it took, and whether `max_concurrency` had made it sequential."""

    @workflow.run
    async def run(self, *args: Any) -> RawValue:
        work, items, options = parent_input(args)
        began = workflow.time()
        result = await fan_out(work, items, options)
        return in_order(
            {
                "execution_type": "sequential" if options.max_concurrency == 1 else "parallel",
                "execution_time": round(workflow.time() - began, 3),
                "results": result.to_dict(),
            }
        )
