"""A workflow task that keeps failing is said by every command that waits for a run or looks at one."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import (
    HistoryEvent,
    WorkflowTaskFailedEventAttributes,
    WorkflowTaskTimedOutEventAttributes,
)
from temporalio.client import Client, WorkflowHandle

from temporal_fanout.operations.failing import Failing, Told, _reason, failing
from temporal_fanout.process.devserver import DevServer
from tests.conftest import Bench, until, working
from tests.processes import fanout, serving, start

UNKNOWN = {"search_attributes": {"Team": "blue"}}
WHY = (
    "BadSearchAttributes: Namespace default has no mapping defined for search attribute Team; "
    "register it: temporal operator search-attribute create --name Team --type Keyword"
)


@contextlib.asynccontextmanager
async def stuck(bench: Bench, workflow: str, *args: Any, least: int = 1) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """A run of which so many workflow tasks keep failing."""
    handle = await bench.start(workflow, *args, seconds=300)

    async def fail() -> bool:
        return len(await failing(bench.client, [handle.id])) >= least

    await until(fail, "the failing tasks", 60)
    yield handle
    await handle.terminate()


async def line_of(process: asyncio.subprocess.Process, what: str) -> str:
    """The first line on stderr that has this in it."""
    assert process.stderr
    async with asyncio.timeout(120):
        while what not in (line := (await process.stderr.readline()).decode()):
            assert line, f"the command has ended without: {what}"
    return line.rstrip("\n")


async def ended(process: asyncio.subprocess.Process) -> list[str]:
    """The rest of its lines on stderr."""
    _, err = await asyncio.wait_for(process.communicate(), 60)
    return err.decode().splitlines()


async def test_what_the_server_refuses_is_said_while_a_run_is_followed(bench: Bench, server: DevServer) -> None:
    """An attribute that is not registered: one line says so and how to register it, and none blames the worker."""
    async with stuck(bench, "ParentWorkflow", [1, 3], UNKNOWN) as handle:
        args = ["--values", "[1]", "--id", handle.id, "--task-queue", bench.task_queue]
        process = await start("run", *args, address=server.address)
        line = await line_of(process, "failing")
        assert re.fullmatch(r"workflow task failing \(attempt \d+\): " + re.escape(WHY), line)
        again = await line_of(process, "failing")
        attempts = [int(re.findall(r"attempt (\d+)", one)[0]) for one in (line, again)]
        assert attempts[1] >= 2 * attempts[0], "said again before it was tried twice as often"
    assert not [line for line in await ended(process) if "no worker" in line]
    assert process.returncode == 1


async def test_a_shard_that_fails_is_named(bench: Bench, server: DevServer) -> None:
    """Shards whose tasks fail for one cause are one line, which names them, in `run` and in `progress`."""
    async with stuck(bench, "ParentWorkflow", [1, 3, 5, 7], UNKNOWN | {"shard_size": 1}, least=4) as handle:
        shards = ", ".join(f"{handle.id}.s{n}" for n in range(3))
        pattern = rf"workflow task of shards {shards} and 1 more failing \(attempt \d+\): {re.escape(WHY)}"
        args = ["--values", "[1]", "--id", handle.id, "--task-queue", bench.task_queue]
        process = await start("run", *args, address=server.address)
        assert re.fullmatch(pattern, await line_of(process, "failing"))
        said = await fanout("progress", handle.id, address=server.address)
        assert said.code == 0
        assert re.search(pattern, said.err)
        assert "0 of 4 items" in said.out
        assert "4 shards do not answer" in said.out
    await ended(process)


@pytest.mark.timeout(180)
async def test_each_command_says_the_failure_of_a_run(bench: Bench, server: DevServer) -> None:
    """`progress`, `held`, `skip` and `pause` of a run whose task fails end with 2 and the cause, in one line."""
    async with stuck(bench, "Anything", "ChildWorkflow", [1, 3], UNKNOWN) as handle:
        for command in (
            ["progress", handle.id],
            ["held", handle.id],
            ["skip", handle.id, "--all"],
            ["pause", handle.id],
        ):
            said = await fanout(*command, address=server.address, seconds=100)
            assert (said.code, said.out) == (2, ""), said.err
            [line] = said.err.splitlines()
            assert line.endswith(WHY), line
            assert "workflow task failing (attempt" in line


async def test_a_bug_in_a_workflow_is_said(bench: Bench, server: DevServer) -> None:
    """A workflow that fans nothing out and fails its task: what it raises is said."""
    async with stuck(bench, "Stuck", None) as handle:
        said = await fanout("progress", handle.id, address=server.address)
        assert said.code == 2
        assert "): WorkflowWorkerUnhandledFailure: a bug; the run goes on once that is mended" in said.err


async def test_a_worker_without_the_plugin_is_said(client: Client, server: DevServer) -> None:
    """A retry on the queue of a worker that lacks the plugin says so, and that the plugin is missing; once it has it,
    the retry runs."""
    async with working(client, plugin=False) as foreign, working(client) as origin:
        handle = await origin.start("ParentWorkflow", [1, 2], {})
        await handle.result()
        process = await start("retry", handle.id, "--task-queue", foreign.task_queue, address=server.address)
        line = await line_of(process, "failing")
        assert "Workflow class FanOutRetry is not registered on this worker" in line
        assert f"; give the worker of {foreign.task_queue} the FanOutPlugin, or terminate the retry and let" in line
    async with (
        serving("worker", "--task-queue", foreign.task_queue, address=server.address),
        serving("worker", "--task-queue", origin.task_queue, address=server.address),
    ):
        await ended(process)
    assert process.returncode == 0


async def test_a_workflow_that_no_worker_knows_is_said(bench: Bench, server: DevServer) -> None:
    """A type that the queue's worker does not have is a failing task, not a queue without a worker."""
    args = ["--workflow", "Nobody", "--values", "[1]", "--task-queue", bench.task_queue]
    process = await start("run", *args, "--id", f"nobody-{bench.task_queue}", address=server.address)
    line = await line_of(process, "failing")
    assert "Workflow class Nobody is not registered" in line
    assert line.endswith(f"register it with the worker of {bench.task_queue}, or start the run on another task queue")
    await bench.client.get_workflow_handle(f"nobody-{bench.task_queue}").terminate()
    await ended(process)


