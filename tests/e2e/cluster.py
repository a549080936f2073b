"""A real cluster of kind, and what a user does there with helm and kubectl.

What is only looked at comes through one `kubectl proxy`: a process for each look would take CPU that the cluster needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from tests.e2e.runs import Run

ROOT = Path(__file__).parents[2]
CLUSTER = "fanout"
CONTEXT = f"kind-{CLUSTER}"
LABEL = "fanout-e2e"
"""Of every namespace that the tests make."""

Object: TypeAlias = dict[str, Any]
Values: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

_GROUPS = {"pods": "api/v1", "persistentvolumeclaims": "api/v1", "jobs": "apis/batch/v1", "deployments": "apis/apps/v1"}


def command(*args: str | Path, text: str = "", seconds: float = 300, **env: str) -> str:
    """Runs it in the repository, and gives its standard output; fails with all that it said."""
    ended = subprocess.run(
        args, input=text, capture_output=True, text=True, timeout=seconds, cwd=ROOT, env=os.environ | env, check=False
    )
    assert ended.returncode == 0, f"{' '.join(map(str, args))}: exit {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def refusal(*args: str | Path, text: str = "") -> str:
    """What a command says that must not succeed."""
    ended = subprocess.run(args, input=text, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False)
    assert ended.returncode != 0, f"{' '.join(map(str, args))} succeeds:\n{ended.stdout}"
    return ended.stderr


def until(condition: Callable[[], T], what: str, seconds: float = 180) -> T:
    """Waits until the condition gives something true, and returns it."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}; it is {value!r}"
        time.sleep(0.3)
    return value


