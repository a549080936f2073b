"""`fan_out`: what a workflow calls; checks what it is given, and raises what a stopped run ends with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Concatenate, TypeVar, overload

from temporalio import workflow

from temporal_fanout.checks import InvalidInput
from temporal_fanout.engine import telemetry
from temporal_fanout.engine.caller import start_overhead
from temporal_fanout.engine.control import Control
from temporal_fanout.engine.decoded import result_of
from temporal_fanout.engine.loading import Loader
from temporal_fanout.engine.node import Node
from temporal_fanout.engine.pages import Pages, SourceError, Survey
from temporal_fanout.engine.tally import Tally
from temporal_fanout.metrics import RECORDER
from temporal_fanout.options import FanOutOptions
from temporal_fanout.results import FanOutResult, FanOutStopped, SourceFailed, T, ToleratedFailureExceeded
from temporal_fanout.source import Items, Source
from temporal_fanout.wire.payloads import ITEM_BYTES, LIST_BYTES, START_BYTES, ItemList, encode
from temporal_fanout.wire.protocol import Carried, ShardSpec, SourceSpec, StartOptions
from temporal_fanout.wire.starts import ACTIVITY, RECORDED, name_of, result_type_of
from temporal_fanout.wire.tuning import TUNING, VERSION

ID_BYTES = 1000
"""Of a workflow id, at most, as the server has it."""

W = TypeVar("W")
P = TypeVar("P")

_STOPS = {cls.__name__: cls for cls in (FanOutStopped, ToleratedFailureExceeded, SourceFailed)}


@overload  # a class or a name that says what it returns
async def fan_out(
    work: type[Any] | str, items: Items[Any] | Source, options: FanOutOptions | None = None, *, result_type: type[T]
) -> FanOutResult[T]: ...
@overload  # a class or a name
async def fan_out(
    work: type[Any] | str, items: Items[Any] | Source, options: FanOutOptions | None = None, *, result_type: None = None
) -> FanOutResult[Any]: ...
@overload  # a run method: its workflow, the item, what `args` gives
async def fan_out(
    work: Callable[Concatenate[W, P, ...], Awaitable[T]],
    items: Items[P] | Source,
    options: FanOutOptions | None = None,
    *,
    result_type: None = None,
) -> FanOutResult[T]: ...
@overload  # an activity: the item, what `args` gives
async def fan_out(
    work: Callable[Concatenate[P, ...], Awaitable[T]],
    items: Items[P] | Source,
    options: FanOutOptions | None = None,
    *,
    result_type: None = None,
) -> FanOutResult[T]: ...
@overload  # an activity that is no coroutine
async def fan_out(
    work: Callable[Concatenate[P, ...], T],
    items: Items[P] | Source,
    options: FanOutOptions | None = None,
    *,
    result_type: None = None,
) -> FanOutResult[T]: ...
async def fan_out(
    work: Any, items: Any, options: FanOutOptions | None = None, *, result_type: type[Any] | None = None
) -> FanOutResult[Any]:
    """Runs `work` once for every item, under limits, and returns what became of each.

    `work` is a child workflow (class, run method or name) or an activity (function, or `activity:NAME`). `items` is a
    list of values, at most 1 MiB each and 4 MiB together, or a `Source`. Each item is encoded once, by the workflow's
    payload converter, and reaches its child as it is. Call it from a workflow whose worker has the `FanOutPlugin`.

    Results have the type that the run method or the activity returns, or `result_type`, by which a class or a name says
    it: `await fan_out(Invoice.run, customers)` is a `FanOutResult[Receipt]`. The workflow's payload converter decodes
    them, each when it is looked at.

    A failed item is part of the result, never an exception. Raises `ToleratedFailureExceeded` when more failed than
    the options tolerate, `SourceFailed` when the source did, `FanOutStopped` when an operator aborted the run, each
    with the result so far, and `InvalidInput` for input that cannot work.
    """
    if not workflow.unsafe.is_replaying() and RECORDER not in workflow.extern_functions():
        raise InvalidInput("plugins: this worker lacks the FanOutPlugin; create it with plugins=[FanOutPlugin()]")
    options = options or FanOutOptions()
    control = Control.of_workflow()
    hint = result_type or result_type_of(work)
    try:
        spec, carried, survey = await _root(name_of(work), items, options, control.name_for(options.name))
    except SourceError as error:
        raise SourceFailed(error.message, SourceFailed.__name__, result_of(Tally(0), None, None)) from None
    node = Node(spec, carried, control, is_shard=False, survey=survey)
    try:
        tally = await node.run()
    finally:
        control.end(spec.name)
    result = result_of(tally, carried.items if isinstance(carried.items, ItemList) else None, hint)
    if node.stop is not None:
        counts = (
            f"{result.success_count} completed, {result.failure_count} failed, {result.not_started_count} not started"
        )
        message = f"{node.stop['message']} ({counts})"
        if node.stop["type"] == ToleratedFailureExceeded.__name__:
            node.teller.breached(message)
        raise _STOPS[node.stop["type"]](message, node.stop["type"], result)
    return result


# -- what goes in


async def _root(work: str, items: Any, options: FanOutOptions, name: str) -> tuple[ShardSpec, Carried, Survey | None]:
    """What the root runs, as a shard of all items would be told."""
    prefix = workflow.info().workflow_id + (f".{name}" if name else "")
    if len(prefix.encode()) > ID_BYTES - 100:
        raise InvalidInput(f"workflow id: must leave 100 of {ID_BYTES} bytes for its children's, not {prefix[:40]}…")
    if options.start_timeout is not None and not work.startswith((ACTIVITY, RECORDED)):
        raise InvalidInput("start_timeout: is for activities; a child has timeout and attempt_timeout")
    version = _engine_version()
    starts = _start_options(options)
    args = [encode(arg, f"args[{at}]") for at, arg in enumerate(options.args)]
    memo = {key: encode(value, f"memo.{key}") for key, value in options.memo.items()}
    overhead = start_overhead(starts, args, memo)
    if overhead >= START_BYTES:
        raise InvalidInput(f"args: take over {START_BYTES / 1024**2:.2f} MiB with the memo; give a reference instead")
    spec = ShardSpec(
        version=version,
        tuning=asdict(TUNING[version]),
        id=prefix,
        item_prefix=prefix + ".",  # of activities too: a plain number may be the SDK's id of one of the parent's
        name=name,
        work=work,
        origin=telemetry.origin(),
        start=0,
        count=0,
        shard_size=options.shard_size,
        on_failure=options.on_failure,
        lanes=options.max_concurrency,
        limit=options.max_concurrency,
        rate=options.starts_per_second,
        first_at=workflow.time(),
        tolerated=None,
        result_bytes=options.max_result_bytes,
        with_values=isinstance(items, Source),
        largest_result=0,
        start_options=asdict(starts),
        source=None,
        position=None,
        indexes=None,
        held=[],
        args=len(args),
        memo=list(memo),
        source_args=0,
    )
    carried = Carried(args, memo)
    survey = None
    if isinstance(items, Source):
        activity = name_of(items.activity).removeprefix(ACTIVITY)
        source = SourceSpec(activity, items.task_queue, items.timeout.total_seconds())
        source_args = [encode(arg, f"source.args[{at}]") for at, arg in enumerate(items.args)]
        spec = replace(spec, source=asdict(source), source_args=len(source_args))
        carried = replace(carried, source_args=source_args)
        stride = Loader(spec, carried, None).per_leaf()
        survey = await Pages(source, source_args, ITEM_BYTES).survey(0, None, None, stride)
        count = survey.total
    elif isinstance(items, Sequence) and not isinstance(items, str | bytes):
        most = min(ITEM_BYTES, START_BYTES - overhead)
        carried = replace(carried, items=ItemList.checked(list(items), "items", most, LIST_BYTES))
        count = len(items)
    else:
        raise InvalidInput(f"items: must be a list or a Source, not {type(items).__name__}")
    return replace(spec, count=count, tolerated=options.tolerated(count)), carried, survey


def _engine_version() -> int:
    """Of this run, for as long as it lives: the newest that there was when it began."""
    for version in range(VERSION, 1, -1):
        if workflow.patched(f"temporal-fanout-{version}"):
            return version
    return 1


def _start_options(options: FanOutOptions) -> StartOptions:
    retry, types = options.retry, options.retry.non_retryable_error_types
    return StartOptions(
        timeout=options.timeout.total_seconds(),
        retry={
            "initial_interval": retry.initial_interval.total_seconds(),
            "backoff_coefficient": retry.backoff_coefficient,
            "maximum_interval": _seconds(retry.maximum_interval),
            "maximum_attempts": retry.maximum_attempts,
            "non_retryable_error_types": None if types is None else list(types),
        },
        task_queue=options.task_queue,
        attempt_timeout=_seconds(options.attempt_timeout),
        start_timeout=_seconds(options.start_timeout),
        heartbeat_timeout=_seconds(options.heartbeat_timeout),
        search_attributes=dict(options.search_attributes),
        priority=options.priority,
        parent_close_policy=options.parent_close_policy,
    )


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()
