"""More items than one history takes."""

from __future__ import annotations

import pytest

from temporal_fanout.lab.scenarios import SCENARIOS
from tests.conftest import Bench


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["stress", "activities"])
async def test_the_large_scenarios_complete(bench: Bench, name: str) -> None:
    """2,500 items, at which a plain fan-out hangs, complete with every outcome counted, in short histories."""
    scenario = SCENARIOS[name]
    handle = await bench.start(scenario.workflow, *scenario.inputs, seconds=280)
    result = await handle.result()
    assert result["outcomes"] == {"completed": 1250, "failed": 1250}
    assert [e["value"] for e in result["failed_children"]] == list(range(2, 2501, 2))
    assert (await handle.describe()).history_length < 1000
