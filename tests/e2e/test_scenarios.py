"""The chart without values, every scenario by each of the three ways to run it, and one truth about them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from temporal_fanout import lab
from temporal_fanout.lab.scenarios import SCENARIOS
from tests.e2e.cluster import CONTEXT, Job, Namespace, is_ready, json_of, refusal, until
from tests.e2e.conftest import namespace

Query = Callable[[str], dict[str, float]]

pytestmark = pytest.mark.timeout(900)

MONITORED = {
    "monitoring": {
        "podMonitor": {"enabled": True, "interval": "5s", "scrapeTimeout": "5s"},
        "rules": {"enabled": True},
    },
    "exporter": {"enabled": True, "intervalSeconds": 5},
    "scenarios": {
        "run": list(SCENARIOS),
        "custom": {
            "wrong-option": {"values": [1], "options": {"max_concurrency": -1}},
            "wrong-source": {"source": "/etc/hostname"},
        },
    },
}

RATIO = "namespace_parent_type:fanout_items_completed_per_finished:ratio_increase1h"

COUNTED = [name for name, scenario in SCENARIOS.items() if scenario.workflow == lab.PARENT]
"""Those that end with the counts of a fan-out; a parent of another type returns what it likes."""
OURS = f'parent_type="{lab.PARENT}"'


@pytest.fixture(scope="module")
def plain(api: str, image: None) -> Iterator[Namespace]:
    """The chart with no values."""
    with namespace(api, "scenarios") as made:
        made.helm("install", "fanout", "chart", "--wait", "--timeout=3m")
        yield made


def test_the_chart_runs_without_values_where_pods_are_restricted(plain: Namespace) -> None:
    """The namespace refuses a pod that is not restricted, and the chart's are there and ready."""
    bad = ("run", "bad", "--image=bad", "--dry-run=server")
    said = refusal("kubectl", "--context", CONTEXT, "--namespace", plain.name, *bad)
    assert 'violates PodSecurity "restricted' in said
    pods = plain.objects("pods")
    assert sorted(pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods) == [
        "temporal", "worker", "worker",
    ]  # fmt: skip
    assert all(map(is_ready, pods))


def test_helm_test_runs_the_default_scenario_and_checks_it(plain: Namespace) -> None:
    """`helm test` succeeds, and its log says what it found."""
    said = plain.helm("test", "fanout", "--logs")
    assert "3 of 5 items completed, and the two even ones failed, as expected" in said


@pytest.fixture(scope="module")
def jobs(plain: Namespace, query: Query) -> dict[str, list[Job]]:
    """Of each scenario three Jobs that have ended: the chart's, one from its CronJob, and that of deploy/jobs."""
    plain.install(MONITORED)
    made = {name: [plain.start(name)] for name in SCENARIOS}
    plain.kubectl("apply", "--filename=deploy/jobs")
    for found in plain.objects("jobs"):
        job = Job(plain, found)
        if job.scenario in made and job.name != made[job.scenario][0].name:
            made[job.scenario].append(job)
    for job in made["hold"]:
        skip_what_is_held(job)
    for name, three in made.items():
        assert len(three) == 3, [job.name for job in three]
        for job in three:
            assert job.ended(600) == ("Failed" if name == "strict" else "Complete"), job.log()
    return made


def skip_what_is_held(job: Job) -> None:
    """What a person does of whom the Job's log asks it."""
    until(job.run.is_open, f"the run of {job.name}", 600)
    until(lambda: "held for a person: 2;" in job.log(), f"held items of {job.name}", 600)
    job.namespace.kubectl("exec", "deployment/fanout-worker", "--", "fanout", "skip", job.run.id, "--all")


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_log_and_the_web_ui_agree(jobs: dict[str, list[Job]], name: str) -> None:
    """Each of a scenario's three Jobs ended as the scenario promises, and its log has what the API has."""
    promised = re.match(r"([\d,]+) of ([\d,]+) complete", SCENARIOS[name].expected)
    for job in jobs[name]:
        log = job.log()
        assert job.run.status() == ("FAILED" if name == "strict" else "COMPLETED")
        if name == "strict":
            assert job.run.outcomes() == job.outcomes()
            assert job.outcomes()["not_started"] > 0
            assert "ToleratedFailureExceeded: more items failed than the 5 that are tolerated" in log.splitlines()[-1]
        else:
            # among the last: a line of progress on stderr may come after it, since the log joins two streams
            assert any(line.endswith(f"({job.run.id})") for line in log.splitlines()[-3:])
        if name not in COUNTED:
            assert json.loads(log[log.index("{") : log.rindex("}") + 1]) == job.run.result()
        elif name != "strict":
            assert promised
            completed, total = (int(number.replace(",", "")) for number in promised.groups())
            assert job.run.outcomes() == job.outcomes() == +Counter(completed=completed, failed=total - completed)
        assert len(job.pods()) == 1


