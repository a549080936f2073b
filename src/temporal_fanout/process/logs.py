"""Logs: one JSON object a line where a program reads, readable colours where a person does; always on stderr."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import Any

import structlog
from temporalio import activity, workflow


class Level(StrEnum):
    """What is logged, and what is worse."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def configure(level: Level = Level.INFO, json: bool | None = None) -> None:
    """Sends Python's, the SDK's and its core's logs through one pipe. `json`: none is, unless stderr is a terminal."""
    if json is None:
        json = not sys.stderr.isatty()
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        _flat,
    ]
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    handler.addFilter(_said_once)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False


def _said_once(record: logging.LogRecord) -> bool:
    """Leaves out what another line says: the SDK tells of a failed workflow task in Python and in its core, and of
    each failed attempt of an activity with a trace, where an item that did not complete has a line with its cause."""
    message = record.getMessage()
    if record.name.startswith("temporal.core"):
        return not message.startswith("Failing workflow task")
    if message.startswith("Completing activity as failed"):
        return logging.getLogger().isEnabledFor(logging.DEBUG)
    return True


def _flat(_logger: Any, _name: str, event: dict[str, Any]) -> dict[str, Any]:
    """Lifts what the SDK says of the workflow, the activity or its core to the top."""
    for key in ("temporal_workflow", "temporal_activity"):
        event.update(event.pop(key, None) or {})
    core = event.pop("temporal_log", None)
    if core is not None:
        event.update({k: v for k, v in core.fields.items() if k not in event})
    return event
