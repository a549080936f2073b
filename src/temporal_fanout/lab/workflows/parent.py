"""The lab's parent: fans a JSON array, or a source, out over children."""

from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from temporal_fanout.engine.fan_out import fan_out
from temporal_fanout.lab import parent_input, parent_output


@workflow.defn
class ParentWorkflow:
    """Runs a child for every value of its input and reports which succeeded and which failed, and why."""

    @workflow.run
    async def run(self, *args: Any) -> RawValue:
        work, items, options = parent_input(args)
        return parent_output(await fan_out(work, items, options))
