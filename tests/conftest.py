"""A real dev server for the whole session, and workers on task queues of their own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from temporal_fanout.lab.workflows.child import ChildWorkflow
from temporal_fanout.lab.workflows.parent import ParentWorkflow
from temporal_fanout.operations.connect import connect
from temporal_fanout.plugin import FanOutPlugin
from temporal_fanout.process.devserver import DevServer, dev_server
from tests import workflows as w

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background, and then in all that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)


class _Grouped(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps the tests of a module that has the mark `xdist_group` in one process, where they share their fixtures.

    `--dist=loadgroup` is for that, and does nothing with pytest 9.2: pytest-xdist issue 1386.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if _is_grouped(self.config.rootpath / module) else nodeid


@functools.cache
def _is_grouped(module: Path) -> bool:
    return "pytest.mark.xdist_group" in module.read_text()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    return _Grouped(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[DevServer]:
    """A dev server; at the end of the session none of its workflows may be running."""
    arguments = ["--search-attribute", "Customer=Keyword", "--search-attribute", "Tags=KeywordList"]
    # a deleted history goes when the server has next noted how far its queues are, by default every 30 s
    arguments += ["--dynamic-config-value", 'history.transferProcessorUpdateAckInterval="1s"']
    async with dev_server(arguments=arguments) as server:
        yield server
        client = await connect(10, target_host=server.address)

        async def none_running() -> bool:
            return (await client.count_workflows('ExecutionStatus="Running"')).count == 0

        await until(none_running, "the end of every workflow that the tests started", 10)


@pytest.fixture(scope="session")
async def client(server: DevServer) -> Client:
    return await connect(30, target_host=server.address)


class Bench:
    """A worker on a queue of its own, and what tests ask of it."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self.client = client
        self.task_queue = task_queue

    async def start(
        self, workflow: Any, *args: Any, id: str | None = None, seconds: float = 60
    ) -> WorkflowHandle[Any, Any]:
        return await self.client.start_workflow(
            workflow,
            args=args,
            id=id or f"t-{uuid.uuid4().hex[:12]}",
            task_queue=self.task_queue,
            execution_timeout=timedelta(seconds=seconds),
        )

    async def run(self, workflow: Any, *args: Any, id: str | None = None, seconds: float = 60) -> Any:
        return await (await self.start(workflow, *args, id=id, seconds=seconds)).result()

    async def parent(self, values: Any, **options: Any) -> dict[str, Any]:
        """The lab's parent over these values."""
        result: dict[str, Any] = await self.run("ParentWorkflow", values, options)
        return result

    async def error(self, workflow: Any, *args: Any) -> ApplicationError:
        """The application error with which this run fails."""
        with pytest.raises(WorkflowFailureError) as caught:
            await self.run(workflow, *args)
        assert isinstance(caught.value.cause, ApplicationError), repr(caught.value.cause)
        return caught.value.cause


@contextlib.asynccontextmanager
async def working(
    client: Client, source_roots: Sequence[str] = (), plugin: bool = True, **options: Any
) -> AsyncIterator[Bench]:
    task_queue = f"q-{uuid.uuid4().hex[:12]}"
    async with Worker(
        client,
        task_queue=task_queue,
        workflows=[ParentWorkflow, ChildWorkflow, *w.WORKFLOWS],
        activities=w.ACTIVITIES,
        plugins=[FanOutPlugin(source_roots)] if plugin else [],
        **options,
    ):
        yield Bench(client, task_queue)


@pytest.fixture
async def bench(client: Client) -> AsyncIterator[Bench]:
    async with working(client) as bench:
        yield bench


async def until(condition: Callable[[], Awaitable[Any]], what: str, seconds: float = 30) -> Any:
    """Waits until the condition gives something true, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := await condition():
            return value
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")
