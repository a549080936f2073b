"""Nothing changes on its way: what children receive and return does not depend on how many there are."""

from __future__ import annotations

from typing import Any

import pytest

from temporal_fanout.histories.run import outcomes
from tests.cases.conftest import Cases
from tests.cases.converters import CONVERTERS
from tests.cases.workflows import ITEMS

SHAPES: list[dict[str, Any]] = [{"shard_size": 300}, {"shard_size": 5}, {"shard_size": 1}]


@pytest.mark.parametrize("converter", CONVERTERS)
@pytest.mark.parametrize("work", ["Typed", "activity:kind_of"])
async def test_what_a_child_receives_does_not_depend_on_how_many_there_are(
    cases: Cases, converter: str, work: str
) -> None:
    """Items and arguments of every kind reach children the same in one history, in shards and in shards of shards."""
    async with cases(converter) as bench:
        for kind in ITEMS:
            ways = [*zip(SHAPES, (1, 3, 11), strict=True)] if kind == "mixed" else [*zip(SHAPES, (1, 3), strict=False)]
            once, *others = [await bench.run("Kinds", work, kind, times, shape) for shape, times in ways]
            for other in others:
                assert other == once * (len(other) // len(once)), kind


@pytest.mark.parametrize("converter", ["default", "encrypted"])
async def test_a_start_has_the_payloads_that_the_converter_made(cases: Cases, converter: str) -> None:
    """In histories the inputs of an item in a shard are byte for byte those of the same item without shards."""
    async with cases(converter) as bench:
        found = []
        for shape in SHAPES[:2]:
            handle = await bench.start("Kinds", "Typed", "mixed", 2, shape)
            await handle.result()
            items = [item async for item in outcomes(bench.client, handle.id)]
            assert [item.index for item in items] == list(range(10))
            found.append([[one.SerializeToString(deterministic=True) for one in item.inputs] for item in items])
        assert found[0] == found[1]
        assert len(found[0][0]) == 3, "the item and two arguments"


async def test_an_item_is_the_same_after_it_was_handed_over(cases: Cases) -> None:
    """Items that a history has no room for, because results are large, are started elsewhere as they are."""
    async with cases() as bench:
        handle = await bench.start("HandedOver", 30)
        count, truncated, kinds = await handle.result()
        assert (count, truncated) == (30, True)
        assert [kind.strip() for kind in kinds] == ["bytes b'\\x01\\x"]
        assert (await bench.client.get_workflow_handle(f"{handle.id}.s0").describe()).parent_id == handle.id


@pytest.mark.parametrize("shape", SHAPES[:2], ids=["flat", "shards"])
async def test_results_are_of_the_types_that_children_return(cases: Cases, shape: dict[str, Any]) -> None:
    """Bytes and pydantic models come back as such, by run method and by name."""
    async with cases("pydantic") as bench:
        assert await bench.run("TypedResults", 12, shape) == ["Order", "Order"]


async def test_a_result_of_another_type_harms_only_who_looks_at_it(cases: Cases) -> None:
    """The counts and the JSON form are there; looking at the result fails the run in one sentence, not its task."""
    async with cases("pydantic") as bench:
        error = await bench.error("WrongType")
        assert error.type == "InvalidInput"
        assert error.message.startswith("result_type: the result of item 0 cannot be decoded as ")
