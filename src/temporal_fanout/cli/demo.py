"""`fanout demo`"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from temporal_fanout import lab, logs
from temporal_fanout.cli.output import Format, note
from temporal_fanout.cli.run import Output, read_input, run_and_report
from temporal_fanout.client import connect
from temporal_fanout.devserver import dev_server
from temporal_fanout.worker import make_worker, on_signals


def demo(
    scenario: Annotated[str, typer.Argument(help="One of: fanout scenarios.")] = "default",
    keep: Annotated[bool, typer.Option(help="Leave server and worker up until Ctrl-C.")] = False,
    output: Output = Format.TABLE,
) -> int:
    """Try it on this machine: a Temporal dev server, a worker and a run of a SCENARIO, in one."""
    inputs = read_input(scenario, None, None, None, {})
    logs.configure("ERROR")
    return asyncio.run(_demo(inputs, keep, output))


async def _demo(inputs: list[object], keep: bool, output: Format) -> int:
    async with dev_server(ui=True) as server:
        note(f"Temporal dev server at {server.address}, Web UI: {server.ui}")
        client = await connect(60, target_host=server.address, namespace="default", tls=False, api_key=None)
        async with make_worker(client, source_roots=[str(Path.cwd())], graceful_seconds=1):
            stop = on_signals()
            running = asyncio.create_task(run_and_report(client, inputs, None, lab.PARENT, lab.TASK_QUEUE, output))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                running.cancel()
                raise KeyboardInterrupt
            code = running.result()
            if keep:
                note(f"Up until Ctrl-C. In another terminal: TEMPORAL_ADDRESS={server.address} fanout run stress")
                await stop.wait()
        return code
