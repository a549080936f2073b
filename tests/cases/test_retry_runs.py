"""`fanout retry` of a parent whose workers know nothing of this package: the command runs the retry itself."""

from __future__ import annotations

import json
import signal
import uuid

from temporalio.client import Client, WorkflowExecutionStatus

from temporal_fanout import retry
from temporal_fanout.process.devserver import DevServer
from tests import parents as p
from tests.conftest import until
from tests.histories import read, until_counted, working_for_all
from tests.processes import Ended, end, fanout, serving, start


async def _retry_of(client: Client, id: str) -> str | None:
    found = [run async for run in client.list_workflows(f'WorkflowId STARTS_WITH "{id}.retry-"')]
    return next((run.id for run in found if run.workflow_type == "FanOutRetry"), None)


def _outcomes(ended: Ended) -> dict[str, int]:
    assert ended.code == 0, ended.err
    outcomes: dict[str, int] = json.loads(ended.out)["outcomes"]
    return outcomes


async def test_a_foreign_parent_is_retried_by_the_command(server: DevServer, client: Client) -> None:
    """No worker has the plugin: the retry runs through its shards to its end, its items where they ran before."""
    async with working_for_all(client, plugin=False) as foreign:
        handle = await foreign.start(p.Gather.run, ["fail"] * 7 + ["complete"], 30)
        await handle.result()
        args = ["--options", '{"shard_size": 3}', "--output", "json"]
        ended = await fanout("retry", handle.id, *args, address=server.address)
        assert _outcomes(ended) == {"failed": 7}
        id = json.loads(ended.out)["workflow_id"]
        assert f"{id} in this command: retrying 7 of the 8 items" in ended.err
        assert not [line for line in ended.err.splitlines() if line.startswith("{")], "it logs as a worker does"
        assert (await client.get_workflow_handle(id).describe()).task_queue == id
        assert {item.task_queue for item in await read(client, id)} == {foreign.task_queue}
        again = await fanout("retry", handle.id, *args, address=server.address)
        assert again.out == ended.out, "the same retry, which has ended, needs no worker"


async def test_a_retry_that_is_left_goes_on_with_the_same_command(server: DevServer, client: Client) -> None:
    """Ctrl-C ends the command with 130 and says how to go on; given again, it brings the retry to its end."""
    async with working_for_all(client, plugin=False) as foreign:
        handle = await foreign.start(p.Gather.run, ["sleep", "sleep", "complete"], 20)
        await until_counted(client, handle.id, completed=1, running=2)
        for n in (0, 1):
            await client.get_workflow_handle(f"{handle.id}-child-{n}").terminate()
        await handle.result()
        args = ["retry", handle.id, "--output", "json"]
        process = await start(*args, address=server.address)
        id = await until(lambda: _retry_of(client, handle.id), "the retry")
        await until_counted(client, id, running=2)
        process.send_signal(signal.SIGINT)
        left = await end(process)
        assert left.code == 130
        assert left.err.splitlines()[-1] == f"{id} waits; go on with: fanout retry {handle.id} --output json"
        process = await start(*args, address=server.address)
        await client.get_workflow_handle(f"{id}.0").terminate()
        await client.get_workflow_handle(f"{id}.1").terminate()
        ended = await end(process)
        assert _outcomes(ended) == {"terminated": 2}
        assert f"attached to {id}" in ended.err


async def test_a_detached_retry_is_left_to_a_worker(server: DevServer, client: Client) -> None:
    """With --detach the command returns once the retry is started, on the origin's queue, and says how to follow it."""
    async with working_for_all(client) as own:
        handle = await own.start("ParentWorkflow", [1, 2], {})
        await handle.result()
        ended = await fanout("retry", handle.id, "--detach", "--output", "json", address=server.address)
        assert ended.code == 0
        id = json.loads(ended.out)["workflow_id"]
        assert ended.err.splitlines()[-1] == f"started {id}; follow it with: fanout progress {id} --watch"
        assert (await client.get_workflow_handle(id).result())["outcomes"] == {"failed": 1}
        assert (await client.get_workflow_handle(id).describe()).task_queue == own.task_queue


async def test_a_retry_that_a_worker_runs_is_followed(server: DevServer, client: Client) -> None:
    """One that was started on another queue is not run twice: the command says where it is, and waits for it."""
    queue = f"deployed-{uuid.uuid4().hex[:8]}"
    async with working_for_all(client, plugin=False) as foreign:
        handle = await foreign.start(p.Gather.run, ["fail", "complete"], 30)
        await handle.result()
        there = await retry(client, handle.id, task_queue=queue)
        process = await start("retry", handle.id, "--output", "json", address=server.address)

        async def says() -> bool:
            assert process.stderr
            return f"was started before, on {queue}" in (await process.stderr.readline()).decode()

        await until(says, "where the retry is")
        assert (await there.describe()).status is WorkflowExecutionStatus.RUNNING
        async with serving("worker", "--task-queue", queue, address=server.address):
            ended = await end(process)
        assert _outcomes(ended) == {"failed": 1}
