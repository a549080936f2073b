"""Fan-outs that have ended leave their counts behind, and no more."""

from __future__ import annotations

from temporal_fanout.operations.progress import progress
from tests.cases.conftest import Cases
from tests.conftest import until


async def test_a_parent_of_many_fan_outs_keeps_only_their_counts(cases: Cases) -> None:
    """The progress of each stays known, with the one that is asked for by name refused as ended."""
    async with cases() as bench:
        handle = await bench.start("ManyFanOuts", 40)

        async def all_ended() -> bool:
            now = await progress(bench.client, handle.id)
            return len(now) == 40 and all(one.finished == one.total == 5 for one in now.values())

        await until(all_ended, "the end of all fan-outs", 60)
        await handle.signal("finish")
        assert await handle.result() == 200
