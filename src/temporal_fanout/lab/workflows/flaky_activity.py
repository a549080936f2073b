"""A child whose work is an activity that fails at first, and which is tried again."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

from temporal_fanout.checks import InvalidInput, whole
from temporal_fanout.lab import child_input, flaky

_DEFAULTS = {"failures": 2, "attempts": 3}


@workflow.defn(failure_exception_types=[Exception])
class FlakyActivityWorkflow:
    """Doubles a whole number in an activity that fails its first attempts; returns `{"result", "attempts"}`.

    Its second input may say how many of them fail, and how many there are at most: `{"failures": 2, "attempts": 3}`.
    """

    @workflow.run
    async def run(self, *args: Any) -> dict[str, int]:
        value, failures, attempts = _input(args)
        return await workflow.execute_activity(
            flaky,
            args=[value, failures],
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_attempts=attempts),
        )


def _input(args: Sequence[Any]) -> tuple[int, int, int]:
    value, _ = child_input(args[:1])
    given = args[1] if len(args) > 1 and args[1] is not None else {}
    if len(args) > 2 or not isinstance(given, dict):
        raise InvalidInput(f"child options: must be an object with failures and attempts, not {args[1:]!r:.60}")
    for key in given:
        if key not in _DEFAULTS:
            raise InvalidInput(f"child options.{key}: is not known; known are {', '.join(_DEFAULTS)}")
    options = _DEFAULTS | given
    whole("failures", options["failures"], least=0)
    whole("attempts", options["attempts"], least=1)
    return value, options["failures"], options["attempts"]
