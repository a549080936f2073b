"""The chart, as helm renders it."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tests.needs import needs

ROOT = Path(__file__).parents[2]
CHART = ROOT / "chart"
CI = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
"""Values of whole installations, by name."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where it is there

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object, or a map in one."""
Values: TypeAlias = Mapping[str, Any]


def helm(*args: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    program = needs("helm", "install Helm 3.14 or later, as by: go install helm.sh/helm/v4/cmd/helm@latest")
    return subprocess.run([program, *args], input=text, capture_output=True, text=True, check=False)


def template(values: Values, release: str = "fanout", chart: Path = CHART) -> subprocess.CompletedProcess[str]:
    """`helm template` with these values, into the namespace fanout-test."""
    given = json.dumps(values)
    return helm("template", release, chart, "--namespace=fanout-test", "--kube-version=1.34", "--values=-", text=given)


@functools.cache
def _rendered(values: str, release: str, chart: Path) -> str:
    ended = template(json.loads(values), release=release, chart=chart)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def render(values: Values | None = None, release: str = "fanout", chart: Path = CHART) -> list[Object]:
    """The objects that the chart makes of these values."""
    text = _rendered(json.dumps(values or {}), release, chart)
    return [found for found in yaml.load_all(text, LOADER) if found]


def ci_values(name: str) -> Object:
    values: Object = yaml.safe_load(CI[name].read_text())
    return values


def refusal(values: Values) -> str:
    """What helm says of values that it refuses."""
    ended = template(values)
    assert ended.returncode != 0, f"helm takes {values}"
    return ended.stderr


def only(objects: list[Object], kind: str, component: str | None = None) -> Object:
    """The one object of this kind, and of this component where there are several."""
    label = "app.kubernetes.io/component"
    found = [
        o for o in objects if o["kind"] == kind and component in (None, o["metadata"].get("labels", {}).get(label))
    ]
    assert len(found) == 1, f"{len(found)} {kind} {component or ''}"
    return found[0]


def kinds(objects: list[Object], kind: str) -> list[Object]:
    return [o for o in objects if o["kind"] == kind]


@dataclass(frozen=True)
class Pod:
    """Pods that an object makes, or a pod itself."""

    owner: str
    metadata: Object
    spec: Object

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


def pods(objects: list[Object]) -> Iterator[Pod]:
    """All pods that these objects make."""
    for found in objects:
        owner = f"{found['kind']} {found['metadata']['name']}"
        spec = found.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if found["kind"] == "Pod":
            yield Pod(owner, found["metadata"], found["spec"])
        elif "template" in spec:
            yield Pod(owner, spec["template"]["metadata"], spec["template"]["spec"])


def under(path: str, value: Any) -> Object:
    """Values with this one alone, at a path of keys with dots between."""
    for key in reversed(path.split(".")):
        value = {key: value}
    values: Object = value
    return values


def merged(*many: Values) -> Object:
    """Values over values, as helm lays them."""
    result: Object = {}
    for values in many:
        for key, value in values.items():
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if both else value
    return result
