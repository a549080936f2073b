"""The workflow of a retry; `FanOutPlugin` registers it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from temporal_fanout.checks import InvalidInput
from temporal_fanout.engine.fan_out import fan_out
from temporal_fanout.options import FanOutOptions
from temporal_fanout.results import FanOutResult
from temporal_fanout.retries.choice import Choice
from temporal_fanout.source import READ_HISTORY, Source
from temporal_fanout.wire.payloads import in_order
from temporal_fanout.wire.protocol import RETRY_WORKFLOW
from temporal_fanout.wire.starts import RECORDED

_PAGE_TIMEOUT = timedelta(hours=1)
"""For a page of a history, or a survey of all of it, with every attempt."""


def retry_input(args: Sequence[Any]) -> tuple[str, Source, FanOutOptions]:
    """What `FanOutRetry` was given, as `fan_out` takes it. Raises `InvalidInput`."""
    if len(args) != 2 or not isinstance(args[1], dict) or not isinstance(args[1].get("work"), str):
        raise InvalidInput("input: a retry is started by fanout retry, or by temporal_fanout.retry")
    choice = Choice.from_dict(args[0])
    source = Source(READ_HISTORY, [choice.to_dict()], timeout=_PAGE_TIMEOUT)
    return RECORDED + args[1]["work"], source, FanOutOptions.from_dict(args[1].get("options"))


def retry_output(result: FanOutResult) -> RawValue:
    """The result as JSON, in the order of its keys."""
    return in_order(result.to_dict())


@workflow.defn(name=RETRY_WORKFLOW)
class FanOutRetry:
    """Runs chosen items of a finished workflow once more; started by `fanout retry`."""

    @workflow.run
    async def run(self, *args: Any) -> RawValue:
        work, source, options = retry_input(args)
        return retry_output(await fan_out(work, source, options))
