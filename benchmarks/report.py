"""What the runs say: medians, ratios, targets; as tables, and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import temporalio
from rich.console import Console
from rich.table import Table
from temporalio.api.workflowservice.v1 import GetClusterInfoRequest
from temporalio.client import Client

from benchmarks.measure import ACTIVITIES, BASE, FAN_OUT, GATHER, WIDTHS, Run

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Spread:
    """The median of what was measured, its extremes, and how often it was measured."""

    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """None where nothing was measured: every run timed out, or was not asked for."""
        known = [value for value in values if value is not None]
        return cls(median(known), min(known), max(known), len(known)) if known else None


@dataclass(frozen=True)
class Target:
    """What the issue asks for, and what was measured; none is not measured."""

    text: str
    bound: float
    at_least: bool
    measured: Spread | None

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        value = self.measured.median
        return value >= self.bound if self.at_least else value <= self.bound


async def machine(client: Client) -> dict[str, Any]:
    """Where this was measured."""
    server = await client.workflow_service.get_cluster_info(GetClusterInfoRequest())
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "temporalio": temporalio.__version__,
        "server": server.server_version,
        "store": server.persistence_store,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


class Report:
    """What is to be said of the runs of one benchmark."""

    def __init__(self, machine: dict[str, Any], runs: Sequence[Run]) -> None:
        self._machine = machine
        self._runs = runs

    def to_dict(self) -> dict[str, Any]:
        return {
            "machine": self._machine,
            "methods": [
                {"part": part, "items": items, "method": method}
                | {name: value and asdict(value) for name, value in self._columns(runs).items()}
                | {"timed_out": sum(run.timed_out for run in runs)}
                for (part, items, method), runs in self._groups().items()
            ],
            "ratios": [{"ratio": name, "spread": spread and asdict(spread)} for name, spread in self._ratios()],
            "targets": [
                {"target": t.text, "measured": t.measured and asdict(t.measured), "met": t.met} for t in self.targets()
            ],
            "runs": [asdict(run) | {"items_per_second": run.rate} for run in self._runs],
        }

    def write(self, name: str) -> Path:
        """Writes the JSON to `benchmarks/results/<name>.json`; returns this path."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}.json"
        path.write_text(json.dumps(self.to_dict(), indent=1) + "\n")
        return path.relative_to(RESULTS.parent.parent)

    def show(self, console: Console) -> None:
        """Prints the tables."""
        console.print(", ".join(f"{key} {value}" for key, value in self._machine.items()))
        table = Table(title="Median (least–most) of the rounds")
        headings = [
            "part",
            "items",
            "method",
            "seconds",
            "items/s",
            "worker: CPU ms/item",
            "peak MB",
            "machine: busy cores",
            "CPU ms/item",
        ]
        headings += ["events/item", "parent's events", "parent's KB", "longest: events", "longest: KB", "timed out"]
        for heading in headings:
            table.add_column(heading, justify="left" if heading in ("part", "method") else "right")
        before = None
        for (part, items, method), runs in self._groups().items():
            if before not in (None, (part, items)):
                table.add_section()
            before = (part, items)
            cells = [_shown(spread) for spread in self._columns(runs).values()]
            timed_out = sum(run.timed_out for run in runs)
            late = f"{timed_out} of {len(runs)}" if timed_out else ""
            table.add_row(part, f"{items:,}", method, *cells, late)
        console.print(table)

        table = Table("ratio, within a round", "median (least–most)", title="Ratios")
        for name, spread in self._ratios():
            table.add_row(name, _shown(spread, 2))
        if table.rows:
            console.print(table)

        for target in self.targets():
            if target.measured is None and self._runs[0].part == "source":
                continue  # they are not about it
            verdict = {None: "not measured", True: "met", False: "NOT MET"}[target.met]
            measured = "" if target.measured is None else f"{_shown(target.measured, 2)}, "
            console.print(f"{target.text}: {measured}{verdict}")

    def targets(self) -> list[Target]:
        """The targets of the issue, for this kind of server."""
        fan_outs = [run for run in self._runs if run.method in _FAN_OUTS]
        ceiling = 0.7 if "postgres" in self._machine["store"] else 0.85
        ratios = dict(self._ratios())
        wanted = [(_to_ceiling(500), ceiling), (_to_ceiling(1000), ceiling)]
        wanted += [(_to_gather(1000), 1.5), (_to_gather(2000), 1.3), (_to_base(10000), 0.6)]
        wanted += [(_to_children(10000), 3.0)]
        targets = [Target(f"{name} >= {bound}", bound, True, ratios.get(name)) for name, bound in wanted]
        cpu = [
            Spread.of(run.cpu_ms_per_item for run in runs)
            for (_, _, method), runs in self._groups().items()
            if method == FAN_OUT
        ]
        largest = max((spread for spread in cpu if spread), key=lambda spread: spread.median, default=None)
        targets.append(Target("fan_out: worker's CPU a child, at its worst size <= 7 ms", 7, False, largest))
        events = max((run.longest_events for run in fan_outs if run.longest_events), default=None)
        size = max((run.longest_bytes for run in fan_outs if run.longest_bytes), default=None)
        targets.append(Target("fan_out: events of the longest history < 5,000", 4999, False, Spread.of([events])))
        in_mb = None if size is None else size / 1e6
        targets.append(Target("fan_out: MB of the longest history < 10", 10, False, Spread.of([in_mb])))
        return targets

    def _groups(self) -> dict[tuple[str, int, str], list[Run]]:
        """The runs by part, size and method, in this order."""
        groups: dict[tuple[str, int, str], list[Run]] = {}
        order = [*WIDTHS, GATHER, FAN_OUT, ACTIVITIES]
        for run in sorted(self._runs, key=lambda run: (run.part != "rounds", run.items, order.index(run.method))):
            groups.setdefault((run.part, run.items, run.method), []).append(run)
        return groups

    def _columns(self, runs: Sequence[Run]) -> dict[str, Spread | None]:
        def spread(value: Callable[[Run], float | None]) -> Spread | None:
            return Spread.of(value(run) for run in runs)

        def kilo(size: int | None) -> float | None:
            return None if size is None else size / 1e3

        return {
            "seconds": spread(lambda run: run.seconds),
            "items_per_second": spread(lambda run: run.rate),
            "cpu_ms_per_item": spread(lambda run: run.cpu_ms_per_item),
            "peak_mb": spread(lambda run: run.peak_mb),
            "busy_cores": spread(lambda run: run.busy_cores),
            "machine_cpu_ms_per_item": spread(lambda run: run.machine_cpu_ms_per_item),
            "events_per_item": spread(lambda run: run.tree_events and run.tree_events / run.items),
            "parent_events": spread(lambda run: run.parent_events),
            "parent_kb": spread(lambda run: kilo(run.parent_bytes)),
            "longest_events": spread(lambda run: run.longest_events),
            "longest_kb": spread(lambda run: kilo(run.longest_bytes)),
        }

    def _ratios(self) -> list[tuple[str, Spread | None]]:
        ratios = []
        sizes = sorted({run.items for run in self._runs if run.part == "rounds"})
        for size in sizes:
            ratios.append((_to_ceiling(size), self._ratio("rounds", (FAN_OUT, size), (self._best_width(size), size))))
        for size in sizes:
            ratios.append((_to_gather(size), self._ratio("rounds", (FAN_OUT, size), (GATHER, size))))
        for size in sorted({run.items for run in self._runs if run.part == "big"} - {BASE}):
            ratios.append((_to_base(size), self._ratio("big", (FAN_OUT, size), (FAN_OUT, BASE))))
            ratios.append((_to_children(size), self._ratio("big", (ACTIVITIES, size), (FAN_OUT, size))))
        return ratios

    def _ratio(self, part: str, this: tuple[str, int], other: tuple[str, int]) -> Spread | None:
        """The ratio of two rates, taken inside each round: what disturbs a machine passes slowly."""
        rates = {(run.round, run.method, run.items): run.rate for run in self._runs if run.part == part}
        pairs = [(rates.get((round, *this)), rates.get((round, *other))) for round in {key[0] for key in rates}]
        return Spread.of(mine / its for mine, its in pairs if mine and its)

    def _best_width(self, size: int) -> str:
        """The ceiling with the best median. The best of each round would be the luckiest of three, not the ceiling."""
        groups = self._groups()

        def rate(width: str) -> float:
            spread = Spread.of(run.rate for run in groups.get(("rounds", size, width), ()))
            return spread.median if spread else 0.0

        return max(WIDTHS, key=rate)


_FAN_OUTS = (FAN_OUT, ACTIVITIES)


def _to_ceiling(size: int) -> str:
    return f"{size:,} children: fan_out / best ceiling"


def _to_gather(size: int) -> str:
    return f"{size:,} children: fan_out / gather"


def _to_base(size: int) -> str:
    return f"fan_out: {size:,} children / {BASE:,} children"


def _to_children(size: int) -> str:
    return f"fan_out: {size:,} activities / {size:,} children"


def _shown(spread: Spread | None, places: int | None = None) -> str:
    if spread is None:
        return "–"

    def number(value: float) -> str:
        if value == int(value):
            return f"{int(value):,}"
        return f"{value:,.{(1 if value < 100 else 0) if places is None else places}f}"

    if spread.count == 1 or spread.least == spread.most:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)}–{number(spread.most)})"


def _cpu_model() -> str:
    """As Linux names it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
