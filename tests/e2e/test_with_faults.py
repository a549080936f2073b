"""Faults in the middle of a run: every item has exactly one outcome, and something shows that the fault hit the run.

The last test drains a node, which moves whatever else is in the cluster: no other module comes after this one.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import CONTEXT, Namespace, command, json_of, until
from tests.e2e.conftest import namespace
from tests.e2e.runs import Run

pytestmark = pytest.mark.timeout(900)

CHILDREN = 1000
HELD = 300
"""Children of a run that is one history, so that its parent holds them all."""


def values(turn: str) -> dict[str, object]:
    """Of a release whose dev server is on a volume, on the node that is not drained; a new turn starts workers anew."""
    # Forty a second leave CPU for what happens beside them; a run at full speed has its 200 in flight all the time.
    paced = {"values": list(range(1, CHILDREN + 1)), "options": {"starts_per_second": 40}}
    held = {"values": list(range(1, HELD + 1)), "options": {"shard_size": HELD, "max_concurrency": 200}}
    return {
        "temporal": {
            "persistence": {"enabled": True},
            "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
        },
        "worker": {"podAnnotations": {"turn": turn}},
        "scenarios": {"custom": {"paced": paced, "held": held}},
    }


@pytest.fixture(scope="module")
def faults(api: str, image: None) -> Iterator[Namespace]:
    with namespace(api, "faults") as made:
        made.install(values("first"))
        yield made


@contextlib.contextmanager
def in_the_middle(namespace: Namespace, scenario: str, count: int, after: int = 50) -> Iterator[Run]:
    """Starts a run over 1, 2, … count, gives it once some children have ended, and then asks for each one's outcome."""
    job = namespace.start(scenario)
    run = job.run
    until(lambda: run.is_open() and run.count("Completed") >= after, f"{after} children of {run.id} that completed")
    yield run
    job.done(300)
    ended = {value - 1: "COMPLETED" if value % 2 else "FAILED" for value in range(1, count + 1)}
    assert run.children() == {f"{run.id}.{index}": [status] for index, status in ended.items()}
    assert job.outcomes() == run.outcomes() == Counter(completed=count // 2, failed=count // 2)


def test_an_upgrade_loses_no_item(faults: Namespace) -> None:
    """Workers are replaced while 1,000 children run: the run's history has tasks of old pods and of new ones."""
    old = faults.names("worker")
    with in_the_middle(faults, "paced", CHILDREN) as run:
        faults.install(values("second"))
        assert run.is_open(), "the run ended before the upgrade did"
    new = {pod["metadata"]["name"] for pod in faults.settled(2)}
    assert not old & new
    assert run.workers() & old
    assert run.workers() & new


def test_a_worker_that_is_killed_loses_no_item(faults: Namespace) -> None:
    """The pod that holds the parent is killed with 50 or more children in flight: another process takes it over."""
    with in_the_middle(faults, "held", HELD, after=20) as run:
        holder = run.holder()
        restarts = faults.restarts(holder)
        faults.kill(holder)
        assert run.in_flight() >= 50, "too little was in flight"
    first, *others = run.processes()
    assert holder in first
    assert others
    until(lambda: faults.restarts(holder) == restarts + 1, "a container that is started anew")


def test_more_workers_and_fewer_lose_no_item(faults: Namespace) -> None:
    """One worker, then four, which all have completed workflows, then one: three pods are taken away during the run."""
    faults.scale(1)
    with in_the_middle(faults, "paced", CHILDREN) as run:
        faults.scale(4)
        four = faults.names("worker")
        completed = "temporal_workflow_completed_total"
        until(lambda: all(faults.metric(pod, completed) for pod in four), "work done by each of four workers")
        assert run.is_open(), "the run ended before four workers were at work"
        faults.kubectl("scale", "deployment/fanout-worker", "--replicas=1")
        until(lambda: len(faults.names("worker")) < 4, "a worker that is gone")
        assert run.is_open(), "the run ended before a worker was taken away"
    faults.scale(2)


def test_a_server_that_is_replaced_on_its_volume_loses_no_item(faults: Namespace) -> None:
    """The dev server's pod is replaced by another, which still has the run open, and its history from the beginning."""
    (old,) = faults.objects("pods", "temporal")
    with in_the_middle(faults, "paced", CHILDREN) as run:
        begun = len(run.events())
        faults.kubectl("rollout", "restart", "deployment/fanout-temporal")
        faults.kubectl("rollout", "status", "deployment/fanout-temporal", "--timeout=2m")
        (new,) = faults.objects("pods", "temporal")
        assert new["metadata"]["uid"] != old["metadata"]["uid"]
        until(run.status, "an answer of the new server")
        assert run.is_open(), "the run ended before the server was replaced"
    events = run.events()
    assert len(events) > begun
    assert events[0]["eventTime"] < new["metadata"]["creationTimestamp"] < events[-1]["eventTime"]


def test_a_drained_node_loses_no_item(faults: Namespace) -> None:
    """A node is drained while 1,000 children run: its worker, which has completed some, is gone; another takes over."""
    nodes = json_of(f"{faults.api}/api/v1/nodes")["items"]
    (node,) = (
        one["metadata"]["name"] for one in nodes
        if "node-role.kubernetes.io/control-plane" not in one["metadata"]["labels"]
    )  # fmt: skip
    settled = faults.settled(2)
    (there,) = (pod["metadata"]["name"] for pod in settled if pod["spec"]["nodeName"] == node)
    before = faults.metric(there, "temporal_workflow_completed_total")
    try:
        with in_the_middle(faults, "paced", CHILDREN) as run:
            assert faults.metric(there, "temporal_workflow_completed_total") > before
            options = ("--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")
            command("kubectl", "--context", CONTEXT, "drain", node, *options)
            assert run.is_open(), "the run ended before the node was drained"
        now = faults.settled(2)
        assert there not in {pod["metadata"]["name"] for pod in now}
        assert node not in {pod["spec"]["nodeName"] for pod in now}
    finally:
        command("kubectl", "--context", CONTEXT, "uncordon", node)
