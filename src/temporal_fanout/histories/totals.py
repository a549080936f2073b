"""How many items a run has, and which of them were not started, as far as anything says so.

An item that was never started leaves no event. Such items are known as far as something says how many there were:

- of a shard, always: its input has the range of its items;
- of the run itself, if it has one fan-out: its result or its failure, where that is a fan-out's; the survey of the
  source; or that of the run's inputs which is an array and has each item that was started at its place;
- a run that completed is taken to have started all, unless its result is a fan-out's and says otherwise.

So what cannot be known is how many items followed the last one that was started, or the last shard that was opened, in
a run that closed before its end and made its items itself, or had several fan-outs (`RunState.rest_known` is False);
and what followed in a fan-out whose `FanOutStopped` the run caught.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from temporalio.client import Client

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.events import Events
from temporal_fanout.histories.inputs import PARENTS
from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.parts import Part
from temporal_fanout.histories.shards import Shard
from temporal_fanout.histories.values import first_value, is_count, own_json
from temporal_fanout.results import Outcome


class RunState:
    """What the histories that were read so far say of a whole run."""

    def __init__(self) -> None:
        self.closed = False
        self.outcome: Outcome | None = None
        """How it closed; none while it is open, and where it was continued as new."""
        self.continued_as = ""
        """The run that goes on for this one: it was continued as new, or is tried again."""
        self.settled = True
        """False while anything of it may still end: it is open, or a child or a shard of it is."""
        self.waiting = 0
        """Items that may yet be started, as far as they are known."""
        self.rest_known = True
        """False where it closed before its end, and nothing says how many items it had."""
        self.changed_at = 0.0
        """When an item last started or ended, else when the run started, in seconds since 1970."""
        self.lost_shards = 0
        """Shards whose histories are gone: their items are known from what their parents' histories hold of them."""
        self.lost_items = 0
        """Items of those."""


class Totals:
    """How many items the fan-outs of a run have."""

    def __init__(
        self, client: Client, id: str, events: Events, fan_outs: dict[str, Part], surveyed: Sequence[int]
    ) -> None:
        """`surveyed` is what each survey of a source says."""
        self._surveyed = surveyed
        self._client = client
        self._id = id
        self._events = events
        self._fan_outs = fan_outs

    async def learn(self, run: RunState, items: Sequence[ItemOutcome], shards: Sequence[Shard]) -> None:
        """Finds out how many items the fan-outs have, from the items and the shards that were started here."""
        events = self._events
        if not self._fan_outs and (read_input := PARENTS.get(events.started.workflow_type.name)):
            await self._learn_from_input(run, read_input)
        if len(self._fan_outs) == 1 and not run.continued_as:
            [fan_out] = self._fan_outs.values()
            await self._learn_total(run, fan_out, items, shards)
        if run.closed and run.outcome is not Outcome.COMPLETED and not run.continued_as:
            totals = [fan_out.indexes for fan_out in self._fan_outs.values()]
            run.rest_known = None not in totals if totals else await self._said() is not None

    async def _learn_from_input(self, run: RunState, read_input: Callable[[Sequence[Any]], Any]) -> None:
        """A parent that has not started anything yet says in its input what it will start."""
        if run.outcome is Outcome.FAILED:  # its input was refused
            return
        try:
            given = [await first_value(self._client, [payload]) for payload in self._events.started.input.payloads]
            work, items, options = read_input(given)
        except InvalidInput:
            return
        name = options.name or ""
        prefix = f"{self._id}." + (f"{name}." if name else "")
        values = items if isinstance(items, list) else None
        convert = self._client.data_converter.payload_converter
        args, memo = convert.to_payloads(options.args), convert.to_payloads(list(options.memo.values()))
        self._fan_outs[name] = Part(
            name,
            prefix,
            work,
            values=values,
            options=options,
            args=args,
            memo=dict(zip(options.memo, memo, strict=True)),
        )

    async def _learn_total(
        self, run: RunState, fan_out: Part, items: Sequence[ItemOutcome], shards: Sequence[Shard]
    ) -> None:
        said = await self._said()
        if said is None and run.outcome is Outcome.COMPLETED:
            return
        fan_out.values = fan_out.values or await self._given(items, shards)
        if said is not None:
            fan_out.indexes = range(said)
        elif len(self._surveyed) == 1:
            fan_out.indexes = range(self._surveyed[0])
        elif fan_out.values is not None:
            fan_out.indexes = range(len(fan_out.values))

    async def _said(self) -> int | None:
        """How many items the run itself says it had, in its result or in the details of its failure."""
        close, payloads = self._events.close, None
        if close is not None and close.outcome is Outcome.COMPLETED:
            payloads = close.attributes.result.payloads
        elif close is not None and close.outcome is Outcome.FAILED:
            payloads = close.attributes.failure.application_failure_info.details.payloads
        said = await own_json(self._client, payloads or ()) or await first_value(self._client, payloads)
        if isinstance(said, dict) and "outcomes" in said and is_count(said.get("total_children")):
            return int(said["total_children"])
        return None

    async def _given(self, items: Sequence[ItemOutcome], shards: Sequence[Shard]) -> list[Any] | None:
        """That of the run's inputs which lists the items: an array with each item that was started at its place."""
        started: list[tuple[int, Any]] = []
        for item in items:
            if item.index is not None and item.inputs:
                started.append((item.index, await first_value(self._client, item.inputs)))
        convert = self._client.data_converter.payload_converter
        for shard in shards:
            known = shard.part.items
            try:
                given = convert.from_payloads(list(known.values()))
            except Exception:  # of whatever converter
                return None
            started.extend(zip(known, given, strict=True))
        for payload in self._events.started.input.payloads:
            values = await first_value(self._client, [payload])
            if isinstance(values, list) and all(
                index < len(values) and values[index] == value for index, value in started
            ):
                return values
        return None
