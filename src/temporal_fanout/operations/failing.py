"""Workflow tasks that keep failing: the server tries them again for ever, so the run neither goes on nor ends.

A run with such a task answers no query. The server's description of it says how often the task was tried, and its
history says why the first attempt failed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryReverseRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_fanout.wire.protocol import RETRY_WORKFLOW, SHARD_WORKFLOW

_LAST_EVENTS = 50
"""Of a history, in which the failure is looked for: while a task fails, little else is written."""
_WORKFLOWS = 100
"""That are looked at in one go, at most."""
_AT_ONCE = 20
_MESSAGE = 240
_NAMED = 3

_PASSING = {
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_STICKY_TASK_QUEUE,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FAILOVER_CLOSE_COMMAND,
}
"""Of tasks that are to be done anew, and are no failure of a worker or of the workflow."""
_TIMED_OUT = "TimedOut"
_FORGIVEN = {_TIMED_OUT: 2, "": 2}
"""Attempts that are no news, by cause; one of any other. A worker that dies lets one attempt time out."""


@dataclass(frozen=True)
class Failing:
    """A workflow task that keeps failing."""

    workflow_id: str
    workflow_type: str
    task_queue: str
    attempt: int
    """Of the task, now."""
    cause: str
    """As the server names it: `BadSearchAttributes`; empty where its history does not say."""
    message: str
    """One line, cut."""

    @property
    def why(self) -> str:
        return ": ".join(part for part in (self.cause, self.message) if part) or "its worker's log says why"

    @property
    def advice(self) -> str:
        """What to do about it."""
        if found := re.search(r"has no mapping defined for search attribute (\w+)", self.message):
            return f"register it: temporal operator search-attribute create --name {found[1]} --type Keyword"
        if re.search(r"not registered|unable to find workflow type", self.message, re.IGNORECASE):
            if self.workflow_type in (SHARD_WORKFLOW, RETRY_WORKFLOW):
                else_where = ", or terminate the retry and let fanout retry run it, without --task-queue or --detach"
                return (
                    f"give the worker of {self.task_queue} the FanOutPlugin"
                    f"{else_where if self.workflow_type == RETRY_WORKFLOW else ''}"
                )
            return f"register it with the worker of {self.task_queue}, or start the run on another task queue"
        return "the run goes on once that is mended"


async def failing(client: Client, workflow_ids: Sequence[str]) -> list[Failing]:
    """What keeps failing of these open workflows and of their open shards, down to the last.

    Nothing is raised where the server does not answer.
    """
    found: list[Failing] = []
    todo, seen = list(workflow_ids), 0
    while todo and seen < _WORKFLOWS:
        now, todo = todo[:_AT_ONCE], todo[_AT_ONCE:]
        seen += len(now)
        for one, shards in await asyncio.gather(*(_look(client, id) for id in now)):
            found += [] if one is None else [one]
            todo += shards
    return found


async def _look(client: Client, workflow_id: str) -> tuple[Failing | None, list[str]]:
    """The task of one workflow that keeps failing, if there is one, and the ids of its open shards."""
    execution = WorkflowExecution(workflow_id=workflow_id)
    request = DescribeWorkflowExecutionRequest(namespace=client.namespace, execution=execution)
    try:
        described = await client.workflow_service.describe_workflow_execution(request)
        return await _failing(client, described), _open_shards(described)
    except RPCError:  # it has ended meanwhile, or the server is away: whoever waits for the run says so
        return None, []


def _open_shards(described: DescribeWorkflowExecutionResponse) -> list[str]:
    children = described.pending_children
    return [child.workflow_id for child in children if child.workflow_type_name == SHARD_WORKFLOW and child.run_id]


async def _failing(client: Client, described: DescribeWorkflowExecutionResponse) -> Failing | None:
    attempt = described.pending_workflow_task.attempt
    if attempt <= 1:
        return None
    info = described.workflow_execution_info
    answer = await client.workflow_service.get_workflow_execution_history_reverse(
        GetWorkflowExecutionHistoryReverseRequest(
            namespace=client.namespace, execution=info.execution, maximum_page_size=_LAST_EVENTS
        )
    )
    reason = _reason(answer.history.events)
    if reason is None or attempt <= _FORGIVEN.get(reason[0], 1):
        return None
    queue = described.execution_config.task_queue.name
    return Failing(info.execution.workflow_id, info.type.name, queue, attempt, *reason)


def _reason(newest_first: Iterable[HistoryEvent]) -> tuple[str, str] | None:
    """The cause and the message of the task that failed last; none where it is to be done anew for no failure."""
    for event in newest_first:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            failed = event.workflow_task_failed_event_attributes
            if failed.cause in _PASSING:
                return None
            name = WorkflowTaskFailedCause.Name(failed.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_")
            cause = name.replace("_", " ").title().replace(" ", "")
            return cause, _one_line(failed.failure.message.removeprefix(f"{cause}: "))
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            timeout = event.workflow_task_timed_out_event_attributes.timeout_type
            if timeout == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE:
                return _TIMED_OUT, "a worker takes it and does not complete it in time"
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            break
    return "", ""


def _one_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _MESSAGE else line[: _MESSAGE - 1] + "…"


class Told:
    """What was said of failing tasks: each cause once, and again when it has been tried twice as often."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}

    def news(self, found: Sequence[Failing], run: str) -> list[str]:
        """A line for each cause of which there is news; `run` is the id of the run, whose shards are named."""
        by_cause: dict[str, list[Failing]] = {}
        for one in found:
            by_cause.setdefault(one.why, []).append(one)
        lines = []
        for why, those in by_cause.items():
            attempt = max(one.attempt for one in those)
            if attempt >= self._at.get(why, 0):
                self._at[why] = 2 * attempt
                lines.append(said(those, run))
        return lines


def said(those: Sequence[Failing], run: str) -> str:
    """Of tasks with one cause, in one line: whose, which attempt, why, and what to do."""
    ids = sorted((one.workflow_id for one in those if one.workflow_id != run), key=lambda id: (len(id), id))
    attempt = max(one.attempt for one in those)
    named = ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")
    whose = "" if not ids else f" of shard{'s' if len(ids) > 1 else ''} {named}"
    return f"workflow task{whose} failing (attempt {attempt}): {those[0].why}; {those[0].advice}"
