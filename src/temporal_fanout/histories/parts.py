"""Parts of fan-outs as a history tells of them, and items of which no event says how they were started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.values import decoded, encoded, encoded_fields
from temporal_fanout.options import FanOutOptions
from temporal_fanout.wire.outcome import Ended
from temporal_fanout.wire.protocol import Carried, ShardSpec, UnknownMessage, spec_of, tuning_of
from temporal_fanout.wire.starts import RECORDED, Start, changed, from_item, pass_through, planned, work_of


@dataclass
class Part:
    """What a workflow's history says of a fan-out, or of the part of one that it runs.

    Payloads here are as a workflow has them, without the codec.
    """

    name: str
    prefix: str
    """Of the ids of its items."""
    work: str
    indexes: Sequence[int] | None = None
    """Of all its items, in their order; none where nothing says how many there are."""
    items: dict[int, Payload] = field(default_factory=dict)
    """Those that are known, by index."""
    values: Sequence[Any] | None = None
    """All its items as values, where the run was given them."""
    options: FanOutOptions | None = None
    """Where they are known."""
    args: Sequence[Payload] = ()
    """Of the options, which have them not."""
    memo: Mapping[str, Payload] = field(default_factory=dict)
    """Of the options, which have it not."""
    is_recorded: bool = False
    """Whether its items are recorded starts."""
    start: Start | None = None
    """How the first of its items was started, here, as the history has it."""

    @classmethod
    def of_shard(cls, spec: ShardSpec, carried: Carried) -> Part:
        """Of a shard, from its inputs: nothing of it is started yet."""
        indexes = indexes_of(spec)
        return cls(
            spec.name,
            spec.item_prefix,
            spec.work,
            indexes,
            items=dict(zip(indexes, carried.items, strict=False)),  # of a source, none
            options=FanOutOptions.from_dict(spec.start_options),
            args=carried.args,
            memo=carried.memo,
            is_recorded=spec.work.startswith(RECORDED),
        )


async def read_shard(client: Client, id: str, inputs: Sequence[Payload]) -> tuple[ShardSpec, Carried]:
    """What the shard of this id was given. Raises `InvalidInput` where this client cannot read it."""
    try:
        given = await decoded(client, inputs)
        spec = spec_of(given)
        tuning_of(spec)
        return spec, Carried.of(spec, given[1])
    except UnknownMessage as error:
        raise InvalidInput(f"{id}: the input of this shard cannot be read ({error})") from None
    except Exception as error:  # of whatever codec
        reason = f"has this client its data converter? ({error})"
        raise InvalidInput(f"{id}: the input of this shard cannot be read: {reason}") from None


def indexes_of(spec: ShardSpec) -> Sequence[int]:
    """Of the items of a shard."""
    return range(spec.start, spec.start + spec.count) if spec.indexes is None else spec.indexes


class Blanks:
    """Makes items of one part of which no event says how they were started: as others were, else as its options say."""

    def __init__(self, client: Client, part: Part, task_queue: str, parent_id: str) -> None:
        """`task_queue` is the one of the workflow `parent_id`, which starts them."""
        self._client = client
        self._part = part
        self._task_queue = task_queue
        self._parent_id = parent_id
        self._model: Start | None = None

    async def item(
        self,
        index: int | None,
        ended: Ended | None,
        *,
        id: str = "",
        input: Payload | None = None,
        seconds: float | None = None,
        from_result: bool = False,
    ) -> ItemOutcome:
        """One item, and what became of it. `input` is the item as something else than the part knows it."""
        part = self._part
        known = None if index is None else self._payload(index)
        start = None if known is None else await self._start(known)
        inputs = list(start.input.payloads) if start else []
        if not inputs and input is not None and not part.is_recorded:
            start = await self._start(input)
            inputs = list(start.input.payloads) if start else []
        elif not inputs and input is not None:
            inputs = await encoded(self._client, [input])
        return ItemOutcome(
            index,
            id or ("" if index is None else f"{part.prefix}{index}"),
            work_of(start) if start and work_of(start) else part.work.removeprefix(RECORDED),
            ended.outcome if ended else None,
            tuple(inputs),
            result=(await encoded(self._client, [ended.result]))[0] if ended and ended.result else None,
            error=ended.error if ended else "",
            type=ended.type if ended else "",
            seconds=seconds,
            task_queue=start.task_queue.name if start else "",
            fan_out=part.name,
            parent_id=self._parent_id,
            from_result=from_result,
            start=start if start and work_of(start) else None,
        )

    def _payload(self, index: int) -> Payload | None:
        if index in self._part.items:
            return self._part.items[index]
        values = self._part.values
        if values is None or index >= len(values):
            return None
        return self._client.data_converter.payload_converter.to_payload(values[index])

    async def _start(self, payload: Payload) -> Start | None:
        """How the item that is this payload is started, as a history has it; none where that is not known."""
        if self._part.is_recorded:
            try:
                start = from_item(payload)
            except ValueError:
                return None
            codec = self._client.data_converter.payload_codec
            if codec is not None:
                await pass_through(start, codec.encode)
            return start
        self._model = self._model or await self._plan()
        start = changed(self._model, {})
        start.input.payloads[0].CopyFrom((await encoded(self._client, [payload]))[0])
        return start

    async def _plan(self) -> Start:
        part = self._part
        if part.start is not None and part.start.input.payloads:
            return part.start
        if part.options is None:  # its work is then not known either
            return planned("", FanOutOptions(), "", (), {})
        args = await encoded(self._client, part.args)
        memo = await encoded_fields(self._client, part.memo)
        return planned(part.work, part.options, self._task_queue, args, memo)
