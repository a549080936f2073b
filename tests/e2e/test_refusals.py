"""Values that cannot work: refused before anything is in the cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import CONTEXT, Namespace, refusal
from tests.e2e.conftest import namespace


@pytest.fixture(scope="module")
def empty(api: str) -> Iterator[Namespace]:
    with namespace(api, "refusals") as made:
        yield made


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("worker.replica=3", "additional properties 'replica' not allowed"),
        ("worker.replicas=many", "got string, want integer"),
        ("worker.autoscaling.kind=vpa", "'none', 'hpa', 'keda'"),
        ("worker.autoscaling.minReplicas=0", "minimum: got 0, want 1"),
        ("temporal.enabled=false", "temporal.address: is empty"),
        ("temporal.tls.enabled=true", "temporal.tls.enabled: the dev server speaks no TLS"),
        ("scenarios.run={nope}", "scenarios.run: there is no scenario nope: name some of activities"),
        ("worker.terminationGracePeriodSeconds=40", "must be at least worker.gracefulTimeout and 30 more, 60"),
    ],
)
def test_bad_values_are_refused(empty: Namespace, values: str, says: str) -> None:
    """helm names the value, and nothing is there afterwards."""
    program = ("helm", "--kube-context", CONTEXT, "--namespace", empty.name)
    said = refusal(*program, "install", "fanout", "chart", f"--set={values}")
    assert says in said
    assert values.partition("=")[0].rpartition(".")[2] in said
    assert empty.helm("list", "--short") == ""
    assert empty.objects("pods") == []
