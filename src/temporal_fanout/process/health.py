"""The one port of a process: /metrics, /livez and /readyz.

Served by threads of their own, so that a stuck event loop is answered for, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TypeAlias

from temporal_fanout.checks import InvalidInput

DEFAULT_PORT = 9090
STUCK_SECONDS = 20.0
"""An event loop that has not turned for so long is not alive; a probe is to try more than once."""

Check: TypeAlias = Callable[[], tuple[bool, str]]
"""Says whether all is well, and why; called from any thread."""

_BEAT_SECONDS = 1.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@contextlib.asynccontextmanager
async def serve(port: int, metrics: Callable[[], bytes], ready: Check) -> AsyncIterator[int]:
    """Serves on every address of this machine, on any free port if 0; gives the port.

    `metrics` gives the text of /metrics; it and `ready` are called from other threads. Raises `InvalidInput` when the
    port is taken.
    """
    pulse = _Pulse()
    server = _server(port, metrics, {"/livez": pulse.alive, "/readyz": ready})
    beating = asyncio.create_task(pulse.beat())
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="metrics and health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        beating.cancel()
        await asyncio.to_thread(server.shutdown)
        server.server_close()


class _Pulse:
    """Whether the event loop turns."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    async def beat(self) -> None:
        while True:
            self._last = time.monotonic()
            await asyncio.sleep(_BEAT_SECONDS)

    def alive(self) -> tuple[bool, str]:
        silent = time.monotonic() - self._last
        return (True, "alive") if silent < STUCK_SECONDS else (False, f"the event loop is stuck for {silent:.0f} s")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 16

    def __init__(self, port: int, metrics: Callable[[], bytes], checks: Mapping[str, Check]) -> None:
        self.metrics = metrics
        self.checks = checks
        super().__init__(("", port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)  # HTTPServer's asks DNS for a name that nothing here needs


class _Server6(_Server):
    address_family = socket.AF_INET6


def _server(port: int, metrics: Callable[[], bytes], checks: Mapping[str, Check]) -> _Server:
    """On IPv6 and IPv4, or on IPv4 alone where the machine has no IPv6."""
    try:
        if socket.has_dualstack_ipv6():
            with contextlib.suppress(OSError):
                return _Server6(port, metrics, checks)
        return _Server(port, metrics, checks)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"--metrics-port: {port} cannot be used ({reason}); give another, or 0 for any") from None


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # of a client that says nothing
    server_version = "fanout"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(HTTPStatus.OK, _METRICS_TYPE, self.server.metrics())
        elif path in self.server.checks:
            good, reason = self.server.checks[path]()
            body = json.dumps({"status": "ok" if good else "unavailable", "reason": reason}) + "\n"
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, "application/json", body.encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"there are /metrics, /livez and /readyz\n")

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: HTTPStatus, type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):  # it has gone
                self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Probes come every few seconds: nothing is logged of them."""
