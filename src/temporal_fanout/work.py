"""One item's work: how a child workflow or an activity is called, and what became of it.

The one module that knows the difference between the two. Payloads pass through it undecoded, so that a child of any
language or data converter works and nothing that a child returns can harm its parent.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import (
    Priority,
    RawValue,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
)
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    TerminatedError,
    TimeoutError,
    WorkflowAlreadyStartedError,
)

from temporal_fanout.models import FanOutOptions, InvalidInput, Outcome

ACTIVITY = "activity:"
"""Marks the name of an activity where the name of a child workflow could stand too."""

ITEM_BYTES = 1024 * 1024
"""Of one item, at most; the server refuses a payload over 2 MiB, and the workflow task that holds it, for ever."""

_ERROR_CHARACTERS = 2000

_OUTCOMES: dict[type, Outcome] = {
    TimeoutError: Outcome.TIMED_OUT,
    CancelledError: Outcome.CANCELLED,
    asyncio.CancelledError: Outcome.CANCELLED,
    TerminatedError: Outcome.TERMINATED,
}


@dataclass(frozen=True)
class Ended:
    """What became of an item: a raw result, or a root cause."""

    outcome: Outcome
    result: Payload | None = None
    error: str = ""
    type: str = ""


def name_of(work: Any) -> str:
    """The name under which a worker knows `work`; an activity's is marked with `activity:`.

    `work` is a workflow class, its run method, an activity function, or a name. Raises `InvalidInput`.
    """
    if isinstance(work, str):
        if not work.removeprefix(ACTIVITY).strip():
            raise InvalidInput("work: must be the name of a workflow, or activity:NAME, not an empty text")
        return work
    if inspect.isclass(work):
        definition: Any = workflow._Definition.from_class(work)
    else:
        definition = workflow._Definition.from_run_fn(work) if callable(work) else None
    if definition is None and callable(work):
        act = activity._Definition.from_callable(work)
        if act is not None and act.name:
            return ACTIVITY + act.name
    if definition is None or not definition.name:
        raise InvalidInput(
            "work: must be a workflow class with @workflow.defn, its run method, a function with @activity.defn, "
            f"or a name, not {work!r:.80}"
        )
    return str(definition.name)


class Caller:
    """Runs items of one fan-out, each to one `Ended`."""

    def __init__(self, work: str, options: FanOutOptions) -> None:
        self._options = options
        self._work = work
        self._name = work.removeprefix(ACTIVITY)
        self._is_activity = work.startswith(ACTIVITY)
        convert = workflow.payload_converter()
        self._args = [RawValue(convert.to_payload(arg)) for arg in options.args]
        self.overhead = 512 + sum(len(arg.payload.data) for arg in self._args)
        self._priority = Priority(priority_key=options.priority) if options.priority else Priority.default
        self._close_policy = workflow.ParentClosePolicy[options.parent_close_policy]
        self._search_attributes = search_attributes(options)
        self.starting = 0
        """Children that have been asked for and have not started: not to be cancelled now. The SDK would not wait for
        such a child. It would start all the same, not hear of it, and be terminated with its parent, in mid-work."""

    @contextmanager
    def starts_a_child(self) -> Iterator[None]:
        """Around the start of a child."""
        self.starting += 1
        try:
            yield
        finally:
            self.starting -= 1

    async def call(self, id: str, item: Payload) -> Ended:
        """Runs one item under this id, to its end; raises only what is not the item's fault."""
        args = [RawValue(item), *self._args]
        try:
            raw = await (self._activity(id, args) if self._is_activity else self._child(id, args))
        except FailureError as error:
            return root_cause(error, out_of_time(self._work, self._options.timeout.total_seconds()))
        return Ended(Outcome.COMPLETED, raw.payload)

    def shown(self, item: Payload) -> Any:
        """The item as JSON, for results."""
        return as_json(item)

    def given(self, item: Payload, value: Any) -> Payload:
        """The item with another input."""
        return workflow.payload_converter().to_payload(value)

    async def _child(self, id: str, args: list[RawValue]) -> RawValue:
        options = self._options
        with self.starts_a_child():
            handle = await workflow.start_child_workflow(
                self._name,
                args=args,
                id=id,
                task_queue=options.task_queue,
                result_type=RawValue,
                execution_timeout=options.timeout,
                retry_policy=options.retry if options.retry.maximum_attempts != 1 else None,
                parent_close_policy=self._close_policy,
                memo=options.memo or None,
                search_attributes=self._search_attributes,
                priority=self._priority,
            )
        result: RawValue = await handle
        return result

    async def _activity(self, id: str, args: list[RawValue]) -> RawValue:
        options = self._options
        result: RawValue = await workflow.execute_activity(
            self._name,
            args=args,
            activity_id=id,
            task_queue=options.task_queue,
            result_type=RawValue,
            schedule_to_close_timeout=options.timeout,
            heartbeat_timeout=options.heartbeat_timeout,
            retry_policy=options.retry,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            priority=self._priority,
        )
        return result


