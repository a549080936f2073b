"""What the chart's workers do on a cluster: `python -m benchmarks.cluster`, after `make kind-up`. Takes three minutes.

Four workers next to one, over activities that wait a second and 10 slots a worker, in three interleaved rounds; the
time until a worker's pod is ready; the memory of an idle worker; the image. It never fails for speed.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from statistics import median
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from tests.e2e.cluster import CLUSTER, ROOT, Namespace, command, proxy, until
from tests.e2e.conftest import namespace

MANY = 4
SLOTS = 10
SECONDS_OF_WORK = 10
"""That every slot is busy in a run: long next to what a run's start and end take."""
OWN_WORKER = ROOT / "deploy/own-worker"


def own_worker() -> None:
    """The image of deploy/own-worker, in the cluster."""
    command("docker", "build", "--tag=invoices:1", OWN_WORKER)
    command("kind", "load", "docker-image", f"--name={CLUSTER}", "invoices:1")


def set_workers(made: Namespace, replicas: int, **autoscaling: Any) -> None:
    """Installs deploy/own-worker, or changes the number of its workers; with 0, something else decides on it."""
    seconds = SECONDS_OF_WORK * replicas or 60  # of one worker: a scaler needs some to see that there is much to do
    items = [f"customer {n}" for n in range(SLOTS * seconds)]
    deliveries = {"values": items, "options": {"max_concurrency": 100}}
    worker = {"replicas": replicas, "maxConcurrentActivities": SLOTS, "autoscaling": autoscaling}
    values = {"worker": worker, "scenarios": {"custom": {"deliveries": deliveries}}}
    made.install(values, f"--values={OWN_WORKER}/values.yaml")
    if replicas:
        made.settled(replicas)


def rate(made: Namespace) -> float:
    """Items a second of one run, from its start to its end."""
    job = made.start("deliveries")
    job.done(300)
    return job.outcomes()["completed"] / job.seconds()


def seconds_to_ready(pod: dict[str, Any]) -> float:
    """From its creation until it was ready, by the cluster's clock, in whole seconds."""
    (ready,) = (one["lastTransitionTime"] for one in pod["status"]["conditions"] if one["type"] == "Ready")
    took = datetime.fromisoformat(ready) - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    return took.total_seconds()


def idle_mebibytes(made: Namespace) -> list[float]:
    """Of each worker, once the cluster has measured all of them."""
    names = made.names("worker")

    def measured() -> dict[str, str]:
        with contextlib.suppress(AssertionError):  # where none is measured yet, the command fails
            lines = made.kubectl("top", "pods", "--no-headers", "--selector=app.kubernetes.io/component=worker")
            used = {name: memory for name, _, memory in map(str.split, lines.splitlines())}
            return used if used.keys() == names else {}
        return {}

    return [float(memory.removesuffix("Mi")) for memory in until(measured, "metrics of the workers").values()]


def megabytes_beyond_base() -> float:
    """Of the image, what its base does not have."""
    version = yaml.safe_load((ROOT / "chart/Chart.yaml").read_text())["appVersion"]
    images = (f"temporal-fanout:{version}", "python:3.13-slim")
    ours, base = (json.loads(command("docker", "image", "inspect", image))[0]["Size"] for image in images)
    return float(ours - base) / 1e6


def measure(api: str) -> Iterator[tuple[str, str]]:
    yield "image beyond its base", f"{megabytes_beyond_base():.0f} MB"
    with namespace(api, "bench") as made:
        made.install({})
        began = time.monotonic()
        made.kubectl("rollout", "restart", "deployment/fanout-worker")
        made.kubectl("rollout", "status", "deployment/fanout-worker", "--timeout=2m")
        ready = [seconds_to_ready(pod) for pod in made.settled(2)]
        yield "a worker's pod, from its creation to ready", f"{max(ready):.0f} s at most, of {len(ready)}"
        yield "a rollout of two workers", f"{time.monotonic() - began:.0f} s"
        yield "an idle worker", f"{max(idle_mebibytes(made)):.0f} MiB at most, of 2"
    own_worker()
    with namespace(api, "bench", "invoices") as made:
        rates: dict[int, list[float]] = {1: [], MANY: []}
        for _ in range(3):
            for replicas, found in rates.items():
                set_workers(made, replicas)
                found.append(rate(made))
        for replicas, found in rates.items():
            yield f"workers: {replicas}", f"{median(found):.1f} items/s ({_range(found)})"
        ratios = [many / one for one, many in zip(*rates.values(), strict=True)]
        yield f"workers: {MANY} / 1", f"{median(ratios):.2f} ({_range(ratios)})"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f}–{max(values):.2f}"


def main() -> None:
    table = Table("what", "value", box=None, pad_edge=False)
    with proxy() as api:
        for what, value in measure(api):
            table.add_row(what, value)
    Console().print(table)


if __name__ == "__main__":
    main()
