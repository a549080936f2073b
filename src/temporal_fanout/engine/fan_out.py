"""`fan_out`: what a workflow calls; checks what it is given, and raises what a stopped run ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow

from temporal_fanout.checks import InvalidInput
from temporal_fanout.engine import pages, telemetry
from temporal_fanout.engine.control import Control
from temporal_fanout.engine.node import Node
from temporal_fanout.engine.pages import SourceError
from temporal_fanout.engine.tally import Tally
from temporal_fanout.metrics import RECORDER
from temporal_fanout.options import FanOutOptions
from temporal_fanout.results import FanOutResult, FanOutStopped, SourceFailed, ToleratedFailureExceeded
from temporal_fanout.source import Source
from temporal_fanout.wire.payloads import as_json_values, encoded_size
from temporal_fanout.wire.starts import ACTIVITY, name_of

LIST_BYTES = 4 * 1024 * 1024
"""Of a list of items, at most: each passes through the history of its parent."""
ID_BYTES = 1000
"""Of a workflow id, at most, as the server has it."""

_STOPS = {cls.__name__: cls for cls in (FanOutStopped, ToleratedFailureExceeded, SourceFailed)}


async def fan_out(work: Any, items: Sequence[Any] | Source, options: FanOutOptions | None = None) -> FanOutResult:
    """Runs `work` once for every item, under limits, and returns what became of each.

    `work` is a child workflow (class, run method or name) or an activity (function, or `activity:NAME`). `items` is a
    list of JSON values, at most 1 MiB each and 4 MiB together, or a `Source`. Call it from a workflow whose worker has
    the `FanOutPlugin`.

    A failed item is part of the result, never an exception. Raises `ToleratedFailureExceeded` when more failed than
    the options tolerate, `SourceFailed` when the source did, `FanOutStopped` when an operator aborted the run, each
    with the result so far, and `InvalidInput` for input that cannot work.
    """
    if not workflow.unsafe.is_replaying() and RECORDER not in workflow.extern_functions():
        raise InvalidInput("plugins: this worker lacks the FanOutPlugin; create it with plugins=[FanOutPlugin()]")
    options = options or FanOutOptions()
    control = Control.of_workflow()
    try:
        spec = await _root_spec(name_of(work), items, options, control.name_for(options.name))
    except SourceError as error:
        raise SourceFailed(error.message, SourceFailed.__name__, Tally(0).result()) from None
    node = Node(spec, control)
    result = (await node.run()).result()
    if node.stop is not None:
        counts = (
            f"{result.success_count} completed, {result.failure_count} failed, {result.not_started_count} not started"
        )
        message = f"{node.stop['message']} ({counts})"
        if node.stop["type"] == ToleratedFailureExceeded.__name__:
            node.teller.breached(message)
        raise _STOPS[node.stop["type"]](message, node.stop["type"], result)
    return result


async def _root_spec(work: str, items: Any, options: FanOutOptions, name: str) -> dict[str, Any]:
    prefix = workflow.info().workflow_id + (f".{name}" if name else "")
    if len(prefix.encode()) > ID_BYTES - 100:
        raise InvalidInput(f"workflow id: must leave 100 of {ID_BYTES} bytes for its children's, not {prefix[:40]}…")
    spec: dict[str, Any] = {
        "work": work,
        "options": options.to_dict() | {"args": as_json_values(options.args, "args")},
        "id": prefix,
        "is_shard": False,
        "item_prefix": prefix + ".",  # of activities too: a plain number may be the SDK's id of one of the parent's
        "name": name,
        "origin": telemetry.origin(),
        "start": 0,
        "lanes": options.max_concurrency,
        "limit": options.max_concurrency,
        "result_bytes": options.max_result_bytes,
    }
    if isinstance(items, Source):
        activity = name_of(items.activity).removeprefix(ACTIVITY)
        source: dict[str, Any] = {"activity": activity, "args": as_json_values(items.args, "source.args")}
        source |= {"task_queue": items.task_queue, "timeout": items.timeout.total_seconds()}
        survey = await pages.survey(source, stride=options.shard_size)
        spec |= {"source": source, "count": survey["total"], "survey": survey}
    elif isinstance(items, Sequence) and not isinstance(items, str | bytes):
        if encoded_size(items, "items") > LIST_BYTES:
            raise InvalidInput(f"items: take over {LIST_BYTES // 1024**2} MiB together; give a Source instead")
        spec |= {"items": items, "count": len(items)}
    else:
        raise InvalidInput(f"items: must be a list or a Source, not {type(items).__name__}")
    return spec | {"tolerated": options.tolerated(spec["count"])}
