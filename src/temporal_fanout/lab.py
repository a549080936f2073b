"""What the lab's workflows and its activity share, outside of the modules that the sandbox runs anew for each run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from temporal_fanout.models import FanOutOptions, FanOutResult, InvalidInput, Source
from temporal_fanout.work import ACTIVITY

TASK_QUEUE = "parent-and-child-task-queue"
PARENT = "ParentWorkflow"
CHILD = "ChildWorkflow"


def parent_input(args: Sequence[Any]) -> tuple[str, list[Any] | Source, FanOutOptions]:
    """What `ParentWorkflow` was given: its items and how to run them. Raises `InvalidInput`.

    `args` is a JSON array, or an object that names a source, and optionally an object of options: those of
    `FanOutOptions`, and `child` or `activity`, the name of what runs each item (default: `ChildWorkflow`).
    """
    if not args:
        raise InvalidInput('input: is missing; give a JSON array, as in --input "[1,2,3]"')
    if len(args) > 2:
        raise InvalidInput(f"input: must be a JSON array and an object of options, not {len(args)} inputs")
    items = args[0]
    if isinstance(items, dict):
        items = Source.from_dict(items)
    elif not isinstance(items, list):
        raise InvalidInput(f'input: must be a JSON array or {{"source": ADDRESS}}, not {items!r:.60}')
    options = args[1] if len(args) == 2 and args[1] is not None else {}
    if not isinstance(options, dict):
        raise InvalidInput(f"options: must be an object, not {options!r:.60}")
    options = dict(options)
    child, act = options.pop("child", None), options.pop("activity", None)
    if child is not None and act is not None:
        raise InvalidInput("options.activity: cannot stand beside options.child; give one of them")
    for key, value in (("child", child), ("activity", act)):
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise InvalidInput(f"options.{key}: must be a name, not {value!r:.60}")
    return ACTIVITY + act if act else child or CHILD, items, FanOutOptions.from_dict(options)


def parent_output(result: FanOutResult) -> RawValue:
    """The result as JSON with its keys in the documented order: the SDK's own converter would sort them."""
    data = json.dumps(result.to_dict(), separators=(",", ":")).encode()
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=data))


def doubled(value: Any) -> int:
    """Twice the value; even values fail, as the lab has it."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"value must be a whole number, not {value!r:.60}")
    if value % 2 == 0:
        raise ApplicationError(f"Simulated failure for value {value}")
    return value * 2


@activity.defn
async def double(value: Any) -> int:
    """`ChildWorkflow` as an activity: several times as fast, without a history of its own."""
    return doubled(value)
