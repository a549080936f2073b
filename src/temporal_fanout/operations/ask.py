"""Queries, updates and signals of a workflow that fans out: JSON whatever the client's payload converter.

They pass through the client's codec, as every payload of the run passes through the codec of its worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.common import RawValue

from temporal_fanout.checks import InvalidInput
from temporal_fanout.wire.payloads import from_json, to_json


async def query(handle: WorkflowHandle[Any, Any], what: str, seconds: float, **given: Any) -> Any:
    """The answer to a query, which takes no argument where none is given. Raises `InvalidInput` for one that cannot
    be read, and what the SDK raises for one that does not come within `seconds`."""
    args = [_object(given)] if given else []
    answer = await handle.query(what, args=args, result_type=RawValue, rpc_timeout=timedelta(seconds=seconds))
    return _read(answer, f"{handle.id}: the answer is")


async def update(handle: WorkflowHandle[Any, Any], what: str, given: Mapping[str, Any]) -> Any:
    """The answer to an update, once the workflow has done it. Raises `InvalidInput` for one that cannot be read."""
    answer = await handle.execute_update(what, _object(given), result_type=RawValue)
    return _read(answer, f"{handle.id}: has done it, but its answer is")


async def signal(handle: WorkflowHandle[Any, Any], what: str, given: Mapping[str, Any]) -> None:
    """Has no answer."""
    await handle.signal(what, _object(given))


def _object(given: Mapping[str, Any]) -> RawValue:
    return RawValue(to_json(dict(given)))


def _read(answer: RawValue, what: str) -> Any:
    try:
        return from_json(answer.payload)
    except ValueError:
        raise InvalidInput(f"{what} encrypted: connect with the run's data converter") from None
