"""HTTP on loopback, with JSON both ways: a server in a thread, and a call."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """What a server was asked."""

    method: str
    path: str
    key: str
    """Of the header Idempotency-Key."""
    body: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a server says, and with which status."""

    status: int
    body: dict[str, Any]


class HangUp(Exception):
    """Raised by a server's code to close the connection without an answer."""


Handler = Callable[[Request], Answer]


class Server(ThreadingHTTPServer):
    """A server on a free port of loopback; each request has a thread."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handle: Handler) -> None:
        super().__init__(("127.0.0.1", 0), _requests_of(handle))
        self.address = f"127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that its other end closed is nothing to print a traceback for."""


@contextlib.contextmanager
def serve(handle: Handler) -> Iterator[str]:
    """The address, as 127.0.0.1:PORT, of a server that answers so."""
    server = Server(handle)
    try:
        yield server.address
    finally:
        server.stop()


def call(method: str, address: str, path: str, body: dict[str, Any] | None = None, key: str = "") -> Answer:
    """Asks a server. Raises `OSError` or `HTTPException` where it does not answer."""
    connection = http.client.HTTPConnection(address, timeout=8)
    try:
        connection.request(method, path, json.dumps(body or {}), {"Idempotency-Key": key})
        response = connection.getresponse()
        return Answer(response.status, json.loads(response.read()))
    finally:
        connection.close()


def _requests_of(handle: Handler) -> type[BaseHTTPRequestHandler]:
    class Requests(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged: the example's own tables have them."""

        def _answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or b"{}")
            try:
                answer = handle(Request(self.command, self.path, self.headers.get("Idempotency-Key", ""), body))
            except HangUp:
                return
            said = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    return Requests
