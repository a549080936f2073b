"""Ports of this machine."""

from __future__ import annotations

import socket


def free_port(wanted: int = 0) -> int:
    """The wanted port if it is free on loopback, else one that is. Another process may take it meanwhile."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
        return int(probe.getsockname()[1])
