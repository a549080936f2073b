"""The parent, and the child that is the pipeline of one batch."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from examples.pipeline import stages
    from examples.pipeline.models import Batch, Cleaned, Files, Written
    from temporal_fanout import FanOutOptions, Source, fan_out

_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=5)
_STAGE = workflow.ActivityConfig(start_to_close_timeout=timedelta(seconds=60), retry_policy=_RETRY)
_WHOLE = workflow.ActivityConfig(start_to_close_timeout=timedelta(minutes=10), retry_policy=_RETRY)


@workflow.defn
class CleanBatch:
    """The stages, one after the other: a pipeline is the child's own."""

    @workflow.run
    async def run(self, batch: Batch, files: Files) -> Written:
        stage = await workflow.execute_activity(stages.validate, batch, **_STAGE)
        stage = await workflow.execute_activity(stages.transform, stage, **_STAGE)
        stage = await workflow.execute_activity(stages.check_quality, stage, **_STAGE)
        return await workflow.execute_activity(stages.write_part, args=[stage, files], **_STAGE)


@workflow.defn
class CleanSales:
    """Cuts the input into batches, fans them out, and makes one output of their parts."""

    @workflow.run
    async def run(self, files: Files) -> Cleaned:
        rows = await workflow.execute_activity(stages.split_into_batches, files, **_WHOLE)
        options = FanOutOptions(max_concurrency=20, args=[files])
        result = await fan_out(CleanBatch.run, Source.file(files.batches), options)
        # By their places: the values are whole batches, of which a result has room for some only.
        refused = {str(failure.index + 1): failure.error for failure in result.failed}
        report = await workflow.execute_activity(stages.combine, args=[files, refused], **_WHOLE)
        return Cleaned(rows, result.total_children, refused, report)
