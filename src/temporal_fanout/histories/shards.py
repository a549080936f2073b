"""Shards as the history of their parent tells of them: which items each has, and what is known of one whose own
history is gone.

Retention removes the history of a closed shard before that of its parent, which then holds what the shard returned: how
many items had which outcome and, as far as there was room, which. That must do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.events import Begun
from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.parts import Blanks, Part, indexes_of, read_shard
from temporal_fanout.histories.values import decoded
from temporal_fanout.results import Outcome
from temporal_fanout.wire.outcome import Ended
from temporal_fanout.wire.protocol import Carried, ShardResult, ShardSpec, UnknownMessage

_LEFT = Ended(
    Outcome.TERMINATED, error="its shard was open when the run closed, and has no history", type="TerminatedError"
)


@dataclass
class Shard:
    """A shard, from its start on."""

    begun: Begun
    spec: ShardSpec
    carried: Carried
    indexes: Sequence[int]
    """Of its items: without those that it gave back to its parent, which opened another shard for them."""

    @classmethod
    async def read(cls, client: Client, begun: Begun) -> Shard:
        """Raises `InvalidInput` where this client cannot read it."""
        spec, carried = await read_shard(client, begun.id, begun.attributes.input.payloads)
        indexes = indexes_of(spec)
        shard = cls(begun, spec, carried, indexes)
        if spec.source is not None and (returned := await _returned(client, begun)):
            shard.indexes = indexes[: sum(returned[0].outcomes.values())]
        return shard

    @property
    def part(self) -> Part:
        """Those that it has, none of them started."""
        part = Part.of_shard(self.spec, self.carried)
        part.indexes = self.indexes
        return part


def without_overlaps(shards: Iterable[Shard], within: Sequence[int] | None) -> list[Shard]:
    """Those that have items left, by their first: where two have the same items, they are of the one opened later.

    `within` are the indexes that their parent has; none is all. Shards of held items have items of their parent and are
    not meant here.
    """
    kept: list[Shard] = []
    for shard in reversed(list(shards)):
        own = _range(shard.indexes)
        if isinstance(within, range):
            own = range(max(own.start, within.start), min(own.stop, within.stop))
        for later in kept:
            if later.spec.name == shard.spec.name:
                own = _less(own, _range(later.indexes))
        shard.indexes = own
        if own:
            kept.append(shard)
    return sorted(kept, key=lambda shard: _range(shard.indexes).start)


def gaps(whole: Sequence[int], taken: Iterable[Sequence[int]]) -> list[Sequence[int]]:
    """The parts of `whole` in which nothing is taken, in their order."""
    if not isinstance(whole, range):
        every = {index for one in taken for index in one}
        left = [index for index in whole if index not in every]
        return [left] if left else []
    found: list[Sequence[int]] = []
    at = whole.start
    for one in sorted((_range(one) for one in taken if one), key=lambda one: one.start):
        if one.start > at:
            found.append(range(at, min(one.start, whole.stop)))
        at = max(at, one.stop)
    if at < whole.stop:
        found.append(range(at, whole.stop))
    return [one for one in found if one]


def runs(indexes: Iterable[int]) -> list[range]:
    """The indexes as ranges of those that follow one another."""
    found: list[range] = []
    for index in sorted(set(indexes)):
        if found and found[-1].stop == index:
            found[-1] = range(found[-1].start, index + 1)
        else:
            found.append(range(index, index + 1))
    return found


def _range(indexes: Sequence[int]) -> range:
    if isinstance(indexes, range):
        return indexes
    return range(indexes[0], indexes[-1] + 1) if indexes else range(0)


def _less(own: range, other: range) -> range:
    """The part of a range that comes before another, or after it where they begin together."""
    if own.start < other.start:
        return range(own.start, min(own.stop, other.start))
    return range(max(own.start, other.stop) if other else own.start, own.stop)


# -- what is known of one whose history is gone


async def lost_items(client: Client, begun: Begun, indexes: Sequence[int], is_over: bool) -> AsyncIterator[ItemOutcome]:
    """The items of a shard that has no history any more, by what its parent's history holds of it.

    `indexes` are those of its items, `is_over` says whether its parent has closed. Items that no entry of its result
    names come first, and by index only if all of them ended alike.
    """
    spec, carried = await read_shard(client, begun.id, begun.attributes.input.payloads)
    part = Part.of_shard(spec, carried)
    blanks = Blanks(client, part, begun.attributes.task_queue.name, begun.id)
    returned = await _returned(client, begun)
    if returned is None:
        ended = await begun.ended(client.data_converter) or (_LEFT if is_over else None)
        for index in indexes:
            yield await blanks.item(index, ended, from_result=True)
        return
    result, payloads = returned
    entries = _entries(result, payloads)
    left = Counter({Outcome(outcome): n for outcome, n in result.outcomes.items()})
    left.subtract(Counter(entry.ended.outcome for entry in entries.values()))
    left = +left
    is_named = len(left) <= 1 and left.total() == sum(index not in entries for index in indexes)
    if not is_named:
        for outcome in left.elements():
            yield await blanks.item(None, Ended(outcome), from_result=True)
    for index in indexes:
        if index in entries:
            entry = entries[index]
            yield await blanks.item(index, entry.ended, input=entry.value, from_result=True)
        elif is_named:
            yield await blanks.item(index, Ended(next(iter(left))), from_result=True)


@dataclass(frozen=True)
class _Entry:
    ended: Ended
    value: Payload | None


def _entries(result: ShardResult, payloads: Sequence[Payload]) -> dict[int, _Entry]:
    def at(number: int) -> Payload | None:
        return payloads[number] if 0 <= number < len(payloads) else None

    found: dict[int, _Entry] = {}
    for index, value, of_result in result.completed:
        found[index] = _Entry(Ended(Outcome.COMPLETED, at(of_result)), at(value))
    for index, value, outcome, error, type in result.failed:
        found[index] = _Entry(Ended(Outcome(outcome), error=error, type=type), at(value))
    return found


async def _returned(client: Client, begun: Begun) -> tuple[ShardResult, list[Payload]] | None:
    """What a shard returned; none where it has not, or has not completed. Raises `InvalidInput`."""
    if begun.end is None or begun.end.outcome is not Outcome.COMPLETED:
        return None
    try:
        [payload] = await decoded(client, begun.end.attributes.result.payloads)
        return ShardResult.unpacked(payload)
    except UnknownMessage as error:
        raise InvalidInput(f"{begun.id}: the result of this shard cannot be read ({error})") from None
    except Exception as error:  # of whatever codec
        reason = f"has this client its data converter? ({error})"
        raise InvalidInput(f"{begun.id}: the result of this shard cannot be read: {reason}") from None
