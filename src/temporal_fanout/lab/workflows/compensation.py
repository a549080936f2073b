"""Compensation: where too many items fail, what had completed is taken back."""

from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from temporal_fanout.checks import InvalidInput
from temporal_fanout.engine.fan_out import fan_out
from temporal_fanout.lab import one_input, parent_input
from temporal_fanout.options import FanOutOptions
from temporal_fanout.results import ToleratedFailureExceeded
from temporal_fanout.wire.payloads import in_order

UNDO = "undo"


@workflow.defn
class CompensationWorkflow:
    """Does what `ParentWorkflow` does; over its tolerance it undoes what had completed, the last first.

    Takes what `ParentWorkflow` takes.
    """

    @workflow.run
    async def run(self, *args: Any) -> RawValue:
        work, items, options = parent_input(args)
        if options.name == UNDO:
            raise InvalidInput(f"options.name: {UNDO} is that of the second fan-out; choose another")
        try:
            result = await fan_out(work, items, options)
        except ToleratedFailureExceeded as breach:
            if breach.result.truncated:  # not all that completed is known here; their history knows it
                raise
            done = [{"value": one.value, "result": one.result} for one in reversed(breach.result.completed)]
            undo = await fan_out(UndoWorkflow, done, FanOutOptions(name=UNDO, max_concurrency=1))
            return in_order(
                {
                    "compensated": True,
                    "reason": breach.message,
                    "completed": [one.value for one in breach.result.completed],
                    "failed": [one.value for one in breach.result.failed],
                    "not_started": breach.result.not_started_count,
                    "undone": [one.result for one in undo.completed],
                    "undo_failed": undo.to_dict()["failed_children"],
                }
            )
        return in_order({"compensated": False, "results": result.to_dict()})


@workflow.defn(failure_exception_types=[Exception])
class UndoWorkflow:
    """Takes back what `ChildWorkflow` did: of `{"value", "result"}` it returns the value, half of the result."""

    @workflow.run
    async def run(self, *args: Any) -> int:
        done = one_input(args, "what a child did, as {value, result}")
        result = done.get("result")
        if isinstance(result, bool) or not isinstance(result, int):
            raise InvalidInput(f"result: must be a whole number, not {result!r:.60}")
        return result // 2
