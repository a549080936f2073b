"""How the lab's children behave: which fail, and how long they take. Options of the child, so that an experiment needs
no other code.

Chance is drawn from the seed, the value and the attempt: the same on every machine, in whatever order children run,
and when a workflow is replayed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from temporalio.exceptions import ApplicationError

from temporal_fanout.checks import InvalidInput, number, whole

MOST_SECONDS = 3600


@dataclass(frozen=True)
class Behaviour:
    """The second input of `ChildWorkflow`, an object with any of these fields. Raises `InvalidInput`."""

    fail_multiples_of: int | None = None
    """Fails the values that it divides; without it and without a rate, 2: the even ones."""
    failure_rate: float | None = None
    """The share of values that fails by chance, 0 to 1, in place of a rule."""
    seed: int = 0
    """Of chance: another seed, other failures and delays."""
    delay_seconds: float | Sequence[float] = 0
    """How long a child takes: so many seconds, or `[least, most]` and by chance between them."""

    def __post_init__(self) -> None:
        if self.fail_multiples_of is not None:
            whole("fail_multiples_of", self.fail_multiples_of, least=1)
        if self.failure_rate is not None:
            number("failure_rate", self.failure_rate, least=0, most=1)
            if self.fail_multiples_of is not None:
                raise InvalidInput("failure_rate: cannot stand beside fail_multiples_of; give one of them")
        whole("seed", self.seed, least=0)
        least, most = self._delays()
        number("delay_seconds", least, least=0, most=MOST_SECONDS)
        number("delay_seconds", most, least=least, most=MOST_SECONDS)

    @classmethod
    def from_json(cls, given: Any) -> Behaviour:
        """From an object, or from none."""
        if given is None:
            return cls()
        names = [field.name for field in fields(cls)]
        if not isinstance(given, Mapping):
            raise InvalidInput(f"child options: must be an object with any of {', '.join(names)}, not {given!r:.60}")
        for key in given:
            if key not in names:
                raise InvalidInput(f"child options.{key}: is not known; known are {', '.join(names)}")
        return cls(**given)

    def seconds(self, value: int, attempt: int = 1) -> float:
        """How long this attempt for this value takes."""
        least, most = self._delays()
        return least if least == most else round(self._chance("delay", value, attempt).uniform(least, most), 3)

    def fails(self, value: int, attempt: int = 1) -> bool:
        """Whether this attempt for this value fails."""
        if self.failure_rate is not None:
            return self._chance("failure", value, attempt).random() < self.failure_rate
        return value % (self.fail_multiples_of or 2) == 0

    def doubled(self, value: int, attempt: int) -> int:
        """Twice the value; raises where this attempt fails."""
        if self.fails(value, attempt):
            by_rule = self.failure_rate is None  # and so by every attempt
            raise ApplicationError(f"Simulated failure for value {value}", non_retryable=by_rule)
        return value * 2

    def _delays(self) -> Sequence[Any]:
        given: Any = self.delay_seconds
        if isinstance(given, list | tuple):
            if len(given) != 2:
                raise InvalidInput(f"delay_seconds: must be a number, or [least, most], not {given!r:.60}")
            return given
        return given, given

    def _chance(self, what: str, value: int, attempt: int) -> random.Random:
        return random.Random(f"{self.seed} {what} {value} {attempt}")  # noqa: S311 - it is to be predictable