def failed(cause: WorkflowTaskFailedCause.ValueType, message: str) -> HistoryEvent:
    return HistoryEvent(
        event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
        workflow_task_failed_event_attributes=WorkflowTaskFailedEventAttributes(
            cause=cause, failure=Failure(message=message)
        ),
    )


def timed_out(kind: TimeoutType.ValueType) -> HistoryEvent:
    return HistoryEvent(
        event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
        workflow_task_timed_out_event_attributes=WorkflowTaskTimedOutEventAttributes(timeout_type=kind),
    )


CAUSE = WorkflowTaskFailedCause
SIGNALED = HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
COMPLETED = HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
TABLE: list[tuple[list[HistoryEvent], tuple[str, str] | None]] = [
    ([failed(CAUSE.WORKFLOW_TASK_FAILED_CAUSE_PAYLOADS_TOO_LARGE, "")], ("PayloadsTooLarge", "")),
    (
        [SIGNALED, failed(CAUSE.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR, "one\ntwo"), COMPLETED],
        ("NonDeterministicError", "one"),
    ),
    ([failed(CAUSE.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND, "UnhandledCommand")], None),
    ([failed(CAUSE.WORKFLOW_TASK_FAILED_CAUSE_UNSPECIFIED, "x" * 500)], ("Unspecified", "x" * 239 + "…")),
    (
        [timed_out(TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE)],
        ("TimedOut", "a worker takes it and does not complete it in time"),
    ),
    ([timed_out(TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START), COMPLETED], ("", "")),
    ([], ("", "")),
]


@pytest.mark.parametrize(("events", "reason"), TABLE)
def test_the_cause_is_read_from_the_end_of_the_history(
    events: list[HistoryEvent], reason: tuple[str, str] | None
) -> None:
    """The newest failed task says why, in one line; tasks that are only done anew are no failure."""
    assert _reason(events) == reason


def test_a_cause_is_said_once_and_again_when_tried_twice_as_often() -> None:
    """Not at each look; another cause at once; more shards of the same cause are no news."""
    told = Told()

    def news(attempt: int, *ids: str, cause: str = "A") -> list[str]:
        return told.news([Failing(id, "T", "q", attempt, cause, "") for id in ids], "run")

    assert news(2, "run") == ["workflow task failing (attempt 2): A; the run goes on once that is mended"]
    assert [len(news(attempt, "run")) for attempt in (2, 3, 4, 5, 7, 8, 9)] == [0, 0, 1, 0, 0, 1, 0]
    assert news(3, "s1", cause="B") == [
        "workflow task of shard s1 failing (attempt 3): B; the run goes on once that is mended"
    ]
    assert news(3, "s1", "s2", cause="B") == []
    assert news(1) == []
