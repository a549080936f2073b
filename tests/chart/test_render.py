"""What the chart makes of whole installations: chart/ci."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tests.chart.helm import CHART, CI, Object, Values, ci_values, helm, kinds, merged, only, pods, render
from tests.chart.restricted import violations

LONG = "a-release-whose-name-is-as-long-as-helm-admits-it-123"
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def test_helm_finds_nothing_to_complain_of() -> None:
    """`helm lint --strict` passes for each installation."""
    for path in CI.values():
        ended = helm("lint", "--strict", CHART, "--values", path)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", CI)
def test_every_pod_fits_the_restricted_profile(name: str) -> None:
    """A namespace that enforces the restricted profile takes every pod."""
    found = list(pods(render(ci_values(name))))
    assert found
    assert {pod.owner: list(violations(pod)) for pod in found} == {pod.owner: [] for pod in found}


@pytest.mark.parametrize("name", CI)
def test_every_pod_is_hardened(name: str) -> None:
    """No token, no variables of Services, a file system that cannot be written to, a high user, a limit of memory."""
    for pod in pods(render(ci_values(name))):
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False
        assert pod.spec["securityContext"]["runAsUser"] > 10000
        for container in pod.containers:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"]["memory"]
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}


@pytest.mark.parametrize("release", ["fanout", LONG])
@pytest.mark.parametrize("name", CI)
def test_names_fit_and_are_unique(name: str, release: str) -> None:
    """However long the release's name is: 63 characters for names and labels, 52 for a CronJob's, and none twice."""
    objects = render(ci_values(name), release=release)
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert [key for key, n in Counter(names).items() if n > 1] == []
    for kind, own in names:
        assert len(own) <= (52 if kind == "CronJob" else 63)
        assert (SERVICE if kind == "Service" else NAME).fullmatch(own)
    labels = [o["metadata"].get("labels", {}) for o in objects] + [pod.metadata["labels"] for pod in pods(objects)]
    assert all(LABEL.fullmatch(value) for own in labels for value in own.values())


def test_names_that_are_cut_stay_apart() -> None:
    """Two releases with long names that differ at their end alone share no name."""
    first, second = (
        {(o["kind"], o["metadata"]["name"]) for o in render(ci_values("everything"), release=LONG[:-1] + end)}
        for end in "12"
    )
    assert first & second == set()


@pytest.mark.parametrize("name", CI)
def test_every_object_has_the_standard_labels(name: str) -> None:
    """Each object of the chart's says what it is, whose, of which version, and who made it."""
    for found in render(ci_values(name)):
        labels = found["metadata"].get("labels", {})
        if "helm.sh/chart" in labels:
            keys = ("name", "instance", "component", "version", "managed-by", "part-of")
            assert {f"app.kubernetes.io/{key}" for key in keys} <= set(labels)
        else:
            assert name in {"no-worker", "everything"}, found["metadata"]  # extraObjects


def immutable(found: Object) -> Any:
    """What the API server lets nobody change."""
    spec = found.get("spec", {})
    if found["kind"] == "Deployment":
        return spec["selector"]
    if found["kind"] == "Job":
        return spec
    if found["kind"] == "PersistentVolumeClaim":
        return spec["accessModes"], spec.get("storageClassName")
    return None


@pytest.mark.parametrize(("before", "after"), list(permutations(CI, 2)))
def test_an_upgrade_changes_nothing_that_is_immutable(before: str, after: str) -> None:
    """From any installation to any other selectors and volume claims stay, and a Job that differs has another name."""
    # What is for good from the first install on.
    kept = {"nameOverride": "", "temporal": {"persistence": {"accessMode": "ReadWriteOnce"}}}
    old, new = (
        {(o["kind"], o["metadata"]["name"]): immutable(o) for o in render(merged(ci_values(name), kept))}
        for name in (before, after)
    )
    shared = old.keys() & new.keys()
    assert shared
    assert {key: old[key] for key in shared} == {key: new[key] for key in shared}


def test_another_image_makes_other_jobs() -> None:
    """A Job's template cannot change, so with another image its name is another."""
    run = {"scenarios": {"run": ["default"]}}
    label = {"a": "b"}
    changes: list[Values] = [
        {},
        {"image": {"tag": "2"}},
        {"scenarios": {"podLabels": label}},
        {"commonLabels": {"a": "c"}},
    ]
    names = {only(render(merged(run, change)), "Job")["metadata"]["name"] for change in changes}
    assert len(names) == 4


def test_a_version_of_the_chart_alone_starts_no_pod_anew(tmp_path: Path) -> None:
    """With another version of the chart every pod's template is what it was."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    about = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(about.replace("version: 0.1.0\napp", "version: 9.9.9\napp"))
    values = ci_values("everything")
    new = render(values, chart=chart)
    assert only(new, "Service")["metadata"]["labels"]["helm.sh/chart"] == "temporal-fanout-9.9.9"
    of_workloads = [[pod for pod in pods(objects) if "-test" not in pod.owner] for objects in (render(values), new)]
    assert of_workloads[0] == of_workloads[1]


def test_a_change_of_the_settings_starts_workers_and_exporter_anew() -> None:
    """What pods read when they start is in their template by its checksum."""
    values = {"exporter": {"enabled": True}}
    old, new = render(values), render(merged(values, {"logLevel": "DEBUG"}))
    for component in ("worker", "exporter"):
        before, after = (only(objects, "Deployment", component)["spec"]["template"] for objects in (old, new))
        assert before != after


def test_numbers_are_written_out() -> None:
    """A month in seconds is no 2.592e+06, which no API server takes for a whole number."""
    objects = render(ci_values("everything"))
    worker = only(objects, "Deployment", "worker")["spec"]["template"]["spec"]
    assert worker["terminationGracePeriodSeconds"] == 2_592_000
    assert isinstance(worker["terminationGracePeriodSeconds"], int)
    assert all(isinstance(job["spec"]["ttlSecondsAfterFinished"], int) for job in kinds(objects, "Job"))


def test_the_chart_is_packaged_whole(tmp_path: Path) -> None:
    """The package of the chart renders what the folder does: it has all its files, and no link."""
    ended = helm("package", CHART, "--destination", tmp_path)
    assert ended.returncode == 0, ended.stderr
    values = ci_values("everything")
    assert render(values, chart=next(tmp_path.glob("*.tgz"))) == render(values)
    assert not [path for path in CHART.rglob("*") if path.is_symlink()]
