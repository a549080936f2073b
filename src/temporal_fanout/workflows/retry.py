"""The workflow of a retry; `FanOutPlugin` registers it."""

from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from temporal_fanout.fan_out import fan_out
from temporal_fanout.retry import RETRY_WORKFLOW, retry_input, retry_output


@workflow.defn(name=RETRY_WORKFLOW)
class FanOutRetry:
    """Runs chosen items of a finished workflow once more; started by `fanout retry`."""

    @workflow.run
    async def run(self, *args: Any) -> RawValue:
        work, source, options = retry_input(args)
        return retry_output(await fan_out(work, source, options))
