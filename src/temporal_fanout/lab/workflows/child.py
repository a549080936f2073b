"""The lab's child."""

from typing import Any

from temporalio import workflow

from temporal_fanout.lab import child_input


@workflow.defn(failure_exception_types=[Exception])
class ChildWorkflow:
    """Doubles a whole number, and fails the even ones, or those that its second input tells it to (`Behaviour`)."""

    @workflow.run
    async def run(self, *args: Any) -> int:
        value, behaviour = child_input(args)
        attempt = workflow.info().attempt
        if seconds := behaviour.seconds(value, attempt):
            await workflow.sleep(seconds)
        return behaviour.doubled(value, attempt)
