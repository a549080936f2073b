"""What a workflow that fans out answers and hears: its progress, and the lanes that pass between a run and its shards.

One `Control` a workflow, however many fan-outs it makes. The names below are the protocol between a run, its shards
and the client; everything else about it is private to this module and `fan_out`.
"""

from __future__ import annotations

from typing import Any, Protocol

from temporalio import workflow

from temporal_fanout.models import InvalidInput

PROGRESS = "fanout_progress"
"""Query: the progress of each fan-out of the workflow, by name."""
LANES = "fanout_lanes"
"""Signal to a shard: how many lanes are its own from now on."""
STOP = "fanout_stop"
"""Signal to a shard: start nothing more."""
HELD = "fanout_held"
"""Signal from a shard: how many lanes it still needs, and how many of its items failed."""

TASK_BYTES = 1024 * 1024
"""Bytes of the commands of one workflow task, at most; the server terminates a workflow that sends over 4 MiB."""
TASK_STARTS = 200
"""Starts in one workflow task, at most: well under the SDK's two seconds for a task's code."""

_ATTRIBUTE = "_temporal_fanout_control"


class FanOut(Protocol):
    """What this module needs of a fan-out."""

    def progress(self) -> dict[str, Any]: ...
    def set_lanes(self, message: dict[str, Any]) -> None: ...
    def request_stop(self) -> None: ...
    def set_held(self, message: dict[str, Any]) -> None: ...


class Control:
    """The fan-outs of one workflow, and what a workflow task has room for."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._fan_outs: dict[str, FanOut] = {}
        self._task = -1
        self._bytes = 0
        self._starts = 0
        workflow.set_query_handler(PROGRESS, self.progress)
        workflow.set_signal_handler(LANES, self._lanes)
        workflow.set_signal_handler(STOP, self._stop)
        workflow.set_signal_handler(HELD, self._held)

    @classmethod
    def of_workflow(cls) -> Control:
        """The control of the workflow that is running."""
        instance = workflow.instance()
        control: Control | None = getattr(instance, _ATTRIBUTE, None)
        if control is None:
            control = cls()
            setattr(instance, _ATTRIBUTE, control)
        return control

    @staticmethod
    def is_there() -> bool:
        """Whether the workflow that is running has fanned out."""
        return hasattr(workflow.instance(), _ATTRIBUTE)

    def name_for(self, name: str | None) -> str:
        """Reserves the name of the next fan-out: the one given, or none for the first, then f2, f3, …"""
        if name is None:
            name = "" if not self._names else f"f{len(self._names) + 1}"
        elif name in self._names:
            raise InvalidInput(f"name: {name} is taken by another fan-out of this workflow; give each its own")
        self._names.add(name)
        return name

    def add(self, name: str, fan_out: FanOut) -> None:
        self._fan_outs[name] = fan_out

    def takes(self, size: int) -> bool:
        """Whether the workflow task that is running has room for one more start of `size` bytes; books it if so."""
        if self.is_new_task():
            self._task, self._bytes, self._starts = workflow.info().get_current_history_length(), 0, 0
        if self._starts and (self._bytes + size > TASK_BYTES or self._starts >= TASK_STARTS):
            return False
        self._bytes += size
        self._starts += 1
        return True

    def is_new_task(self) -> bool:
        """Whether the workflow task that is running has booked no start yet."""
        return workflow.info().get_current_history_length() != self._task

    def progress(self) -> dict[str, Any]:
        return {name: fan_out.progress() for name, fan_out in self._fan_outs.items()}

    def _lanes(self, message: dict[str, Any]) -> None:
        for fan_out in self._fan_outs.values():
            fan_out.set_lanes(message)

    def _stop(self) -> None:
        for fan_out in self._fan_outs.values():
            fan_out.request_stop()

    def _held(self, message: dict[str, Any]) -> None:
        for fan_out in self._fan_outs.values():
            fan_out.set_held(message)
