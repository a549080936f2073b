"""What a workflow that fans out answers and hears: its progress, what an operator asks of it, and the lanes that pass
between a run and its shards.

One `Control` a workflow, however many fan-outs it makes. The names below are the protocol between a run, its shards
and the client; each update and signal takes one JSON object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from temporal_fanout.checks import COUNT, InvalidInput, whole
from temporal_fanout.engine.budget import TaskBudget
from temporal_fanout.engine.lease import Lease
from temporal_fanout.wire.payloads import encode, from_json, to_json
from temporal_fanout.wire.protocol import (
    ABORT,
    HELD,
    LANES,
    PAUSE,
    PROGRESS,
    REPORT,
    RESIZE,
    RESUME,
    RETRY,
    SKIP,
    STOP,
    LanesMessage,
    ReportMessage,
    ShardSpec,
    StopMessage,
)  # fmt: skip
from temporal_fanout.wire.tuning import Tuning

NOTHING = RawValue(Payload())
"""What a handler is given that is given nothing."""
_HELD_AT_ONCE = 200
_ATTRIBUTE = "_temporal_fanout_control"

_Update: TypeAlias = Callable[[list[Any], dict[str, Any]], Awaitable[Any]]


class Steered(Protocol):
    """What an operator may ask of a fan-out."""

    def progress(self) -> dict[str, Any]: ...
    def held(self, after: int, limit: int, inputs: bool) -> dict[str, Any]: ...
    async def pause(self) -> None: ...
    async def resume(self) -> None: ...
    async def resize(self, max_concurrency: int) -> None: ...
    def abort(self, cancel: bool) -> None: ...
    def stop(self, cancel: bool) -> None: ...
    def release(self, items: Sequence[int] | None, skip: bool, input: Payload | None) -> list[int]: ...


class FanOut(Protocol):
    """What this module needs of an open fan-out, or of a shard of one."""

    @property
    def spec(self) -> ShardSpec: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def is_shard(self) -> bool: ...
    @property
    def steering(self) -> Steered: ...
    @property
    def lease(self) -> Lease: ...
    def look_again(self) -> None: ...
    def hear_report(self, report: ReportMessage) -> None: ...


class Control:
    """The fan-outs of one workflow, and what a workflow task has room for."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._fan_outs: dict[str, FanOut] = {}
        self._ended: dict[str, dict[str, Any]] = {}
        self._task = TaskBudget()
        self._updates = 0
        workflow.set_query_handler(PROGRESS, self._answer_progress)
        workflow.set_query_handler(HELD, self._answer_held)
        workflow.set_signal_handler(LANES, self._hear_lanes)
        workflow.set_signal_handler(STOP, self._hear_stop)
        workflow.set_signal_handler(REPORT, self._hear_report)
        workflow.set_signal_handler(ABORT, self._hear_abort)
        for name, (update, keys) in self._updates_by_name().items():
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

    def end(self, name: str) -> None:
        """A fan-out has ended: of it only its counts are kept."""
        self._ended[name] = self._fan_outs.pop(name).steering.progress()

    def takes(self, size: int, tuning: Tuning) -> bool:
        """Whether the workflow task that is running has room for one more start of `size` bytes; books it if so."""
        return self._task.takes(workflow.info().get_current_history_length(), size, tuning)

    def is_new_task(self) -> bool:
        """Whether the workflow task that is running has booked no start yet."""
        return self._task.is_new(workflow.info().get_current_history_length())

    # -- what it answers

    def _progress(self) -> dict[str, Any]:
        return self._ended | {name: fan_out.steering.progress() for name, fan_out in self._fan_outs.items()}

    def _order(self) -> list[str]:
        """Names of fan-outs, those that have ended first."""
        return [*self._ended, *self._fan_outs]

    def _answer_progress(self) -> RawValue:
        return RawValue(to_json(self._progress()))

    def _answer_held(self, given: RawValue = NOTHING) -> RawValue:
        asked = _object(HELD, given, ("name", "after", "limit", "inputs"))
        after, limit = asked.get("after", -1), asked.get("limit", _HELD_AT_ONCE)
        whole("after", after, least=-1)
        whole("limit", limit, least=1)
        inputs = _flag("inputs", asked.get("inputs", True))
        answer = {
            name: fan_out.steering.held(after, limit, inputs)
            for name, fan_out in self._fan_outs.items()
            if asked.get("name") in (None, name)
        }
        return RawValue(to_json(answer))

    # -- what an operator asks

    def _updates_by_name(self) -> dict[str, tuple[_Update, Sequence[str]]]:
        return {
            PAUSE: (self._pause, ()),
            RESUME: (self._resume, ()),
            RESIZE: (self._resize, ("max_concurrency",)),
            ABORT: (self._abort, ("cancel",)),
            RETRY: (self._retry, ("items", "input")),
            SKIP: (self._skip, ("items",)),
        }

    def _handle(self, name: str, update: _Update, keys: Sequence[str]) -> None:
        async def handle(given: RawValue = NOTHING) -> RawValue:
            self._updates += 1
            try:
                asked = _object(name, given, ("name", *keys))
                return RawValue(to_json(await update(self._named(asked), asked)))
            finally:
                self._updates -= 1

        def validate(given: RawValue = NOTHING) -> None:
            asked = _object(name, given, ("name", *keys))
            _check(asked, keys)
            chosen = self._named(asked)
            if any(one.is_shard for one in chosen) and name not in (RETRY, SKIP):
                parent = workflow.info().parent
                raise InvalidInput(f"id: is a shard's; ask its run, {parent.workflow_id if parent else 'its parent'}")

        workflow.set_update_handler(name, handle, validator=validate)

    def _named(self, asked: dict[str, Any]) -> list[FanOut]:
        """The open fan-outs that are meant. Raises `InvalidInput` where there is none."""
        name = asked.get("name")
        if name is not None and name not in self._order():
            known = ", ".join(repr(one) for one in self._order())
            raise InvalidInput(f"name: {name!r:.60} is not a fan-out of this workflow, which has {known}")
        if not self._order():
            raise InvalidInput("name: no fan-out has begun yet; try again")
        chosen = [one for key, one in self._fan_outs.items() if name in (None, key) and one.is_open]
        if not chosen:
            raise InvalidInput("name: this fan-out has ended")
        return chosen

    async def _pause(self, chosen: list[FanOut], _: dict[str, Any]) -> dict[str, Any]:
        await asyncio.gather(*(one.steering.pause() for one in chosen))
        return self._progress()

    async def _resume(self, chosen: list[FanOut], _: dict[str, Any]) -> dict[str, Any]:
        await asyncio.gather(*(one.steering.resume() for one in chosen))
        return self._progress()

    async def _resize(self, chosen: list[FanOut], asked: dict[str, Any]) -> dict[str, Any]:
        await asyncio.gather(*(one.steering.resize(asked["max_concurrency"]) for one in chosen))
        return self._progress()

    async def _abort(self, chosen: list[FanOut], asked: dict[str, Any]) -> dict[str, Any]:
        for one in chosen:
            one.steering.abort(asked.get("cancel", False))
        return self._progress()

    async def _retry(self, chosen: list[FanOut], asked: dict[str, Any]) -> list[int]:
        input = encode(asked["input"], "input") if "input" in asked else None
        return [index for one in chosen for index in one.steering.release(asked.get("items"), False, input)]

    async def _skip(self, chosen: list[FanOut], asked: dict[str, Any]) -> list[int]:
        return [index for one in chosen for index in one.steering.release(asked.get("items"), True, None)]

    # -- signals: those that pass between a run and its shards, and an abort whose update the server refuses

    def _hear_lanes(self, message: RawValue) -> None:
        lanes = LanesMessage.from_payload(message.payload)
        for fan_out in self._shard(lanes.shard):
            fan_out.lease.hear(lanes)
            fan_out.look_again()

    def _hear_stop(self, message: RawValue) -> None:
        stop = StopMessage.from_payload(message.payload)
        for fan_out in self._shard(stop.shard):
            fan_out.steering.stop(stop.cancel)

    def _shard(self, id: str) -> list[FanOut]:
        return [one for one in self._fan_outs.values() if one.is_shard and one.spec.id == id]

    def _hear_report(self, message: RawValue) -> None:
        report = ReportMessage.from_payload(message.payload)
        for fan_out in self._fan_outs.values():
            fan_out.hear_report(report)

    async def _hear_abort(self, given: RawValue = NOTHING) -> None:
        try:
            asked = _object(ABORT, given, ("name", "cancel"))
            _check(asked, ("cancel",))
            chosen = [one for one in self._named(asked) if not one.is_shard]
        except InvalidInput as error:  # a signal has no answer
            workflow.logger.warning("abort refused", extra={"error": error.message})
            return
        await self._abort(chosen, asked)


def _check(given: dict[str, Any], keys: Sequence[str]) -> None:
    if "max_concurrency" in keys:
        whole("max_concurrency", given.get("max_concurrency"), least=1, most=COUNT)
    _flag("cancel", given.get("cancel", False))
    items = given.get("items")
    if items is not None:
        if not isinstance(items, list):
            raise InvalidInput(f"items: must be an array of indexes, not {items!r:.60}")
        for at, index in enumerate(items):
            whole(f"items[{at}]", index, least=0)


def _object(path: str, given: RawValue, keys: Sequence[str]) -> dict[str, Any]:
    """The JSON object that an operator gave. Raises `InvalidInput`."""
    if given is NOTHING:
        return {}
    try:
        value = from_json(given.payload)
    except ValueError as error:
        raise InvalidInput(f"{path}: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}: takes an object, not {value!r:.60}")
    for key in value:
        if key not in keys:
            raise InvalidInput(f"{path}.{key}: is not known; known are {', '.join(keys)}")
    return value


def _flag(path: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(f"{path}: must be true or false, not {value!r:.60}")
    return value
