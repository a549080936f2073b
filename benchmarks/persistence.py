"""What an item asks of the server's store: `python -m benchmarks.persistence [ITEMS]`, on a dev server of its own.

The server is most of what an item costs, and what it writes is most of that; so these counts, which repeat from run to
run where rates do not, say why one method is slower than another.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import urllib.request
import uuid
from collections import Counter

from rich.console import Console
from rich.table import Table

from benchmarks.measure import ACTIVITIES, FAN_OUT, GATHER, WIDTHS, Bench
from benchmarks.worker import worker_process
from temporal_fanout.operations.connect import connect
from temporal_fanout.process.devserver import dev_server
from temporal_fanout.process.exit import end
from temporal_fanout.process.ports import free_port

_SHOWN = ("UpdateWorkflowExecution", "CreateWorkflowExecution", "ReadHistoryBranch")
_SETTLE_SECONDS = 2


async def main(items: int) -> None:
    port = free_port()
    table = Table("method", "items/s", *_SHOWN, "workflow tasks", title="Of the server, for each item")
    async with dev_server(arguments=["--metrics-port", str(port)]) as server:
        os.environ["TEMPORAL_ADDRESS"] = server.address
        task_queue = f"bench-{uuid.uuid4().hex[:8]}"
        async with worker_process(task_queue) as worker:
            bench = Bench(await connect(30), task_queue, worker)
            await bench.warm_up()
            for method in (list(WIDTHS)[1], GATHER, FAN_OUT, ACTIVITIES):
                await asyncio.sleep(_SETTLE_SECONDS)  # the server still writes of the run before
                before = _requests(port)
                run = await bench.run("persistence", 0, method, items)
                await asyncio.sleep(_SETTLE_SECONDS)
                asked = _requests(port) - before
                row = [asked[name] / items for name in (*_SHOWN, "RespondWorkflowTaskCompleted")]
                table.add_row(method, f"{run.rate or 0:.0f}", *(f"{value:.2f}" for value in row))
            await bench.sweep()
    Console(width=160, highlight=False).print(table)


def _requests(port: int) -> Counter[str]:
    """Requests to the store so far, by operation; and the workflow tasks that workers completed."""
    counts: Counter[str] = Counter()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            found = re.fullmatch(r"(persistence_requests|service_requests)(?:_total)?\{(.*)\} (\S+)", line)
            labels = dict(re.findall(r'(\w+)="([^"]*)"', found[2])) if found else {}
            operation = labels.get("operation", "")
            if found and found[1] == "persistence_requests":
                counts[operation] += int(float(found[3]))
            elif operation == "RespondWorkflowTaskCompleted" and labels.get("service_name") == "frontend":
                counts[operation] += int(float(found[3] if found else 0))
    return counts


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
    end(0)
