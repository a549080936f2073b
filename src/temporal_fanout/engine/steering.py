"""What an operator asks of a node: its progress, pause, resize, abort, and what becomes of held items."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from temporal_fanout.engine.holds import Held
from temporal_fanout.engine.units import Item
from temporal_fanout.wire.payloads import ANSWER_BYTES, as_json, text_cost

if TYPE_CHECKING:
    from temporal_fanout.engine.node import Node

_SHOWN_BYTES = 2000
"""Of a held input that is shown, at most."""
_HELD_BYTES = 300
"""Of a held item in an answer, beside its texts and its input, at most."""


class Steering:
    """Of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._began = workflow.time()
        """Moved on by the time of each pause, so that the time since is that at work."""
        self._asked = self._done = 0
        self.cancels = False
        """Whether what runs is cancelled, once stopped."""

    def progress(self) -> dict[str, Any]:
        """What is known here: the open shards know more, each of its own part."""
        node = self._node
        finished = node.tally.finished
        paused_at = node.lease.paused_at
        now = time.time() if paused_at is None else paused_at  # a query may ask the clock
        seconds = max(0.0, now - self._began)
        rate = finished / seconds if seconds else 0.0
        return {
            "total": node.spec.count,
            "outcomes": {str(outcome): n for outcome, n in node.tally.outcomes.items()},
            "in_flight": node.runner.open,
            "held": len(node.holds),
            "paused": paused_at is not None,
            "seconds_at_work": round(seconds, 3),
            "items_per_second": round(rate, 3),
            "seconds_left": round((node.spec.count - finished) / rate, 3) if rate else None,
            "stopped": None if node.stop is None else node.stop["message"],
            "max_concurrency": node.lease.lanes,
            "open_shards": node.shards.ids,
        }

    def held(self, after: int, limit: int, inputs: bool) -> dict[str, Any]:
        """The items that wait here for a person; those of open shards wait there."""
        items: list[dict[str, Any]] = []
        room = ANSWER_BYTES
        chosen, more = self._node.holds.after(after, limit)
        for held in chosen:
            item = self._shown(held, inputs)
            room -= _HELD_BYTES + _SHOWN_BYTES + text_cost(held.ended.error) + text_cost(held.id)
            if room < 0 and items:
                return {"items": items, "more": True}
            items.append(item)
        return {"items": items, "more": more}

    def _shown(self, held: Held, inputs: bool) -> dict[str, Any]:
        ended = held.ended
        shown: dict[str, Any] = {"index": held.index, "child_id": held.id}
        if inputs:
            payload = self._node.caller.shown(held.payload)
            if payload is not None and len(payload.data) > _SHOWN_BYTES:
                text = payload.data[:_SHOWN_BYTES].decode(errors="replace")
                shown |= {"input": text, "input_truncated": True}
            else:
                shown["input"] = as_json(payload)
        return shown | {"outcome": str(ended.outcome), "error": ended.error, "type": ended.type}

    async def pause(self) -> None:
        self._node.lease.pause(workflow.time())
        await self._settled()

    async def resume(self) -> None:
        now = workflow.time()
        self._began += self._node.lease.resume(now)
        self._node.rest(now)
        await self._settled()

    async def resize(self, max_concurrency: int) -> None:
        self._node.lease.resize(max_concurrency)
        await self._settled()

    def abort(self, cancel: bool) -> None:
        self.cancels |= cancel
        self._node.stop_by("aborted by an operator")

    def stop(self, cancel: bool) -> None:
        """By the parent, of a shard."""
        self.cancels |= cancel
        self._node.stop_by("stopped by its parent")

    def release(self, items: Sequence[int] | None, skip: bool, input: Payload | None) -> list[int]:
        """Runs held items again, with another input where one is given, or lets them be failures."""
        node = self._node
        chosen = node.holds.waiting(items)
        if skip:
            node.holds.skip(chosen)
            for held in chosen:
                node.fail(held)
        else:
            node.holds.run_again(chosen)
            payloads = [held.payload if input is None else node.caller.given(held.payload, input) for held in chosen]
            node.units.put_first(
                [Item(held.index, payload, again=True) for held, payload in zip(chosen, payloads, strict=True)]
            )
        if chosen:
            node.look_again()
        return [held.index for held in chosen]

    def done(self) -> None:
        """The node has taken up all that was asked."""
        self._done = self._asked

    async def _settled(self) -> None:
        """Waits until what was asked holds for the node and for its shards, or nothing is left to hold it for."""
        self._asked += 1
        asked, node = self._asked, self._node
        node.look_again()
        await workflow.wait_condition(
            lambda: (
                not node.is_open
                or node.stop is not None
                or (self._done >= asked and node.shards.lending.keep_to(node.lease.limit))
            )
        )
