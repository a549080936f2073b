"""A way to a server that can be lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Relay:
    """A port of this machine that leads to a server until so many bytes have come from there; then it leads nowhere."""

    server: str
    most: float
    port: int = 0
    came: int = 0
    """Bytes from the server."""
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self.server.split(":")
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        ways = (self._there(reader, server_writer), self._back(server_reader, writer), self.lost.wait())
        tasks = [asyncio.ensure_future(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for each in (server_writer, writer):
            each.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**12):
            self.came += len(data)
            if self.came > self.most:
                self.lost.set()
                return
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def relay(server: str, most: float = float("inf")) -> AsyncIterator[Relay]:
    """A relay to this address; what is lost stays lost."""
    made = Relay(server, most)
    listening = await asyncio.start_server(made.connect, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]

    async def closing() -> None:
        await made.lost.wait()
        listening.close()

    closed = asyncio.create_task(closing())
    try:
        yield made
    finally:
        made.lost.set()
        await closed
