"""What an operator asks of a run that is open: of its workflow, by updates, and of the shards that hold its items."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from temporal_fanout.checks import InvalidInput
from temporal_fanout.operations import ask
from temporal_fanout.operations.failing import Told, failing
from temporal_fanout.wire.protocol import ABORT, HELD, PROGRESS, RETRY, SKIP

ANSWER_SECONDS = 30.0
"""How long an update may take: a worker has to run the workflow, and open shards have to hear of it."""
_BEGIN_SECONDS = 10.0
_QUERY_SECONDS = 10.0
_PAGE = 200
"""Held items of one answer, at most; the workflow may give fewer."""
_USED_UP = "limit on the total number of distinct updates in this workflow has been reached"
"""In the server's refusal of an update."""
_ALL_USED = "its updates are used up, of which the server lets a run have 2,000 unless told otherwise"
_TASK_FAILS = "Workflow Task in failed state"
"""In the server's refusal of an update."""


async def update(client: Client, workflow_id: str, what: str, /, **given: Any) -> Any:
    """The answer to an update of `temporal_fanout.engine.control`. Keys whose value is none are left out.

    A server lets a run have 2,000 updates unless told otherwise. After them an abort is sent as a signal: none is
    answered, and the run stops soon after.

    Raises `InvalidInput` for a run that is not there, has ended, fans nothing out, or refuses what it is given, and
    when no worker answers.
    """
    given = {key: value for key, value in given.items() if value is not None}
    until = asyncio.get_running_loop().time() + _BEGIN_SECONDS
    while True:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await ask.update(client.get_workflow_handle(workflow_id), what, given)
        except TimeoutError:
            reason = f"has not answered for {ANSWER_SECONDS:.0f} s: does a worker poll its task queue?"
            raise await _silent(client, workflow_id, reason) from None
        except WorkflowUpdateFailedError as error:
            message = error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)
            not_yet = "no fan-out has begun" in message or (what in message and "not" in message)
            if not not_yet or asyncio.get_running_loop().time() > until:
                raise InvalidInput(f"{workflow_id}: {message}") from None
        except RPCError as error:
            if _USED_UP in error.message:
                if what == ABORT:
                    return await _abort_by_signal(client, workflow_id, given)
                raise InvalidInput(f"{workflow_id}: {_ALL_USED}; fanout abort still works") from None
            if _TASK_FAILS in error.message:
                raise await _silent(client, workflow_id, "its workflow task fails") from None
            raise _missing(workflow_id, error) or error from None
        await asyncio.sleep(0.5)


async def _abort_by_signal(client: Client, workflow_id: str, given: Mapping[str, Any]) -> None:
    """As the update, which the server does not take any more; nobody tells when it is done."""
    try:
        await ask.signal(client.get_workflow_handle(workflow_id), ABORT, given)
    except RPCError as error:
        raise _missing(workflow_id, error) or error from None


async def held_items(
    client: Client, workflow_id: str, name: str | None = None, inputs: bool = True
) -> list[dict[str, Any]]:
    """The items of a run that wait for a person, by index: `name`, `workflow_id` of the run or shard that holds each,
    `index, child_id, outcome, error, type`, and with `inputs` the `input`, as JSON. An input that is long is cut, and
    `input_truncated` is true. `name` is of the one fan-out that is meant.

    Raises `InvalidInput` for a run that is not there, or where no worker answers for it or for one of its shards.
    """
    try:
        found = await _held_by(client, workflow_id, name, inputs)
    except WorkflowQueryFailedError as error:
        reason = f"fans nothing out, or its worker lacks the FanOutPlugin: {error}"
        raise await _silent(client, workflow_id, reason) from None
    except RPCError as error:
        if error.status in _NO_ANSWER:
            reason = "no worker answers for it: does one poll its task queue?"
            raise await _silent(client, workflow_id, reason) from None
        raise _missing(workflow_id, error) or error from None
    return sorted(found, key=lambda item: (item["name"], item["index"]))


_NO_ANSWER = {RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED, RPCStatusCode.FAILED_PRECONDITION}
"""What a query gets whose worker is away."""


async def _held_by(client: Client, workflow_id: str, name: str | None, inputs: bool) -> list[dict[str, Any]]:
    handle = client.get_workflow_handle(workflow_id)
    found = [item async for item in _pages(handle, name, inputs)]
    progress = await ask.query(handle, PROGRESS, _QUERY_SECONDS)
    shards = [shard for key, one in progress.items() if name in (None, key) for shard in one.get("open_shards", ())]
    for items in await asyncio.gather(*(_held_by_shard(client, shard, inputs) for shard in shards)):
        found += items
    return found


async def _held_by_shard(client: Client, workflow_id: str, inputs: bool) -> list[dict[str, Any]]:
    try:
        return await _held_by(client, workflow_id, None, inputs)
    except WorkflowQueryFailedError:  # it has not begun yet
        return []
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return []
        raise


async def _pages(handle: WorkflowHandle[Any, Any], name: str | None, inputs: bool) -> AsyncIterator[dict[str, Any]]:
    """What one workflow holds itself, of its fan-outs or of the one of this name."""
    given: dict[str, Any] = {"limit": _PAGE, "inputs": inputs} | ({} if name is None else {"name": name})
    todo = [given]
    while todo:
        given = todo.pop()
        for key, page in (await ask.query(handle, HELD, _QUERY_SECONDS, **given)).items():
            for item in page["items"]:
                yield {"name": key, "workflow_id": handle.id} | item
            if page["more"] and page["items"]:
                todo.append(given | {"name": key, "after": page["items"][-1]["index"]})


async def release(
    client: Client, workflow_id: str, items: Sequence[int] | None, *, name: str | None, skip: bool, **given: Any
) -> list[int]:
    """Runs held items again, with `input` where it is given, or skips them; all that are held, if `items` is none.

    Returns their indexes. Raises `InvalidInput` where an item is not held.
    """
    held = await held_items(client, workflow_id, name, inputs=False)
    if items is not None:
        missing = set(items) - {item["index"] for item in held}
        if missing:
            raise InvalidInput(f"{workflow_id}: item {min(missing)} is not held; see: fanout held {workflow_id}")
        held = [item for item in held if item["index"] in items]
    done: list[int] = []
    for owner in dict.fromkeys(item["workflow_id"] for item in held):
        own = [item["index"] for item in held if item["workflow_id"] == owner]
        done += await update(client, owner, SKIP if skip else RETRY, items=own, name=name, **given)
    return sorted(done)


async def is_running(client: Client, workflow_id: str) -> bool:
    """Whether it has not ended. Raises `InvalidInput` for a run that is not there."""
    try:
        described = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        raise _missing(workflow_id, error) or error from None
    return described.status is WorkflowExecutionStatus.RUNNING


async def _silent(client: Client, workflow_id: str, reason: str) -> InvalidInput:
    """Why it does not answer: for a workflow task that fails, or else for this reason."""
    lines = Told().news(await failing(client, [workflow_id]), workflow_id)
    return InvalidInput(f"{workflow_id}: {lines[0] if lines else reason}")


def _missing(workflow_id: str, error: RPCError) -> InvalidInput | None:
    if error.status is not RPCStatusCode.NOT_FOUND:
        return None
    if "already completed" in error.message:
        return InvalidInput(f"{workflow_id}: has ended; what became of its items: fanout results {workflow_id}")
    return InvalidInput(f"{workflow_id}: there is no such run; see: temporal workflow list")
