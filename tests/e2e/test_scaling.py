"""A worker of a user's own, deploy/own-worker, whose activities wait: what more workers bring, and what brings them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from benchmarks.cluster import own_worker, rate, set_workers

from tests.e2e.cluster import Namespace, json_of, until
from tests.e2e.conftest import addon, namespace

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def invoices(api: str, image: None) -> Iterator[Namespace]:
    """One worker, whose ten slots ten items fill."""
    own_worker()
    with namespace(api, "scaling", "invoices") as made:
        set_workers(made, 1)
        yield made


def test_a_worker_of_your_own_runs_workflows_of_your_own(invoices: Namespace) -> None:
    """The chart's Job runs a parent of the user's image, over children of it."""
    assert "invoice for grace" in invoices.start("nightly").done()


def test_four_workers_do_three_times_what_one_does(invoices: Namespace) -> None:
    """Where items fill the slots of a worker, more workers take more of them."""
    one = rate(invoices)
    set_workers(invoices, 4)
    four = rate(invoices)
    assert four >= 3 * one


def test_activities_of_a_worker_that_is_killed_are_tried_again(invoices: Namespace) -> None:
    """The pod that holds the parent is killed with 50 or more activities in flight: another process takes the parent
    over, the activities that the pod ran miss their heartbeat, and every item completes all the same."""
    set_workers(invoices, 2)
    job = invoices.start("deliveries")
    until(lambda: job.run.seen("ACTIVITY_TASK_COMPLETED"), "an activity that has ended")
    holder = job.run.holder()
    restarts = invoices.restarts(holder)
    invoices.kill(holder)
    assert job.run.in_flight() >= 50, "too little was in flight"
    job.done(180)
    assert job.outcomes() == job.run.outcomes() == {"completed": 200}
    first, *others = job.run.processes()
    assert holder in first
    assert others
    attempts = [
        event["activityTaskStartedEventAttributes"]["attempt"] for event in job.run.seen("ACTIVITY_TASK_STARTED")
    ]
    assert max(attempts) > 1
    until(lambda: invoices.restarts(holder) == restarts + 1, "a container that is started anew")


@pytest.fixture(scope="module")
def with_keda(invoices: Namespace) -> Namespace:
    """One worker again, and KEDA, which alone may add others: by tasks that wait."""
    addon(invoices.api, "keda.sh", "KEDA")
    set_workers(invoices, 0, kind="keda", cpu=0, maxReplicas=3, queueSize=10, pollingSeconds=2, scaleDownAfterSeconds=0)
    invoices.settled(1)
    return invoices


def test_keda_scales_up_and_down_with_the_backlog_and_loses_no_item(with_keda: Namespace) -> None:
    """Items that wait for a slot bring three workers; once all have their one outcome there is one worker again."""
    (first,) = with_keda.names("worker")
    job = with_keda.start("deliveries")
    three = {pod["metadata"]["name"] for pod in with_keda.settled(3)}
    assert job.run.is_open(), "the run ended before there were three workers"
    finished = "temporal_activity_succeed_endtoend_latency_seconds_count"
    until(lambda: all(with_keda.metric(pod, finished) for pod in three), "items of each of three workers", 60)
    job.done(120)
    assert job.outcomes() == job.run.outcomes() == {"completed": 600}
    with_keda.settled(1, 240)
    scaled = json_of(f"{with_keda.api}/apis/keda.sh/v1alpha1/namespaces/{with_keda.name}/scaledobjects")["items"]
    assert [one["spec"]["minReplicaCount"] for one in scaled] == [1]
    assert first in three


def test_the_horizontal_pod_autoscaler_reacts(invoices: Namespace) -> None:
    """A worker that uses more CPU than it is to gets others beside it."""
    set_workers(invoices, 0, kind="hpa", cpu=15, maxReplicas=3)
    invoices.settled(1)
    job = invoices.start("deliveries")
    until(lambda: len(invoices.names("worker")) > 1, "a second worker", 180)
    job.done(180)
    assert job.outcomes() == {"completed": 600}
