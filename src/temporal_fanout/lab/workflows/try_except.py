"""The lab's parent in plain Temporal style: what `fan_out` does for its caller, by hand, and what it takes care of
besides is missing here."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ChildWorkflowError, FailureError

from temporal_fanout.checks import InvalidInput
from temporal_fanout.lab import inputs
from temporal_fanout.lab.workflows.child import ChildWorkflow
from temporal_fanout.wire.payloads import in_order

MOST_CHILDREN = 500
"""The server refuses the 2,001st child that is open, and the parent would hang for ever."""


@workflow.defn
class TryExceptWorkflow:
    """Starts all children at once, and handles the failure of each by itself.

    Takes an array of values, and optionally `{"args": […]}`: further arguments of every child.
    """

    @workflow.run
    async def run(self, *args: Any) -> RawValue:
        values, more = _input(args)
        outcomes = await asyncio.gather(*(self._child(index, [value, *more]) for index, value in enumerate(values)))
        good = [outcome for outcome in outcomes if "result" in outcome]
        bad = [outcome for outcome in outcomes if "error" in outcome]
        return in_order(
            {
                "total_children": len(values),
                "successful_results": good,
                "failed_children": bad,
                "success_count": len(good),
                "failure_count": len(bad),
                "success_rate": len(good) / len(values) if values else 0.0,
            }
        )

    async def _child(self, index: int, args: list[Any]) -> dict[str, Any]:
        value = args[0]
        try:
            result = await workflow.execute_child_workflow(
                ChildWorkflow.run,
                args=args,
                id=f"{workflow.info().workflow_id}.{index}",
                execution_timeout=timedelta(minutes=1),  # without one, a child that hangs hangs its parent
            )
        except ChildWorkflowError as error:
            return {"value": value} | _root_cause(error)
        return {"value": value, "result": result}


def _root_cause(error: BaseException) -> dict[str, str]:
    """The child's own error, under the ones that Temporal wraps it in."""
    while isinstance(error, ChildWorkflowError | ActivityError) and error.cause is not None:
        error = error.cause
    message = error.message if isinstance(error, FailureError) else str(error)
    return {"error": message, "type": getattr(error, "type", None) or type(error).__name__}


def _input(args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    values, options = inputs(args)
    more = options.pop("args", [])
    if options:
        raise InvalidInput(f"options.{min(options)}: is for parents that call fan_out; this one takes args only")
    if not isinstance(more, list):
        raise InvalidInput(f"options.args: must be an array, not {more!r:.60}")
    if not isinstance(values, list) or len(values) > MOST_CHILDREN:
        raise InvalidInput(f"input: must be a JSON array of at most {MOST_CHILDREN} values, not {values!r:.60}")
    return values, more
