"""The worker as a process of its own, as it would run beside others of its kind: `python -m examples.orders.worker`.

Finds Temporal by TEMPORAL_ADDRESS, and works until it is told to end.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from examples.orders.activities import Shop
from examples.orders.workflows import FulfilOrder, FulfilOrders
from examples.program import Parts, note, working
from temporal_fanout.operations.connect import connect
from temporal_fanout.plugin import Expected
from temporal_fanout.process.exit import end, on_signals


def parts(shop: Shop, scenario: str) -> Parts:
    expected = [Expected(FulfilOrders, FulfilOrder, scenario)]
    return Parts([FulfilOrders, FulfilOrder], shop.activities, expected)


async def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.orders.worker", description=__doc__)
    for name in ("task-queue", "directory", "payment", "shipping"):
        parser.add_argument(f"--{name}", required=True)
    asked = parser.parse_args()
    stop = on_signals()
    shop = Shop(Path(asked.directory), asked.payment, asked.shipping)
    async with working(await connect(10, note), asked.task_queue, parts(shop, "default")):
        note("working")
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_main())
    end(0)
