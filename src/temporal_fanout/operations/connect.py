"""How to reach the Temporal server: by the standard TEMPORAL_* settings, with patience where asked."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from temporal_fanout.checks import InvalidInput

DEFAULT_ADDRESS = "127.0.0.1:7233"
_ATTEMPT_SECONDS = 10.0
"""Of one attempt to connect: at an address where nothing is any more, the kernel would try for two minutes."""

_REASONS = {
    r"(connection refused|dns error|timed out)": r"\1",
    r"InvalidCertificate\((\w+)": r"the server's certificate is not what TEMPORAL_TLS_SERVER_* say: \1",
    r"received fatal alert: (\w+)": r"the server does not take the client's certificate: \1",
    r"InconsistentKeys|PrivateKeyParseError": "the client's certificate and its key do not fit",
    r"connection closed|broken pipe": "the server closes the connection; it may want TLS, or another certificate",
}


class NoServer(Exception):
    """No server answers; the message says where, why, and what to do."""


def settings() -> dict[str, Any]:
    """What `Client.connect` is given: from TEMPORAL_ADDRESS, _NAMESPACE, _API_KEY, _TLS…, or a profile's file.

    See temporalio.envconfig. Raises `InvalidInput` for settings that cannot be read.
    """
    try:
        config: dict[str, Any] = dict(ClientConfig.load_client_connect_config())
    except FileNotFoundError as error:
        raise InvalidInput(f"TEMPORAL_TLS_*: there is no file {error.filename or error}") from None
    except Exception as error:  # envconfig raises RuntimeErrors and others of its core
        raise InvalidInput(f"TEMPORAL_*: {error}") from None
    config["target_host"] = config.get("target_host") or DEFAULT_ADDRESS
    config["namespace"] = config.get("namespace") or "default"
    return config


def runtime(metrics: PrometheusConfig | None = None) -> Runtime:
    """The SDK's runtime, whose core logs go where Python's go: to stderr, not to stdout."""
    logs = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(
            logger=logging.getLogger("temporal.core"),
            append_log_fields_to_message=False,
            prepend_target_on_message=False,
        ),
    )
    return Runtime(telemetry=TelemetryConfig(logging=logs, metrics=metrics))


async def connect(
    patience: float | None,
    waiting: Callable[[str], None] = lambda _: None,
    core: Runtime | None = None,
    **overrides: Any,
) -> Client:
    """A connected client. Tries for `patience` seconds, none is for ever, and calls `waiting` after each failure.

    Raises `NoServer` after that, and `InvalidInput` for settings that cannot be read.
    """
    config = settings() | overrides
    core = core or runtime()
    loop = asyncio.get_running_loop()
    until = None if patience is None else loop.time() + patience
    pause = 0.2
    while True:
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                return await Client.connect(**config, runtime=core)
        except (RuntimeError, TimeoutError) as error:
            reason = _reason(error)
            if until is not None and loop.time() + pause > until:
                raise NoServer(
                    f"no Temporal server answers at {config['target_host']} ({reason}): "
                    "set TEMPORAL_ADDRESS, or start one with: fanout demo --keep"
                ) from None
            waiting(f"waiting for the Temporal server at {config['target_host']} ({reason})")
        await asyncio.sleep(pause)
        pause = min(pause * 2, 10.0)


def _reason(error: BaseException) -> str:
    """In a few words: the SDK's core says it in a line of Rust."""
    if isinstance(error, TimeoutError):
        return f"no answer within {_ATTEMPT_SECONDS:.0f} s"
    text = str(error).removeprefix("Failed client connect: ")
    for sign, reason in _REASONS.items():
        if found := re.search(sign, text, re.IGNORECASE):
            return found.expand(reason)
    return text if len(text) <= 200 else text[:199] + "…"
