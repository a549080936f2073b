"""Conditional children: which child runs for a record depends on what another found."""

from dataclasses import replace
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from temporal_fanout.engine.fan_out import fan_out
from temporal_fanout.lab import list_input
from temporal_fanout.lab.workflows.data_transformation import DataTransformationWorkflow
from temporal_fanout.lab.workflows.data_validation import DataValidationWorkflow
from temporal_fanout.wire.payloads import in_order


@workflow.defn
class ConditionalWorkflow:
    """Validates every record, and transforms those that are valid.

    Takes an array of records, and optionally an object of options, which both fan-outs get.
    """

    @workflow.run
    async def run(self, *args: Any) -> RawValue:
        records, options = list_input(args)
        validation = await fan_out(DataValidationWorkflow, records, replace(options, name="validation"))
        valid = [done.value for done in validation.completed if done.result]
        transformation = await fan_out(DataTransformationWorkflow, valid, replace(options, name="transformation"))
        return in_order(
            {
                "validated": validation.success_count,
                "transformed": [done.result for done in transformation.completed],
                "rejected": [done.value for done in validation.completed if not done.result],
                "failed_children": validation.to_dict()["failed_children"]
                + transformation.to_dict()["failed_children"],
            }
        )