@contextlib.contextmanager
def proxy() -> Iterator[str]:
    """The address of the cluster's API, without a login, on this machine."""
    process = subprocess.Popen(
        ["kubectl", "--context", CONTEXT, "proxy", "--port=0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        said = process.stdout.readline()  # Starting to serve on 127.0.0.1:PORT
        yield f"http://{said.split()[-1]}"
    finally:
        process.terminate()
        process.wait()


def text_of(url: str, **parameters: str | int) -> str:
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def json_of(url: str, **parameters: str | int) -> Any:
    return json.loads(text_of(url, **parameters))


@dataclass
class Namespace:
    """A namespace of the cluster, with a release in it."""

    name: str
    api: str
    release: str = "fanout"

    # -- what is done

    def kubectl(self, *args: str, text: str = "", seconds: float = 300) -> str:
        return command("kubectl", "--context", CONTEXT, "--namespace", self.name, *args, text=text, seconds=seconds)

    def helm(self, *args: str, values: Values | None = None) -> str:
        with_values = [] if values is None else ["--values=-"]
        program = ("helm", "--kube-context", CONTEXT, "--namespace", self.name)
        return command(*program, *args, *with_values, text=json.dumps(values or {}))

    def install(self, values: Values, *args: str, release: str = "") -> str:
        """Installs the chart with these values and no others, or upgrades what is there to them."""
        name = release or self.release
        return self.helm("upgrade", "--install", name, "chart", "--wait", "--timeout=3m", *args, values=values)

    def start(self, scenario: str) -> Job:
        """A Job from the CronJob of this scenario."""
        name = f"{scenario}-{time.monotonic_ns() // 1_000_000}"
        self.kubectl("create", "job", f"--from=cronjob/{_fullname(self.release)}-{scenario}", name)
        return self.job(name)

    def scale(self, replicas: int) -> None:
        """The workers to this number, all ready and no other left."""
        self.kubectl("scale", f"deployment/{_fullname(self.release)}-worker", f"--replicas={replicas}")
        self.settled(replicas)

    def settled(self, replicas: int, seconds: float = 180) -> list[Object]:
        """The workers, once there are so many, all ready, and none that is stopping."""

        def are_there() -> list[Object]:
            pods = self.objects("pods", component="worker")
            return pods if len(pods) == replicas and all(map(is_ready, pods)) else []

        return until(are_there, f"{replicas} workers in {self.name}", seconds)

    def kill(self, pod: str) -> None:
        """SIGKILL to the pod's container, as when its memory is used up: no warning, and the pod starts it anew."""
        found = json_of(f"{self.api}/api/v1/namespaces/{self.name}/pods/{pod}")
        container = found["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        node = found["spec"]["nodeName"]
        command("docker", "exec", node, "ctr", "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", container)

    # -- what is seen

    def objects(self, resource: str, component: str = "", **labels: str) -> list[Object]:
        """Pods, jobs and the like, of a component of the chart's where one is given."""
        wanted = {f"app.kubernetes.io/{key}": value for key, value in labels.items()}
        if component:
            wanted["app.kubernetes.io/component"] = component
        selector = ",".join(f"{key}={value}" for key, value in wanted.items())
        url = f"{self.api}/{_GROUPS[resource]}/namespaces/{self.name}/{resource}"
        items: list[Object] = json_of(url, labelSelector=selector)["items"]
        return items

    def restarts(self, pod: str) -> int:
        """How often the pod's container was started anew."""
        found = json_of(f"{self.api}/api/v1/namespaces/{self.name}/pods/{pod}")
        return int(found["status"]["containerStatuses"][0]["restartCount"])

    def names(self, component: str) -> set[str]:
        """The names of a component's pods."""
        return {pod["metadata"]["name"] for pod in self.objects("pods", component)}

    def job(self, name: str) -> Job:
        return Job(self, json_of(f"{self.api}/apis/batch/v1/namespaces/{self.name}/jobs/{name}"))

    def run(self, id: str) -> Run:
        service = f"{_fullname(self.release)}-temporal:ui"
        return Run(f"{self.api}/api/v1/namespaces/{self.name}/services/{service}/proxy/api/v1/namespaces/default", id)

    def metric(self, pod: str, name: str) -> float:
        """The sum of a metric over all its labels, of one pod."""
        text = text_of(f"{self.api}/api/v1/namespaces/{self.name}/pods/{pod}:9090/proxy/metrics")
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    def story(self) -> str:
        """What somebody wants to read whose test has failed."""
        program = ["kubectl", "--context", CONTEXT, "--namespace", self.name]
        wanted = (
            ["get", "all", "--output=wide"],
            ["get", "events", "--sort-by=.lastTimestamp"],
            ["logs", "--selector=app.kubernetes.io/name=temporal-fanout", "--all-containers", "--prefix", "--tail=30",
             "--ignore-errors", "--max-log-requests=50"],
        )  # fmt: skip
        told = []
        for args in wanted:
            ended = subprocess.run([*program, *args], capture_output=True, text=True, timeout=60, check=False)
            told.append(f"$ kubectl {' '.join(args)}\n{ended.stdout}{ended.stderr}")
        return "\n".join(told)


def _fullname(release: str) -> str:
    """As the chart has it."""
    return release if "fanout" in release else f"{release}-fanout"


def is_ready(pod: Object) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True"


_SUMMARY = re.compile(r"^ *(\d+) items(?: in ([\d.]+) s)?: ([a-z0-9 ,]+)(?:;.+)?$", re.MULTILINE)
"""Of a run, as the log of its Job has it at the end."""


@dataclass
class Job:
    """A Job that runs a scenario."""

    namespace: Namespace
    seen: Object
    """As it was when it was started."""

    @property
    def name(self) -> str:
        return str(self.seen["metadata"]["name"])

    @cached_property
    def run(self) -> Run:
        """Its run, whose id comes from the Job's."""
        uid = self.seen["metadata"]["uid"]
        return self.namespace.run(f"{self.scenario}-{uid}")

    @property
    def scenario(self) -> str:
        return str(self.seen["spec"]["template"]["metadata"]["labels"]["fanout/scenario"])

    def end(self) -> Object:
        """The condition with which it ended; empty while it has not."""
        conditions: list[Object] = self.namespace.job(self.name).seen.get("status", {}).get("conditions", [])
        ends = [one for one in conditions if one["type"] in ("Complete", "Failed") and one["status"] == "True"]
        return ends[0] if ends else {}

    def ended(self, seconds: float = 180) -> str:
        """Complete or Failed, once it is either."""
        return str(until(self.end, f"the end of {self.name}", seconds)["type"])

    def done(self, seconds: float = 180) -> str:
        """Its log, once it is complete."""
        assert self.ended(seconds) == "Complete", self.log()
        return self.log()

    def pods(self) -> list[Object]:
        uid = self.seen["metadata"]["uid"]
        owned = self.namespace.objects("pods", "scenario")
        return [pod for pod in owned if pod["metadata"]["ownerReferences"][0]["uid"] == uid]

    def log(self) -> str:
        """Of its last pod."""
        last = max(self.pods(), key=lambda pod: pod["metadata"]["creationTimestamp"])
        return self.namespace.kubectl("logs", last["metadata"]["name"])

    def outcomes(self) -> Counter[str]:
        """What became of its items, as its log says."""
        total, _, counts = self._summary()
        parts = (part.split(maxsplit=1) for part in counts.split(", "))
        outcomes = Counter({outcome.replace(" ", "_"): int(count) for count, outcome in parts})
        assert outcomes.total() == int(total), self.log()
        return outcomes

    def seconds(self) -> float:
        """From its run's start to its end, as its log says."""
        return float(self._summary()[1])

    def _summary(self) -> tuple[str, str, str]:
        log = self.log()
        found: list[tuple[str, str, str]] = _SUMMARY.findall(log)
        assert found, f"no counts in the log of {self.name}:\n{log}"
        return found[-1]