def out_of_time(work: str, seconds: float | None) -> str:
    """What to say of an item that timed out, and what to look at; no seconds: its limit is not known."""
    within = "in time" if seconds is None else f"within {seconds:g} s"
    if work.startswith(ACTIVITY):
        name = work.removeprefix(ACTIVITY)
        return f"did not complete {within}: is activity {name} registered, its task queue polled?"
    return f"did not complete {within}: is {work} registered, its task queue polled, and do its workflow tasks succeed?"


def root_cause(error: BaseException, timed_out: str) -> Ended:
    """What an error of a child or an activity says of it: its outcome, and the message and type of the root cause.

    `timed_out` is the message for one that ran out of time: the server gives none.
    """
    own: BaseException = error
    if isinstance(error, ChildWorkflowError | ActivityError) and error.cause is not None:
        own = error.cause
    cause = own
    while isinstance(cause, ChildWorkflowError | ActivityError) and cause.cause is not None:
        cause = cause.cause
    outcome = _OUTCOMES.get(type(own), Outcome.FAILED)
    kind = (cause.type if isinstance(cause, ApplicationError) else None) or type(cause).__name__
    message = cause.message if isinstance(cause, FailureError) else str(cause)
    if outcome is Outcome.TIMED_OUT:
        message = timed_out
    if isinstance(error, WorkflowAlreadyStartedError):
        message = f"a workflow with the id {error.workflow_id} is open and is not this run's child"
    return Ended(outcome, error=_cut(message or kind), type=kind)


def as_json(payload: Payload | None) -> Any:
    """A payload as JSON; what is not JSON is shown as its encoding and size."""
    if payload is None:
        return None
    encoding = payload.metadata.get("encoding", b"").decode(errors="replace")
    if encoding == "binary/null":
        return None
    if encoding.startswith("json/"):
        try:
            return json.loads(payload.data)
        except ValueError:
            pass
    return {"encoding": encoding, "size": len(payload.data)}


def as_json_values(values: Sequence[Any], path: str) -> list[Any]:
    """The values as JSON, as the workflow's data converter writes them. Raises `InvalidInput`, naming the place."""
    encoded_size(values, path)
    return [as_json(workflow.payload_converter().to_payload(value)) for value in values]


def encoded_size(items: Sequence[Any], path: str, start: int = 0) -> int:
    """Bytes of the items as JSON, together.

    Encodes whole lists, and parts of them only where one item could be too large: a list of a million numbers must
    not take the two seconds that a workflow task has. Raises `InvalidInput`, naming the item that cannot be sent.
    """
    try:
        payload = workflow.payload_converter().to_payload(list(items))
        size = len(payload.data)
        reason = f"takes {size / 1024**2:.1f} MiB, over {ITEM_BYTES // 1024**2}; give a reference to it instead"
    except Exception as error:  # whatever the data converter raises
        size, reason = -1, f"cannot be sent as JSON: {error}"
    if 0 <= size <= ITEM_BYTES + 2:
        return size
    if len(items) == 1:
        raise InvalidInput(f"{path}[{start}]: {reason}")
    half = len(items) // 2
    return encoded_size(items[:half], path, start) + encoded_size(items[half:], path, start + half)


def search_attributes(options: FanOutOptions) -> TypedSearchAttributes | None:
    """Those of the options, as the SDK has them."""
    if not options.search_attributes:
        return None
    make: dict[type, Any] = {
        str: SearchAttributeKey.for_keyword,
        bool: SearchAttributeKey.for_bool,
        int: SearchAttributeKey.for_int,
        float: SearchAttributeKey.for_float,
        list: SearchAttributeKey.for_keyword_list,
    }
    return TypedSearchAttributes(
        [SearchAttributePair(make[type(v)](k), v) for k, v in sorted(options.search_attributes.items())]
    )


def _cut(text: str) -> str:
    return text if len(text) <= _ERROR_CHARACTERS else text[: _ERROR_CHARACTERS - 1] + "…"
