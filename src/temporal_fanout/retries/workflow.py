"""The workflow of a retry; `FanOutPlugin` registers it."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from temporal_fanout.checks import InvalidInput
from temporal_fanout.engine.fan_out import fan_out
from temporal_fanout.options import FanOutOptions
from temporal_fanout.retries.choice import Choice, Limits, args_of
from temporal_fanout.source import READ_HISTORY, Source
from temporal_fanout.wire.payloads import in_order
from temporal_fanout.wire.protocol import RETRY_WORKFLOW
from temporal_fanout.wire.starts import RECORDED

_PAGE_TIMEOUT = timedelta(hours=1)
"""For a page of a history, or a survey of all of it, with every attempt."""
_NONE = RawValue(Payload())


def retry_input(*given: Any) -> tuple[str, Source, FanOutOptions]:
    """What `FanOutRetry` was given, as `fan_out` takes it. Raises `InvalidInput`."""
    if not all(isinstance(one, RawValue) for one in given):  # the SDK decodes inputs of another number than declared
        raise InvalidInput("input: a retry is started by fanout retry, or by temporal_fanout.retry")
    choice, limits, args = (one.payload for one in given)
    Choice.from_payload(choice)
    args_of(args)
    told = Limits.from_payload(limits)
    source = Source(READ_HISTORY, [RawValue(choice), RawValue(args)], timeout=_PAGE_TIMEOUT)
    return RECORDED + told.work, source, told.of_run


@workflow.defn(name=RETRY_WORKFLOW)
class FanOutRetry:
    """Runs chosen items of a finished workflow once more; started by `fanout retry`."""

    @workflow.run
    async def run(self, choice: RawValue = _NONE, limits: RawValue = _NONE, args: RawValue = _NONE) -> RawValue:
        work, source, options = retry_input(choice, limits, args)
        return in_order((await fan_out(work, source, options)).to_dict())
