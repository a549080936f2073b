"""The cluster, the image in it, and namespaces that are gone afterwards, whatever happened."""

from __future__ import annotations

import contextlib
import subprocess
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import CLUSTER, CONTEXT, LABEL, Namespace, command, json_of, proxy, until
from tests.needs import missing, needs

OPEN: list[Namespace] = []
"""The namespaces that are there now."""
TOLD: list[BaseException | None] = []
"""What has been shown with its namespace."""

_UP = "make kind-up, or in CI ../shared/cluster/up --config kind.yaml"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What fails shows its namespace: pods, events, logs. A fixture that fails does so once for all that ask for it."""
    report = yield
    why = call.excinfo.value if call.excinfo else None
    if report.failed and report.when != "teardown" and why not in TOLD:
        TOLD.append(why)
        used = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Namespace)]
        for namespace in used or OPEN:
            with contextlib.suppress(subprocess.SubprocessError):
                report.sections.append((f"namespace {namespace.name}", namespace.story()))
    return report


@pytest.fixture(scope="session")
def api() -> Iterator[str]:
    """The address of the cluster's API. Both at the start and at the end nothing of the tests is there."""
    needs("docker", "install Docker Engine")
    needs("kind", "install kind, as by: go install sigs.k8s.io/kind@latest")
    needs("kubectl", "install kubectl")
    needs("helm", "install Helm 3.14 or later, as by: go install helm.sh/helm/v4/cmd/helm@latest")
    asked = ["kubectl", "--context", CONTEXT, "get", "--raw=/readyz", "--request-timeout=10s"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        missing(f"the cluster {CLUSTER} does not answer: {_UP}")
    with proxy() as api:
        nodes = [node["metadata"]["name"] for node in json_of(f"{api}/api/v1/nodes")["items"]]
        if len(nodes) < 2:
            missing(f"the cluster {CLUSTER} has one node, and one is to be drained: make kind-down, then {_UP}")
        _clean(nodes)
        try:
            yield api
        finally:
            _clean(nodes)


def _clean(nodes: list[str]) -> None:
    kubectl = ("kubectl", "--context", CONTEXT)
    command(*kubectl, "uncordon", *nodes)
    command(*kubectl, "delete", "namespaces", f"--selector={LABEL}", "--ignore-not-found", "--timeout=240s")


@pytest.fixture(scope="session")
def image(api: str) -> None:
    """The image, built once from what is here, and loaded into the cluster."""
    command("make", "kind-up", seconds=600)


@contextlib.contextmanager
def namespace(api: str, purpose: str, release: str = "fanout") -> Iterator[Namespace]:
    """A namespace of its own that enforces the restricted profile."""
    name = f"e2e-{purpose}-{uuid.uuid4().hex[:6]}"
    made = Namespace(name, api, release)
    kubectl = ("kubectl", "--context", CONTEXT)
    command(*kubectl, "create", "namespace", name)
    OPEN.append(made)
    try:
        command(*kubectl, "label", "namespace", name, f"{LABEL}=true", "pod-security.kubernetes.io/enforce=restricted")
        yield made
    finally:
        OPEN.remove(made)
        command(*kubectl, "delete", "namespace", name, "--wait=false")


def as_a_newcomer(namespace: Namespace, folder: Path) -> dict[str, str]:
    """The environment of one who has a new cluster, which kubectl and helm speak to; `default` is this namespace."""
    path = str(folder / "kubeconfig")
    command("kind", "export", "kubeconfig", f"--name={CLUSTER}", f"--kubeconfig={path}")
    command("kubectl", "config", "set-context", "--current", f"--namespace={namespace.name}", KUBECONFIG=path)
    return {"KUBECONFIG": path, "NAMESPACE": namespace.name}


def addon(api: str, group: str, name: str) -> None:
    """Asks for an addon of the cluster by the group of its resources."""
    groups = {found["name"] for found in json_of(f"{api}/apis")["groups"]}
    if group not in groups:
        missing(f"{name} is not in the cluster {CLUSTER}: install it, in CI by ../shared/cluster/addon")


@pytest.fixture(scope="session")
def query(api: str) -> Callable[[str], dict[str, float]]:
    """Asks the operator's Prometheus: the value of each series, by its labels written as name=value,…"""
    addon(api, "monitoring.coreos.com", "the Prometheus operator")
    prometheus = f"{api}/api/v1/namespaces/monitoring/services/prometheus-operated:9090/proxy/api/v1"

    def ask(expression: str) -> dict[str, float]:
        found = json_of(f"{prometheus}/query", query=expression)["data"]["result"]
        return {
            ",".join(f"{key}={value}" for key, value in sorted(one["metric"].items())): float(one["value"][1])
            for one in found
        }

    until(lambda: ask("vector(1)"), "an answer of Prometheus")
    return ask
