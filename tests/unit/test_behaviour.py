"""How the lab's children behave, by their options."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from temporal_fanout.checks import InvalidInput
from temporal_fanout.lab.behaviour import Behaviour


def failing(values: range, attempt: int = 1, **given: Any) -> list[int]:
    behaviour = Behaviour.from_json(given)
    return [value for value in values if behaviour.fails(value, attempt)]


def test_without_options_even_values_fail_at_once() -> None:
    """The lab's rule: even values fail, and no child waits."""
    assert failing(range(-2, 5)) == [-2, 0, 2, 4]
    assert Behaviour.from_json(None).seconds(3) == 0
    assert Behaviour().doubled(3, 1) == 6
    with pytest.raises(ApplicationError, match="Simulated failure for value 4"):
        Behaviour().doubled(4, 1)


def test_the_rule_is_an_option() -> None:
    """Multiples of another number fail; at a rate of 0 none does, at 1 all do."""
    assert failing(range(1, 10), fail_multiples_of=3) == [3, 6, 9]
    assert failing(range(1, 10), failure_rate=0) == []
    assert failing(range(1, 10), failure_rate=1) == list(range(1, 10))


def test_chance_comes_from_the_seed_and_from_nothing_else() -> None:
    """The very values that fail, so that neither Python nor a change of ours draws others; another seed does."""
    assert failing(range(1, 21), failure_rate=0.3, seed=13) == [1, 2, 6, 16, 18, 20]
    assert failing(range(1, 21), failure_rate=0.3, seed=14) == [4, 6, 11, 12]
    assert 2850 < len(failing(range(10_000), failure_rate=0.3, seed=1)) < 3150


def test_another_attempt_is_another_draw() -> None:
    """A value that failed by chance may complete when it is tried again."""
    first, second = (failing(range(1, 21), attempt, failure_rate=0.3, seed=13) for attempt in (1, 2))
    assert set(first) - set(second)


def test_delays_are_between_their_bounds_and_as_drawn() -> None:
    """A number is every child's; of two, each child's is between them, to the millisecond the same each time."""
    drawn = [Behaviour.from_json({"delay_seconds": [1, 5], "seed": 1}).seconds(value) for value in range(1, 11)]
    assert all(1 <= seconds <= 5 for seconds in drawn)
    assert (max(drawn), round(sum(drawn), 1)) == (4.82, 32.1)
    assert Behaviour.from_json({"delay_seconds": 0.5}).seconds(7) == 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "child options: must be an object with any of fail_multiples_of, failure_rate, seed, delay_seconds"),
        ({"rate": 1}, "child options.rate: is not known; known are fail_multiples_of"),
        ({"fail_multiples_of": 0}, "fail_multiples_of: must be a whole number of at least 1, not 0"),
        ({"failure_rate": 1.5}, "failure_rate: must be a number from 0 to 1, not 1.5"),
        ({"failure_rate": 0.3, "fail_multiples_of": 3}, "failure_rate: cannot stand beside fail_multiples_of"),
        ({"seed": "x"}, "seed: must be a whole number of at least 0, not 'x'"),
        ({"delay_seconds": -1}, "delay_seconds: must be a number from 0 to 3600, not -1"),
        ({"delay_seconds": [1]}, "delay_seconds: must be a number, or [least, most], not [1]"),
        ({"delay_seconds": [5, 1]}, "delay_seconds: must be a number from 5 to 3600, not 1"),
        ({"delay_seconds": "1"}, "delay_seconds: must be a number from 0 to 3600, not '1'"),
    ],
)
def test_an_option_that_cannot_work_is_invalid_input(given: Any, message: str) -> None:
    """In one sentence that names the field."""
    with pytest.raises(InvalidInput) as caught:
        Behaviour.from_json(given)
    assert message in caught.value.message
