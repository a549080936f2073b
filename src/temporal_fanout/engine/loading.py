"""What a node has to do, as units: items where they fit into one history, else ranges of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporal_fanout.engine.budget import per_history
from temporal_fanout.engine.caller import start_overhead
from temporal_fanout.engine.pages import Pages, Survey
from temporal_fanout.engine.units import Item, Rest, Unit, in_ranges
from temporal_fanout.wire.payloads import START_BYTES
from temporal_fanout.wire.protocol import Carried, ShardSpec, SourceSpec, StartOptions, tuning_of

_SAMPLE = 20


class Loader:
    """Of one node."""

    def __init__(self, spec: ShardSpec, carried: Carried, survey: Survey | None) -> None:
        """`survey` is that of the whole source, which only the root has."""
        self._spec = spec
        self._items = carried.items
        self._survey = survey
        self._tuning = tuning_of(spec)
        self.overhead = start_overhead(StartOptions.from_dict(spec.start_options), carried.args, carried.memo)
        """Bytes of a start beside its item."""
        self._pages: Pages | None = None
        if spec.source is not None:
            self._pages = Pages(
                SourceSpec.from_dict(spec.source), carried.source_args, max(1, START_BYTES - self.overhead)
            )

    async def load(self) -> list[Unit]:
        """Raises `SourceError` and `InvalidInput`."""
        spec = self._spec
        if spec.indexes is not None:
            return [Item(index, payload) for index, payload in zip(spec.indexes, self._items, strict=True)]
        if spec.count > self.per_leaf():
            return list(await self._ranges())
        if self._pages is not None:
            return [Rest(spec.start, spec.count, spec.position)] if spec.count else []
        return [Item(spec.start + at, self._items[at]) for at in range(spec.count)]

    async def read(self, rest: Rest) -> list[Unit]:
        """The next page of a source as items, and what is left of it. Raises `SourceError` and `InvalidInput`."""
        assert self._pages is not None  # noqa: S101 - there is a rest of a source only
        page = await self._pages.page(rest.start, rest.count, rest.position)
        units: list[Unit] = [Item(index, payload) for index, payload in enumerate(page.items, rest.start)]
        got = len(units)
        if got < rest.count:
            units.append(Rest(rest.start + got, rest.count - got, page.next))
        return units

    def per_leaf(self) -> int:
        """Items of one history: fewer than asked for where arguments or memo are large."""
        return per_history(self.overhead + self._average(), self._spec.shard_size, self._tuning)

    def _average(self) -> int:
        """Bytes of an item, where they are known."""
        sample = self._items[:_SAMPLE]
        return sum(payload.ByteSize() for payload in sample) // max(1, len(sample))

    async def _ranges(self) -> Sequence[Unit]:
        spec, stride = self._spec, self.per_leaf()
        positions: Sequence[Any] = ()
        if self._pages is not None:
            survey = self._survey
            if survey is None and spec.position is not None:
                survey = await self._pages.survey(spec.start, spec.count, spec.position, stride)
            if survey is not None and survey.positions:
                stride, positions = survey.stride, survey.positions
        slice_bytes = self.overhead + min(self._tuning.slice_bytes, stride * self._average())
        most = per_history(slice_bytes, self._tuning.max_shards, self._tuning)
        items = None if self._pages is not None else self._items
        return in_ranges(spec.start, spec.count, stride, most, items, positions)
