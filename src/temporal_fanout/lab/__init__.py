"""What the lab's workflows and its activities share, outside of the modules that the sandbox runs anew for each run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.inputs import PARENTS
from temporal_fanout.lab.behaviour import Behaviour
from temporal_fanout.options import FanOutOptions
from temporal_fanout.results import FanOutResult
from temporal_fanout.source import Source
from temporal_fanout.wire.payloads import in_order
from temporal_fanout.wire.starts import ACTIVITY

TASK_QUEUE = "parent-and-child-task-queue"
PARENT = "ParentWorkflow"
CHILD = "ChildWorkflow"


def inputs(args: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
    """A parent's two inputs: any JSON, and optionally an object of options. Raises `InvalidInput`."""
    if not args:
        raise InvalidInput('input: is missing; give a JSON array, as in --input "[1,2,3]"')
    if len(args) > 2:
        raise InvalidInput(f"input: must be a JSON array and an object of options, not {len(args)} inputs")
    options = args[1] if len(args) == 2 and args[1] is not None else {}
    if not isinstance(options, dict):
        raise InvalidInput(f"options: must be an object, not {options!r:.60}")
    return args[0], dict(options)


def parent_input(args: Sequence[Any]) -> tuple[str, list[Any] | Source, FanOutOptions]:
    """What `ParentWorkflow` was given: its items and how to run them. Raises `InvalidInput`.

    `args` is a JSON array, or an object that names a source, and optionally an object of options: those of
    `FanOutOptions`, and `child` or `activity`, the name of what runs each item (default: `ChildWorkflow`).
    """
    items, options = inputs(args)
    if isinstance(items, dict):
        items = Source.from_dict(items)
    elif not isinstance(items, list):
        raise InvalidInput(f'input: must be a JSON array or {{"source": ADDRESS}}, not {items!r:.60}')
    child, act = options.pop("child", None), options.pop("activity", None)
    if child is not None and act is not None:
        raise InvalidInput("options.activity: cannot stand beside options.child; give one of them")
    for key, value in (("child", child), ("activity", act)):
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise InvalidInput(f"options.{key}: must be a name, not {value!r:.60}")
    return ACTIVITY + act if act else child or CHILD, items, FanOutOptions.from_dict(options)


def list_input(args: Sequence[Any]) -> tuple[list[Any], FanOutOptions]:
    """The inputs of a parent that has children of its own choice: a JSON array, and options. Raises `InvalidInput`."""
    items, options = inputs(args)
    if not isinstance(items, list):
        raise InvalidInput(f"input: must be a JSON array, not {items!r:.60}")
    return items, FanOutOptions.from_dict(options)


def parent_output(result: FanOutResult) -> RawValue:
    """The result of a fan-out as JSON, its keys in the documented order."""
    return in_order(result.to_dict())


def child_input(args: Sequence[Any]) -> tuple[int, Behaviour]:
    """What `ChildWorkflow` was given: a whole number, and optionally how to behave. Raises `InvalidInput`."""
    if not 1 <= len(args) <= 2:
        raise InvalidInput(
            f"input: must be a whole number, and an object of options if need be, not {len(args)} inputs"
        )
    value = args[0]
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"value must be a whole number, not {value!r:.60}")
    return value, Behaviour.from_json(args[1] if len(args) == 2 else None)


def one_input(args: Sequence[Any], what: str) -> dict[str, Any]:
    """What a child was given that takes one object: a record, as `what` says. Raises `InvalidInput`."""
    if len(args) != 1 or not isinstance(args[0], dict):
        given = f"{args[0]!r:.60}" if len(args) == 1 else f"{len(args)} inputs"
        raise InvalidInput(f"input: must be {what}, not {given}")
    return args[0]


@activity.defn
async def double(value: Any, options: Any = None) -> int:
    """`ChildWorkflow` as an activity: several times as fast, without a history of its own."""
    value, behaviour = child_input([value, options])
    attempt = activity.info().attempt
    await asyncio.sleep(behaviour.seconds(value, attempt))
    return behaviour.doubled(value, attempt)


@activity.defn
async def flaky(value: int, failures: int) -> dict[str, int]:
    """Doubles, after so many failed attempts; says which attempt it was."""
    attempt = activity.info().attempt
    if attempt <= failures:
        raise ApplicationError(f"Simulated failure of attempt {attempt} for value {value}")
    return {"result": value * 2, "attempts": attempt}


PARENTS[PARENT] = parent_input
