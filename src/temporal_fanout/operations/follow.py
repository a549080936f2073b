"""A run from its start to its end: started once however often it is asked for, and followed through outages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from temporal_fanout.checks import InvalidInput
from temporal_fanout.operations.connect import NoServer
from temporal_fanout.operations.failing import Told, failing
from temporal_fanout.operations.progress import Progress, progress, silent_in
from temporal_fanout.operations.steady import Steady

INPUT_BYTES = 2 * 1024 * 1024
"""Of a workflow's input, at most, as the server has it."""
OUTAGE_SECONDS = 300.0
"""How long a run is followed while its server does not answer."""

_FIRST_LOOK_SECONDS, _LOOK_SECONDS = 0.2, 1.0
"""When a run's progress is asked for: each look is a query of every open shard, which its worker answers."""
_OWN_RETRY_SECONDS = 30.0
"""A call that lasted longer had reached the server: the client's own retries take about 10 s."""

_REUSE = {
    False: WorkflowIDReusePolicy.REJECT_DUPLICATE,
    True: WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
}

_LOST = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED, RPCStatusCode.UNKNOWN)


@dataclass
class Watcher:
    """Who is told how a run goes."""

    progress: Callable[[Mapping[str, Progress]], None]
    """Given the progress of each fan-out, by name."""
    note: Callable[[str], None]


async def start_or_attach(
    client: Client,
    workflow: str,
    id: str,
    task_queue: str,
    args: Sequence[Any],
    memo: Mapping[str, Any] | None = None,
    again: bool = False,
) -> tuple[WorkflowHandle[Any, Any], bool]:
    """The run of this id, started unless it is there, open or closed; and whether it was started now.

    With `again`, one that has closed without completing is no obstacle. Raises `InvalidInput` where the server cannot
    take the input.
    """
    started = False
    try:
        handle = await client.start_workflow(
            workflow,
            args=args,
            id=id,
            task_queue=task_queue,
            memo=memo,
            id_reuse_policy=_REUSE[again],
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        )
        started = True
    except WorkflowAlreadyStartedError:
        handle = client.get_workflow_handle(id)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT or "larger than" in error.message:
            raise InvalidInput(f"the server does not take this input: {error.message}") from None
        raise
    return handle, started


async def follow(client: Client, handle: WorkflowHandle[Any, Any], task_queue: str, watcher: Watcher) -> Any:
    """Waits for the end of a run, telling how it goes, and which of its workflow tasks fail; returns its result.

    Raises `WorkflowFailureError` when the run did, `NoServer` when the server was away for too long, and `InvalidInput`
    for a result that is encrypted and that the client cannot read.
    """
    result = asyncio.create_task(_result(handle, watcher))
    silent, pause, told, steady = 0, _FIRST_LOOK_SECONDS, Told(), Steady()
    try:
        while not result.done():
            await asyncio.wait([result], timeout=pause)
            pause = _LOOK_SECONDS
            if result.done():
                break
            try:
                answers = await progress(client, handle.id, handle.result_run_id, steady)
            except InvalidInput as error:  # its answers cannot be read: only its end will be seen
                watcher.note(error.message)
                return await result
            if answers:
                watcher.progress(answers)
            silent_ids = silent_in(handle.id, answers)
            found = await failing(client, silent_ids)
            for line in told.news(found, handle.id):
                watcher.note(line)
            silent = silent + 1 if handle.id in silent_ids and not found else 0
            if silent % 10 == 3 and not await _polled(client, task_queue):
                watcher.note(f"no worker polls the task queue {task_queue}: start one with: fanout worker")
        return await result
    finally:
        result.cancel()


async def _result(handle: WorkflowHandle[Any, Any], watcher: Watcher) -> Any:
    loop = asyncio.get_running_loop()
    lost: float | None = None
    while True:
        asked = loop.time()
        try:
            return await handle.result()
        except KeyError as error:  # the SDK knows no converter for it
            raise InvalidInput(
                f"{handle.id}: has completed, but its result is encrypted: connect with the run's data converter"
            ) from error
        except RPCError as error:
            if error.status not in _LOST:
                raise
            if lost is None or loop.time() - asked > _OWN_RETRY_SECONDS:
                lost = loop.time()
            if loop.time() - lost > OUTAGE_SECONDS:
                raise NoServer(
                    f"the Temporal server has not answered for {OUTAGE_SECONDS:.0f} s; the run goes on when it is "
                    f"back: follow it with the same command and --id {handle.id}"
                ) from None
            watcher.note("the Temporal server does not answer, waiting for it")
        await asyncio.sleep(2)


async def _polled(client: Client, task_queue: str) -> bool:
    """Whether a worker polls this queue; when in doubt, yes."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    with contextlib.suppress(RPCError):
        return bool((await client.workflow_service.describe_task_queue(request)).pollers)
    return True
