"""What is left to start in one workflow: items, ranges that become shards, and the rest of a source. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from temporalio.api.common.v1 import Payload

from temporal_fanout.wire.protocol import HeldSpec


@dataclass(frozen=True)
class Item:
    """One item, which takes one lane while it runs."""

    index: int
    payload: Payload
    again: bool = False
    """It was held, and runs again."""


@dataclass(frozen=True)
class Range:
    """Items that a shard will run: some that are known, or those of a source from `position` on."""

    start: int
    count: int
    items: Sequence[Payload] | None = None
    position: Any = None
    indexes: tuple[int, ...] | None = None
    """Where the items do not follow one another."""
    held: tuple[HeldSpec, ...] = ()
    """Of those that have run before."""


@dataclass(frozen=True)
class Rest:
    """Items of a source that this workflow reads itself, page by page, when it has lanes for them."""

    start: int
    count: int
    position: Any = None


Unit: TypeAlias = Item | Range | Rest


class Units:
    """In the order in which they start."""

    def __init__(self, units: Sequence[Unit] = ()) -> None:
        self._units: deque[Unit] = deque(units)

    def __bool__(self) -> bool:
        return bool(self._units)

    @property
    def first(self) -> Unit:
        return self._units[0]

    @property
    def unstarted(self) -> int:
        """Items that were never started."""
        return sum(_unstarted(unit) for unit in self._units)

    @property
    def ranges(self) -> list[Range]:
        """Those that become shards."""
        return [unit for unit in self._units if isinstance(unit, Range)]

    def take(self) -> Unit:
        """The first, which starts now."""
        return self._units.popleft()

    def put_first(self, units: Sequence[Unit]) -> None:
        self._units.extendleft(reversed(units))

    def put_last(self, unit: Unit) -> None:
        self._units.append(unit)

    def take_again(self) -> list[Item]:
        """The items that were to run again; they are not left any more."""
        again = [unit for unit in self._units if isinstance(unit, Item) and unit.again]
        self._units = deque(unit for unit in self._units if not (isinstance(unit, Item) and unit.again))
        return again

    def halve_first(self) -> None:
        """Splits the range that is first into two."""
        unit = self._units.popleft()
        if not isinstance(unit, Range) or unit.items is None:
            raise ValueError("only a range of known items can be split")
        half = unit.count // 2
        indexes = unit.indexes
        kept = set(indexes[:half]) if indexes else set()
        first = replace(
            unit,
            count=half,
            items=unit.items[:half],
            indexes=indexes and indexes[:half],
            held=tuple(one for one in unit.held if one.index in kept),
        )
        second = replace(
            unit,
            start=indexes[half] if indexes else unit.start + half,
            count=unit.count - half,
            items=unit.items[half:],
            indexes=indexes and indexes[half:],
            held=tuple(one for one in unit.held if one.index not in kept),
        )
        self.put_first([first, second])

    def hand_over(self, size: int) -> None:
        """Makes ranges of `size` of the items that were never started: this history has no room for them."""
        items = [unit for unit in self._units if isinstance(unit, Item) and not unit.again]
        others = [unit for unit in self._units if not isinstance(unit, Item) or unit.again]
        parts: list[list[Item]] = []
        for item in items:
            if parts and len(parts[-1]) < size and parts[-1][-1].index + 1 == item.index:
                parts[-1].append(item)
            else:
                parts.append([item])
        ranges = [Range(part[0].index, len(part), [item.payload for item in part]) for part in parts]
        again = [unit for unit in others if isinstance(unit, Item)]
        self._units = deque([*again, *ranges, *(unit for unit in others if not isinstance(unit, Item))])


def _unstarted(unit: Unit) -> int:
    if isinstance(unit, Item):
        return 0 if unit.again else 1
    return unit.count - len(unit.held) if isinstance(unit, Range) else unit.count


def in_ranges(
    start: int, count: int, stride: int, most: int, items: Sequence[Payload] | None, positions: Sequence[Any]
) -> list[Range]:
    """At most `most` ranges, each of `stride` items or of a multiple of that, the last of what is left.

    `positions` are those of every `stride`-th item of a source, where it has said so.
    """
    size = stride
    while size * most < count:
        size *= most
    return [
        Range(
            start + at,
            min(size, count - at),
            items=None if items is None else items[at : at + size],
            position=positions[at // stride] if positions else None,
        )
        for at in range(0, count, size)
    ]
