"""A child of another type: says whether a record is whole."""

from typing import Any

from temporalio import workflow

from temporal_fanout.lab import one_input


@workflow.defn(failure_exception_types=[Exception])
class DataValidationWorkflow:
    """Whether a record has a name and an email, neither of them empty."""

    @workflow.run
    async def run(self, *args: Any) -> bool:
        record = one_input(args, "a record, as {name, email}")
        return bool(record.get("name") and record.get("email"))
