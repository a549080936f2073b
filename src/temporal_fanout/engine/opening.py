"""What a shard is told: the spec of one range of its node's items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from temporal_fanout.engine.units import Range
from temporal_fanout.wire.payloads import START_BYTES
from temporal_fanout.wire.protocol import Carried, ShardSpec, tuning_of


@dataclass(frozen=True)
class Lent:
    """What a shard gets with its start."""

    lanes: int
    limit: int
    rate: float | None
    first_at: float
    tolerated: int | None
    largest_result: int


class Opening:
    """Of one node."""

    def __init__(self, spec: ShardSpec, carried: Carried) -> None:
        self._spec = spec
        self._carried = carried
        self._opened = 0
        self._base = sum(one.ByteSize() for one in [*carried.args, *carried.memo.values(), *carried.source_args])
        self._most = min(START_BYTES, self._base + tuning_of(spec).slice_bytes)

    def size(self, unit: Range) -> int:
        """Bytes of what a shard is given with its start."""
        return self._base + sum(item.ByteSize() + _FRAME for item in unit.items or ())

    def is_too_large(self, unit: Range) -> bool:
        """Whether the range must be split before a shard may have it."""
        return unit.items is not None and unit.count > 1 and self.size(unit) > self._most

    def open(self, unit: Range, lent: Lent) -> tuple[ShardSpec, Carried]:
        """The inputs of the next shard."""
        own = self._spec
        id = f"{own.id}.s{self._opened}"
        self._opened += 1
        items: Sequence = () if unit.items is None else list(unit.items)  # type: ignore[type-arg]
        spec = replace(
            own,
            id=id,
            start=unit.start,
            count=unit.count,
            lanes=lent.lanes,
            limit=lent.limit,
            rate=lent.rate,
            first_at=lent.first_at,
            tolerated=lent.tolerated,
            result_bytes=min(own.result_bytes, 2 * own.result_bytes * unit.count // max(1, own.count)),
            largest_result=lent.largest_result,
            source=None if unit.items is not None else own.source,
            position=unit.position,
            indexes=None if unit.indexes is None else list(unit.indexes),
            held=[asdict(one) for one in unit.held],
            source_args=0 if unit.items is not None else own.source_args,
        )
        source_args = () if unit.items is not None else self._carried.source_args
        return spec, replace(self._carried, source_args=source_args, items=items)


_FRAME = 8
"""Bytes that a payload takes beside its own among others."""
