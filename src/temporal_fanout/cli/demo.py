"""`fanout demo`"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import typer

from temporal_fanout import lab
from temporal_fanout.cli.output import Format, note
from temporal_fanout.cli.run import Output, parent_of, read_input, run_and_report
from temporal_fanout.lab.worker import make_worker
from temporal_fanout.operations.connect import connect
from temporal_fanout.process import health, logs
from temporal_fanout.process.devserver import dev_server
from temporal_fanout.process.endpoint import metered
from temporal_fanout.process.exit import ExitCode, on_signals, unless
from temporal_fanout.process.logs import Level


def demo(
    scenario: Annotated[str, typer.Argument(help="One of: fanout scenarios.")] = "default",
    keep: Annotated[bool, typer.Option(help="Leave server and worker up until Ctrl-C.")] = False,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve the worker's /metrics there. [default: not]")
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Try it on this machine: a Temporal dev server, a worker and a run of a SCENARIO, in one."""
    inputs = read_input(scenario, None, None, None, {})
    logs.configure(Level.ERROR)
    return asyncio.run(_demo(scenario, inputs, keep, metrics_port, output))


async def _demo(scenario: str, inputs: list[object], keep: bool, metrics_port: int | None, output: Format) -> int:
    async with contextlib.AsyncExitStack() as stack:
        core = None
        if metrics_port is not None:
            endpoint, core = metered()
            port = await stack.enter_async_context(health.serve(metrics_port, endpoint.text, lambda: (True, "demo")))
            note(f"Metrics: http://localhost:{port}/metrics")
        server = await stack.enter_async_context(dev_server(ui=True))
        note(f"Temporal dev server at {server.address}, Web UI: {server.ui}")
        client = await connect(60, core=core, target_host=server.address, namespace="default", tls=False, api_key=None)
        async with make_worker(client, source_roots=[str(Path.cwd())], graceful_seconds=1):
            stop = on_signals()
            command = f"TEMPORAL_ADDRESS={server.address} fanout"
            parent = parent_of(scenario)
            run = run_and_report(client, inputs, None, parent, lab.TASK_QUEUE, output, scenario, command)
            code = await unless(stop, run)
            if code is None:
                return ExitCode.INTERRUPTED
            if keep:
                note(f"Up until Ctrl-C. In another terminal: {command} run stress")
                await stop.wait()
        return code