def test_prometheus_has_the_same_counts(plain: Namespace, jobs: dict[str, list[Job]], query: Query) -> None:
    """The exporter's are equal to the API's of all runs of the lab's parent; the workers' may have a workflow task's
    items twice."""
    (tested,) = plain.objects("pods", "test")  # by helm test
    runs = [plain.run(f"test-{tested['metadata']['uid']}"), *(job.run for name in COUNTED for job in jobs[name])]
    truth = sum((run.outcomes() for run in runs), Counter())
    ours = f'job="{plain.name}/fanout-pods"'

    def exported() -> dict[str, float]:
        return query(f"sum by (outcome) (fanout_exporter_items_total{{{ours},{OURS}}}) > 0")

    wanted = {f"outcome={outcome}": float(count) for outcome, count in truth.items()}
    until(lambda: exported() == wanted, f"{wanted} in Prometheus, which has {exported()}", 60)
    finished = truth.total() - truth["not_started"]
    (counted,) = query(f"sum(fanout_items_finished_total{{{ours},{OURS}}})").values()
    assert finished <= counted <= finished * 1.02
    assert query(f"count by (job) (up{{{ours}}} == 1)") == {f"job={plain.name}/fanout-pods": 3}


def test_the_operator_has_taken_the_rules(plain: Namespace, jobs: dict[str, list[Job]], query: Query) -> None:
    """Its Prometheus evaluates every rule of the chart without an error, and the success rate is that of the runs."""
    prometheus = f"{plain.api}/api/v1/namespaces/monitoring/services/prometheus-operated:9090/proxy/api/v1"

    def evaluated() -> list[Any]:
        groups = json_of(f"{prometheus}/rules")["data"]["groups"]
        ours = (group for group in groups if f"{plain.name}-fanout-rules" in group["file"])
        rules = [rule for group in ours for rule in group["rules"]]
        return rules if all(rule["health"] == "ok" for rule in rules) else []

    rules = until(evaluated, "the rules in Prometheus")
    names = {rule["name"] for rule in rules}
    assert {"FanoutToleranceBreached", RATIO} <= names
    assert {rule["lastError"] for rule in rules if rule.get("lastError")} == set()
    finished = sum((job.run.outcomes() for name in COUNTED for job in jobs[name]), Counter())
    rate = finished["completed"] / (finished.total() - finished["not_started"])
    (counted,) = query(f"{RATIO}{{{OURS}}}").values()
    assert counted == pytest.approx(rate, abs=0.02)


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        ("wrong-option", "error: max_concurrency: must be a whole number from 1 to 2147483647"),
        ("wrong-source", "is not below a source root of the worker"),
    ],
)
def test_wrong_input_fails_once(plain: Namespace, jobs: dict[str, list[Job]], scenario: str, says: str) -> None:
    """Found before a run or by it, wrong input ends the Job with its first pod, though there are tries left."""
    job = plain.start(scenario)
    assert job.ended() == "Failed"
    assert job.end()["reason"] == "PodFailurePolicy"
    assert len(job.pods()) == 1
    (status,) = job.pods()[0]["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 2
    assert status["restartCount"] == 0
    assert says in job.log().splitlines()[-1]
    assert job.seen["spec"]["backoffLimit"] == 6


def test_the_dev_server_is_in_memory_unless_told(plain: Namespace, jobs: dict[str, list[Job]]) -> None:
    """Without values there is no volume: what ran is gone with the server's pod, and workers go on with the next."""
    assert plain.objects("persistentvolumeclaims") == []
    known = jobs["default"][0].run
    assert known.status() == "COMPLETED"
    plain.kubectl("rollout", "restart", "deployment/fanout-temporal")
    plain.kubectl("rollout", "status", "deployment/fanout-temporal", "--timeout=2m")
    plain.start("default").done()
    assert known.status() == ""
