"""The command line as a real process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import until

FANOUT = str(Path(sys.executable).with_name("fanout"))


@dataclass
class Ended:
    code: int
    out: str
    err: str


async def start(*args: str, address: str = "127.0.0.1:1", **env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        FANOUT, *args, env=os.environ | {"TEMPORAL_ADDRESS": address, "FANOUT_METRICS_PORT": "0"} | env,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def run(*command: str, cwd: Path, seconds: float = 500) -> Ended:
    """Any program, to its end."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    return await end(process, seconds)


async def end(process: asyncio.subprocess.Process, seconds: float = 60) -> Ended:
    out, err = await asyncio.wait_for(process.communicate(), seconds)
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def fanout(*args: str, address: str = "127.0.0.1:1", seconds: float = 60, **env: str) -> Ended:
    return await end(await start(*args, address=address, **env), seconds)


def a_queue() -> str:
    return f"q-{uuid.uuid4().hex[:12]}"


@dataclass
class Serving:
    """A `fanout worker` or `fanout exporter` with its port, and what it has logged so far."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text; (0, reason) when nothing answers."""

        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(self.url(path), timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()
            except OSError as error:
                return 0, str(error)

        return await asyncio.to_thread(ask)

    async def samples(self, prefix: str) -> dict[str, float]:
        """The samples of /metrics whose names begin so, by name and labels as they are written."""
        _, text = await self.get("/metrics")
        found = (line.rpartition(" ") for line in text.splitlines() if line.startswith(prefix))
        return {name: float(value) for name, _, value in found}

    async def is_ready(self) -> bool:
        return (await self.get("/readyz"))[0] == 200


@contextlib.asynccontextmanager
async def serving(command: str, *args: str, address: str, code: int = 0, **env: str) -> AsyncIterator[Serving]:
    """The command on a free port; at the end it drains, and its exit code is `code` unless it was killed."""
    process = await start(command, *args, address=address, **env)
    served = Serving(process)

    async def read() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            said = json.loads(line)
            served.lines.append(said)
            served.port = served.port or said.get("port", 0)

    reading = asyncio.create_task(read())

    async def has_port() -> bool:
        return bool(served.port) or process.returncode is not None

    try:
        await until(has_port, "the port of the command")
        yield served
    finally:
        killed = process.returncode is not None
        if not killed:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 60)
        await asyncio.wait_for(reading, 10)
    assert killed or process.returncode == code, served.lines[-3:]
