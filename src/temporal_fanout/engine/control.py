"""What a workflow that fans out answers and hears: its progress, what an operator asks of it, and the lanes that pass
between a run and its shards.

One `Control` a workflow, however many fan-outs it makes. The names below are the protocol between a run, its shards
and the client; each update and signal takes one JSON object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from temporalio import workflow

from temporal_fanout.checks import InvalidInput, whole
from temporal_fanout.wire.protocol import ABORT, HELD, LANES, PAUSE, PROGRESS, REPORT, RESIZE, RESUME, RETRY, SKIP, STOP

TASK_BYTES = 1024 * 1024
"""Bytes of the commands of one workflow task, at most; the server terminates a workflow that sends over 4 MiB."""
TASK_STARTS = 200
"""Starts in one workflow task, at most: well under the SDK's two seconds for a task's code."""

_ATTRIBUTE = "_temporal_fanout_control"


class FanOut(Protocol):
    """What this module needs of a fan-out."""

    @property
    def is_open(self) -> bool: ...
    @property
    def is_shard(self) -> bool: ...
    def progress(self) -> dict[str, Any]: ...
    def held(self) -> list[dict[str, Any]]: ...
    async def pause(self, paused: bool) -> None: ...
    async def resize(self, max_concurrency: int) -> None: ...
    def abort(self, cancel: bool) -> None: ...
    def release(self, items: Sequence[int] | None, skip: bool, given: dict[str, Any]) -> list[int]: ...
    def set_lanes(self, message: dict[str, Any]) -> None: ...
    def set_stop(self, message: dict[str, Any]) -> None: ...
    def set_report(self, message: dict[str, Any]) -> None: ...


class Control:
    """The fan-outs of one workflow, and what a workflow task has room for."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._fan_outs: dict[str, FanOut] = {}
        self._task = -1
        self._bytes = 0
        self._starts = 0
        self._updates = 0
        workflow.set_query_handler(PROGRESS, self.progress)
        workflow.set_query_handler(HELD, self._held)
        workflow.set_signal_handler(LANES, lambda message: self._hear(message, lambda one: one.set_lanes))
        workflow.set_signal_handler(STOP, lambda message: self._hear(message, lambda one: one.set_stop))
        workflow.set_signal_handler(REPORT, lambda message: self._hear(message, lambda one: one.set_report))
        for name, update, keys in (
            (PAUSE, self._pause, ()),
            (RESUME, self._resume, ()),
            (RESIZE, self._resize, ("max_concurrency",)),
            (ABORT, self._abort, ("cancel",)),
            (RETRY, self._retry, ("items", "input")),
            (SKIP, self._skip, ("items",)),
        ):
            self._handle(name, update, keys)

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

    @property
    def is_idle(self) -> bool:
        """Whether every update that was accepted has been answered."""
        return self._updates == 0

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

    # -- what it answers

    def progress(self) -> dict[str, Any]:
        return {name: fan_out.progress() for name, fan_out in self._fan_outs.items()}

    def _held(self) -> dict[str, Any]:
        return {name: fan_out.held() for name, fan_out in self._fan_outs.items()}

    # -- what an operator asks

    def _handle(self, name: str, update: Callable[..., Any], keys: Sequence[str]) -> None:
        async def handle(given: Any = None) -> Any:
            self._updates += 1
            try:
                return await update(self._named(given), given or {})
            finally:
                self._updates -= 1

        def validate(given: Any = None) -> None:
            if given is not None and not isinstance(given, dict):
                raise InvalidInput(f"{name}: takes an object, not {given!r:.60}")
            for key in given or {}:
                if key not in ("name", *keys):
                    raise InvalidInput(f"{name}.{key}: is not known; known are {', '.join(('name', *keys))}")
            _check(given or {}, keys)
            chosen = self._named(given)
            if any(one.is_shard for one in chosen) and name not in (RETRY, SKIP):
                parent = workflow.info().parent
                raise InvalidInput(f"id: is a shard's; ask its run, {parent.workflow_id if parent else 'its parent'}")

        workflow.set_update_handler(name, handle, validator=validate)

    def _named(self, given: dict[str, Any] | None) -> list[FanOut]:
        """The open fan-outs that are meant. Raises `InvalidInput` where there is none."""
        name = (given or {}).get("name")
        if name is not None and name not in self._fan_outs:
            known = ", ".join(repr(one) for one in self._fan_outs)
            raise InvalidInput(f"name: {name!r:.60} is not a fan-out of this workflow, which has {known}")
        if not self._fan_outs:
            raise InvalidInput("name: no fan-out has begun yet; try again")
        chosen = [one for key, one in self._fan_outs.items() if name in (None, key) and one.is_open]
        if not chosen:
            raise InvalidInput("name: this fan-out has ended")
        return chosen

    async def _pause(self, chosen: list[FanOut], _: dict[str, Any]) -> dict[str, Any]:
        await asyncio.gather(*(one.pause(True) for one in chosen))
        return self.progress()

    async def _resume(self, chosen: list[FanOut], _: dict[str, Any]) -> dict[str, Any]:
        await asyncio.gather(*(one.pause(False) for one in chosen))
        return self.progress()

    async def _resize(self, chosen: list[FanOut], given: dict[str, Any]) -> dict[str, Any]:
        await asyncio.gather(*(one.resize(given["max_concurrency"]) for one in chosen))
        return self.progress()

    async def _abort(self, chosen: list[FanOut], given: dict[str, Any]) -> dict[str, Any]:
        for one in chosen:
            one.abort(given.get("cancel", False))
        return self.progress()

    async def _retry(self, chosen: list[FanOut], given: dict[str, Any]) -> list[int]:
        value = {"input": given["input"]} if "input" in given else {}
        return [index for one in chosen for index in one.release(given.get("items"), False, value)]

    async def _skip(self, chosen: list[FanOut], given: dict[str, Any]) -> list[int]:
        return [index for one in chosen for index in one.release(given.get("items"), True, {})]

    # -- what passes between a run and its shards

    def _hear(self, message: dict[str, Any], how: Callable[[FanOut], Callable[[dict[str, Any]], None]]) -> None:
        for fan_out in self._fan_outs.values():
            how(fan_out)(message)


def _check(given: dict[str, Any], keys: Sequence[str]) -> None:
    if "max_concurrency" in keys:
        whole("max_concurrency", given.get("max_concurrency"), least=1)
    if not isinstance(given.get("cancel", False), bool):
        raise InvalidInput(f"cancel: must be true or false, not {given['cancel']!r:.60}")
    items = given.get("items")
    if items is not None:
        if not isinstance(items, list):
            raise InvalidInput(f"items: must be an array of indexes, not {items!r:.60}")
        for at, index in enumerate(items):
            whole(f"items[{at}]", index, least=0)
