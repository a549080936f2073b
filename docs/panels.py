"""Draws docs/panels.png: what the dashboard's panels show, asked of a real Prometheus. `make panels` runs it.

Starts a dev server, two workers, the exporter and Prometheus, runs scenarios for a few minutes, and asks for the query
of each panel over that time. Needs Debian's package `prometheus`, and matplotlib (requirements/docs.txt).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from tests.monitoring.queries import queries
from tests.monitoring.stack import Stack, stack
from tests.processes import fanout

from temporal_fanout.process.devserver import dev_server
from temporal_fanout.process.exit import end

ROOT = Path(__file__).parents[1]
SECONDS = 180
STEP = 5
COLUMNS = 3
QUEUE = "parent-and-child-task-queue"
SCENARIOS = ("default", "large-scale", "activities", "strict", "all-success", "stress")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with dev_server() as server, stack(server.address, QUEUE, Path(folder)) as running:
            began = time.time()
            while time.time() - began < SECONDS:
                for scenario in SCENARIOS:
                    await fanout("run", scenario, address=server.address, seconds=300)
            await draw(running, began)


async def draw(running: Stack, began: float) -> None:
    """One plot a panel, one line a series."""
    dashboard = json.loads((ROOT / "monitoring" / "dashboard.json").read_text())
    variables = {"namespace": "default", "task_queue": ".*", "parent_type": ".*"}
    panels: dict[str, list[Any]] = {}
    for title, expression in queries(dashboard, variables):
        data = await running.ask(
            "query_range", query=expression, start=str(began), end=str(time.time()), step=str(STEP)
        )
        panels.setdefault(title, []).extend(data["result"])
    rows = math.ceil(len(panels) / COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(5 * COLUMNS, 2.6 * rows), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (title, series) in zip(axes.flat, panels.items(), strict=False):
        axis.set_axis_on()
        axis.set_title(title, fontsize=9, loc="left")
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        for one in series:
            times = [float(at) - began for at, _ in one["values"]]
            axis.plot(times, [float(value) for _, value in one["values"]], label=_label(one["metric"]), linewidth=1)
        axis.margins(y=0.15)
        if axis.get_ylim()[0] > 0 or all(float(value) >= 0 for one in series for _, value in one["values"]):
            axis.set_ylim(bottom=0)
        if len(series) <= 8 and any(_label(one["metric"]) for one in series):
            axis.legend(fontsize=6, frameon=False)
    figure.supxlabel("seconds", fontsize=8)
    figure.savefig(ROOT / "docs" / "panels.png", dpi=80)


def _label(metric: dict[str, str]) -> str:
    known = {"__name__", "job", "instance", "namespace", "service_name"}
    return ", ".join(value for name, value in sorted(metric.items()) if name not in known)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
    end(0)
