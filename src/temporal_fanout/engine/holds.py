"""Items that did not complete and wait for a person, who runs them again or lets them be failures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload

from temporal_fanout.results import Outcome
from temporal_fanout.wire.outcome import Ended
from temporal_fanout.wire.protocol import HeldSpec


@dataclass(frozen=True)
class Held:
    """One of them, as it last ended."""

    index: int
    payload: Payload
    id: str
    ended: Ended
    seconds: float

    def to_spec(self, again: bool) -> HeldSpec:
        ended = self.ended
        return HeldSpec(self.index, self.id, str(ended.outcome), ended.error, ended.type, self.seconds, again)

    @classmethod
    def of_spec(cls, spec: HeldSpec, payload: Payload) -> Held:
        ended = Ended(Outcome(spec.outcome), error=spec.error, type=spec.type)
        return cls(spec.index, payload, spec.id, ended, spec.seconds)


class Holds:
    """By index; also those that run again, until they have ended, since a run that stops counts them as they were."""

    def __init__(self) -> None:
        self._waiting: dict[int, Held] = {}
        self._again: dict[int, Held] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, held: Held) -> None:
        self._waiting[held.index] = held

    def waiting(self, indexes: Iterable[int] | None = None) -> list[Held]:
        """Those that wait, of these indexes or all, by index."""
        chosen = self._waiting.keys() if indexes is None else self._waiting.keys() & set(indexes)
        return [self._waiting[index] for index in sorted(chosen)]

    def after(self, index: int, limit: int) -> tuple[list[Held], bool]:
        """At most `limit` of those that wait after this index, and whether others follow."""
        following = sorted(one for one in self._waiting if one > index)
        return [self._waiting[one] for one in following[:limit]], len(following) > limit

    def skip(self, held: Sequence[Held]) -> None:
        """They wait no more."""
        for one in held:
            del self._waiting[one.index]

    def run_again(self, held: Sequence[Held]) -> None:
        """They are about to run again."""
        for one in held:
            self._again[one.index] = self._waiting.pop(one.index)

    def started(self, index: int) -> None:
        """One that was to run again has started: from now on it is as any other."""
        self._again.pop(index, None)

    def give_up(self) -> list[Held]:
        """All, and none is left: the run stops."""
        every = {**self._waiting, **self._again}
        self._waiting, self._again = {}, {}
        return [every[index] for index in sorted(every)]

    def hand_on(self) -> list[tuple[Held, bool]]:
        """All, each with whether it runs again; none is left here: another history holds them."""
        again = set(self._again)
        return [(held, held.index in again) for held in self.give_up()]
