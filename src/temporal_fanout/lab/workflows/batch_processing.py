"""The lab's dynamic spawning: how many children there are is known only when the parent runs."""

from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from temporal_fanout.batches import batches
from temporal_fanout.checks import InvalidInput, whole
from temporal_fanout.engine.fan_out import fan_out
from temporal_fanout.lab import inputs, one_input
from temporal_fanout.options import FanOutOptions
from temporal_fanout.wire.payloads import in_order

MOST_ITEMS = 100_000


@workflow.defn
class BatchProcessingWorkflow:
    """Cuts so many items into batches and runs a child for each.

    Takes `{"batch_size", "total_items"}`, and optionally an object of options.
    """

    @workflow.run
    async def run(self, *args: Any) -> RawValue:
        given, options = inputs(args)
        size, total = _sizes(given)
        result = await fan_out(BatchWorkflow, batches(list(range(total)), size), FanOutOptions.from_dict(options))
        return in_order(
            {
                "batches_processed": result.success_count,
                "results": [done.result for done in result.completed],
                "failed_children": result.to_dict()["failed_children"],
            }
        )


@workflow.defn(failure_exception_types=[Exception])
class BatchWorkflow:
    """Adds up a batch of numbers. The lab's id of it, `batch-{start}-{end}`, is in its memo and in its result."""

    @workflow.run
    async def run(self, *args: Any) -> dict[str, Any]:
        batch = one_input(args, "a batch, as {id, items}")
        items = batch.get("items")
        if not isinstance(items, list) or not all(isinstance(item, int) for item in items):
            raise InvalidInput(f"items: must be an array of whole numbers, not {items!r:.60}")
        id = f"batch-{batch.get('id')}"
        workflow.upsert_memo({"batch": id})
        return {"id": id, "items": len(items), "sum": sum(items)}


def _sizes(given: Any) -> tuple[int, int]:
    keys = ("batch_size", "total_items")
    if not isinstance(given, dict):
        raise InvalidInput(f"input: must be an object with batch_size and total_items, not {given!r:.60}")
    for key in given:
        if key not in keys:
            raise InvalidInput(f"input.{key}: is not known; known are {', '.join(keys)}")
    whole("batch_size", given.get("batch_size"), least=1)
    whole("total_items", given.get("total_items"), least=0, most=MOST_ITEMS)
    return given["batch_size"], given["total_items"]
