"""The lab's child."""

from typing import Any

from temporalio import workflow

from temporal_fanout.lab import doubled


@workflow.defn(failure_exception_types=[Exception])
class ChildWorkflow:
    """Doubles a whole number, and fails the even ones."""

    @workflow.run
    async def run(self, value: Any) -> int:
        return doubled(value)
