"""What the examples have in common: a command line, a server, a worker, one run, and the end of all of them.

A program of your own needs a `Worker` with the `FanOutPlugin` and `Client.start_workflow`; the rest is for the demo.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.worker import Worker

from temporal_fanout import FanOutPlugin, InvalidInput
from temporal_fanout.metrics import SCENARIO_MEMO
from temporal_fanout.operations.connect import NoServer, connect
from temporal_fanout.plugin import Expected
from temporal_fanout.process import logs
from temporal_fanout.process.devserver import dev_server
from temporal_fanout.process.exit import ExitCode, end, on_signals, unless
from temporal_fanout.process.logs import Level

Inputs = TypeVar("Inputs")
Input = TypeVar("Input")
Result = TypeVar("Result")

_THREADS = 20
"""Activities at a time: each is a blocking function, in a thread of its own."""
_UNDO_SECONDS = 30.0
"""How long an interrupted run may take to undo what is open."""


@dataclass(frozen=True)
class Scenario(Generic[Inputs]):
    """A named input of an example, and what is to be expected of it."""

    name: str
    shows: str
    expected: str
    inputs: Inputs
    """A dataclass of numbers; each is an option of the command line."""


@dataclass(frozen=True)
class Asked(Generic[Inputs]):
    """What the command line asks for."""

    scenario: str
    inputs: Inputs
    directory: Path
    """Where the example keeps its files."""
    keep: bool


@dataclass(frozen=True)
class Parts:
    """What a worker is made of."""

    workflows: Sequence[type]
    activities: Sequence[Callable[..., Any]]
    expected: Sequence[Expected] = ()
    source_roots: Sequence[str] = ()


def main(
    about: str, scenarios: Sequence[Scenario[Inputs]], example: Callable[[Asked[Inputs]], Coroutine[Any, Any, int]]
) -> NoReturn:
    """The whole process: reads the command line, runs the example, and ends with its exit code."""
    logs.configure(Level.ERROR)  # an attempt of an activity that fails is a warning, and tried again
    try:
        code = asyncio.run(_until_told_to_end(example(_read(about, scenarios))))
    except InvalidInput as error:
        code = _complain(error.message, ExitCode.WRONG_INPUT)
    except NoServer as error:
        code = _complain(str(error), ExitCode.NO_SERVER)
    except WorkflowFailureError as error:
        code = _complain(f"the run failed: {error.cause}", ExitCode.RUN_FAILED)
    except Exception:
        traceback.print_exc()
        code = ExitCode.UNEXPECTED
    end(code)


@contextlib.asynccontextmanager
async def running(
    asked: Asked[Any], name: str, parts: Parts, workflow: Callable[[Any, Input], Awaitable[Result]], given: Input
) -> AsyncIterator[Result]:
    """The result of one run of the workflow, on a worker of its own; with --keep both stay up after the block.

    The server is that of TEMPORAL_ADDRESS, else a dev server that lives as long as the worker. An interrupted run is
    cancelled, so that it undoes what is open.
    """
    id = f"{name}-{uuid.uuid4().hex[:8]}"
    async with _server() as (client, ui), working(client, id, parts):
        memo = {SCENARIO_MEMO: asked.scenario}
        handle = await client.start_workflow(workflow, given, id=id, task_queue=id, memo=memo)
        note(f"started {id}" + (f": {ui}/namespaces/{client.namespace}/workflows/{id}" if ui else ""))
        try:
            result = await handle.result()
        except asyncio.CancelledError:
            note("interrupted: undoing what is open")
            await _cancel(handle)
            raise
        yield result
        if asked.keep:
            note("Up until Ctrl-C.")
            await on_signals().wait()


@contextlib.asynccontextmanager
async def working(client: Client, task_queue: str, parts: Parts) -> AsyncIterator[Worker]:
    """A worker of these parts, with the plugin."""
    with ThreadPoolExecutor(_THREADS) as threads:
        async with Worker(
            client,
            task_queue=task_queue,
            workflows=parts.workflows,
            activities=parts.activities,
            activity_executor=threads,
            max_concurrent_activities=_THREADS,
            plugins=[FanOutPlugin(parts.source_roots, parts.expected)],
            graceful_shutdown_timeout=timedelta(seconds=5),
        ) as worker:
            yield worker


@contextlib.asynccontextmanager
async def _server() -> AsyncIterator[tuple[Client, str | None]]:
    """A client, and the address of the Web UI where it is known."""
    if os.environ.get("TEMPORAL_ADDRESS"):
        client = await connect(10, note)
        note(f"Temporal at {client.service_client.config.target_host}, namespace {client.namespace}")
        yield client, None
        return
    async with dev_server(ui=True) as server:
        note(f"Temporal dev server at {server.address}, Web UI: {server.ui}")
        own: dict[str, Any] = {"target_host": server.address, "namespace": "default", "tls": False, "api_key": None}
        yield await connect(60, **own), server.ui


async def _cancel(handle: WorkflowHandle[Any, Any]) -> None:
    await handle.cancel()
    try:
        async with asyncio.timeout(_UNDO_SECONDS):
            await handle.result()
    except WorkflowFailureError:
        pass
    except TimeoutError:
        note(f"not undone within {_UNDO_SECONDS:.0f} s: terminated")
        await handle.terminate("interrupted")


async def _until_told_to_end(example: Coroutine[Any, Any, int]) -> int:
    code = await unless(on_signals(), example)
    return ExitCode.INTERRUPTED if code is None else code


def _read(about: str, scenarios: Sequence[Scenario[Inputs]]) -> Asked[Inputs]:
    lines = "\n".join(f"  {one.name:10} {one.shows}; {one.expected}" for one in scenarios)
    parser = argparse.ArgumentParser(
        prog=f"python -m {_module()}",
        description=about,
        epilog=f"scenarios:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="?", default=scenarios[0].name, choices=[one.name for one in scenarios])
    for field in fields(scenarios[0].inputs):  # type: ignore[arg-type]
        value = getattr(scenarios[0].inputs, field.name)
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            type=type(value),
            metavar="N",
            help=f"{field.metadata['help']} [default: the scenario's, as {value}]",
        )
    parser.add_argument("--directory", type=Path, help="where its files go [default: a new temporary one]")
    parser.add_argument("--keep", action="store_true", help="leave server and worker up until Ctrl-C")
    given = vars(parser.parse_args())
    name, directory, keep = given.pop("scenario"), given.pop("directory"), given.pop("keep")
    inputs = next(one.inputs for one in scenarios if one.name == name)
    inputs = replace(inputs, **{key: value for key, value in given.items() if value is not None})  # type: ignore[type-var]
    directory = directory or Path(tempfile.mkdtemp(prefix="fanout-example-"))
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise InvalidInput(f"--directory: {directory} has files in it; name a new one")
    return Asked(name, inputs, directory, keep)


def _module() -> str:
    """The name by which Python was told to run this program."""
    spec = sys.modules["__main__"].__spec__
    return spec.parent if spec and spec.parent else "examples"


def note(message: str) -> None:
    """One line on stderr: what a run says besides its result."""
    print(message, file=sys.stderr, flush=True)


def _complain(message: str, code: ExitCode) -> int:
    note("error: " + " ".join(message.split()))
    return code
