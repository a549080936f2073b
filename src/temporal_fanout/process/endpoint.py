"""What a worker's /metrics says: the SDK's metrics, what is counted through its meter, and the process's own."""

from __future__ import annotations

import contextlib
import re
import urllib.request

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from temporalio.runtime import Runtime

from temporal_fanout.metrics import prometheus
from temporal_fanout.operations.connect import runtime
from temporal_fanout.process.ports import free_port


class Endpoint:
    """The SDK's exporter on a loopback port of its own, and what our endpoint says: its metrics and the process's."""

    def __init__(self) -> None:
        self._port = free_port()
        self.config = prometheus(f"127.0.0.1:{self._port}")
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def core(self) -> bytes:
        """The SDK's metrics and what is counted through its meter, as text; empty when they cannot be had."""
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self._port}/metrics"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bytes(answer.read())
        return b""

    def polls(self) -> bool:
        """Whether the SDK has a poller open for workflow tasks, as its own metric says."""
        sample = rb'^temporal_num_pollers\{[^}]*poller_type="workflow_task"[^}]*\} [1-9]'
        return bool(re.search(sample, self.core(), re.M))

    def text(self) -> bytes:
        """Everything, in Prometheus' text format 0.0.4."""
        return generate_latest(self._process) + self.core()


def metered() -> tuple[Endpoint, Runtime]:
    """A runtime whose metrics have a port; another process may take it between our look at it and the SDK's."""
    for _ in range(5):
        endpoint = Endpoint()
        with contextlib.suppress(ValueError):
            return endpoint, runtime(endpoint.config)
    raise RuntimeError("no loopback port for the SDK's metrics stays free")
