"""Every value: it is described, it has a type, it reaches what the chart makes, and nonsense is refused."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Sequence
from functools import reduce
from typing import Any

import pytest
import yaml
from deploy import generate

from temporal_fanout import lab
from temporal_fanout.exporter.exporter import INTERVAL_SECONDS
from temporal_fanout.lab.worker import Capacity
from temporal_fanout.process.health import DEFAULT_PORT
from tests.chart.helm import CHART, Values, merged, refusal, render, template, under

ALL = generate.values()
LEAVES = [value for value in ALL if value.schema is not None]
DEFAULTS = {value.path[0]: value.default for value in ALL if len(value.path) == 1}
SECTIONS = [value.name for value in ALL if value.schema is None]
DIGEST = "sha256:" + 64 * "a"

EXTERNAL = {"temporal": {"enabled": False, "address": "temporal.example.com:7233"}}
TLS = merged(EXTERNAL, {"temporal": {"tls": {"enabled": True, "secretName": "certificates"}}})
NEEDS: dict[str, Values] = {
    "temporal.address": EXTERNAL,
    "temporal.tls.enabled": EXTERNAL,
    "temporal.tls.secretName": merged(EXTERNAL, {"temporal": {"tls": {"enabled": True}}}),
    "temporal.tls.keyKey": TLS,
    "temporal.tls": TLS,
    "temporal.apiKey": merged(TLS, {"temporal": {"apiKey": {"secretName": "key"}}}),
    "temporal.persistence": {"temporal": {"persistence": {"enabled": True}}},
    "worker.image": {"worker": {"image": {"repository": "mine", "tag": "1"}}},
    "worker.autoscaling.queueSize": {"worker": {"autoscaling": {"kind": "keda"}}},
    "worker.autoscaling.pollingSeconds": {"worker": {"autoscaling": {"kind": "keda"}}},
    "worker.autoscaling.kind": {},
    "worker.autoscaling": {"worker": {"autoscaling": {"kind": "hpa"}}},
    "scenarios.run": {},
    "exporter.persistence": {"exporter": {"enabled": True, "persistence": {"enabled": True}}},
    "exporter": {"exporter": {"enabled": True}},
    "monitoring.scrapeTemporal": {"monitoring": {"scrapeAnnotations": True}},
    "monitoring.podMonitor": {"monitoring": {"podMonitor": {"enabled": True}}},
    "monitoring.rules": {"monitoring": {"rules": {"enabled": True}}},
    "monitoring.dashboard": {"monitoring": {"dashboard": {"enabled": True}}},
    "networkPolicy.temporalTo": merged(EXTERNAL, {"networkPolicy": {"enabled": True}}),
    "networkPolicy": {"networkPolicy": {"enabled": True}},
}
"""What must be so for a value to count, by the beginning of its path; the longest that fits."""
PEER = [{"namespaceSelector": {"matchLabels": {"name": "changed"}}}]
CHANGED: dict[str, Any] = {
    "fullnameOverride": "changed",
    "imagePullSecrets": [{"name": "changed"}],
    "podSecurityContext": {"runAsUser": 12345},
    "securityContext": {"runAsUser": 12345},
    "temporal.enabled": False,
    "temporal.address": "changed.example.com:7233",
    "temporal.searchAttributes": {"Changed": "Keyword"},
    "temporal.dynamicConfig": {"changed": [1, {"value": 2}]},
    "persistence.size": "12345Mi",
    "resources": {"limits": {"memory": "12345Mi"}},
    "command": ["changed"],
    "args": ["changed"],
    "worker.sourceRoots": ["/changed"],
    "worker.terminationGracePeriodSeconds": 12345,
    "worker.metricsPort": 12345,
    "podDisruptionBudget.maxUnavailable": "25%",
    "worker.maxSurge": "25%",
    "topologyKeys": ["changed"],
    "scenarios.custom": {"changed": {"values": [1]}},
    "scenarios.run": ["default"],
    "exporter.parentTypes": ["Changed"],
    "exporter.taskQueues": ["changed"],
    "interval": "59s",
    "scrapeTimeout": "9s",
    "monitoring.rules.objective": 0.95,
    "nodeSelector": {"pool": "changed"},
    "tolerations": [{"key": "changed", "operator": "Exists"}],
    "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}},
    "extraEnv": [{"name": "CHANGED", "value": "changed"}],
    "extraEnvFrom": [{"secretRef": {"name": "changed"}}],
    "extraVolumes": [{"name": "changed", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "changed", "mountPath": "/changed"}],
    "metricsFrom": PEER,
    "temporalFrom": PEER,
    "temporalTo": PEER,
    "extraEgress": [{"to": PEER}],
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "changed"}}],
}
"""Another value, by the end of its path, where its default and its type do not tell one."""


def other(value: generate.Value, default: Any) -> Any:
    """Another value than this one."""
    for end in sorted(CHANGED, key=len, reverse=True):
        if value.name == end or value.name.endswith("." + end):
            return CHANGED[end]
    assert value.schema is not None
    if choice := value.schema.get("enum"):
        return next(one for one in choice if one != default)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    if isinstance(default, dict):
        return {"changed": "changed"}
    assert isinstance(default, str), value.name
    if value.path[-1] == "digest":
        return DIGEST
    return "/changed" if default.startswith("/") else "changed"


def _at(values: Any, path: Sequence[str]) -> Any:
    return reduce(operator.getitem, path, values)


def context(name: str) -> Values:
    fitting = [key for key in NEEDS if name == key or name.startswith(key + ".")]
    return NEEDS[max(fitting, key=len)] if fitting else {}


def texts(value: Any) -> list[str]:
    """The texts and numbers in a value that would be seen where it arrives."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [] if isinstance(value, bool) or (isinstance(value, int) and value < 100) else [str(value)]


@pytest.mark.parametrize("value", LEAVES, ids=lambda value: value.name)
def test_every_value_reaches_what_the_chart_makes(value: generate.Value) -> None:
    """Another value makes other objects, in which it is to be seen."""
    needed = context(value.name)
    changed = other(value, _at(merged(DEFAULTS, needed), value.path))
    changes = under(value.name, changed)
    if value.name == "temporal.enabled":
        changes = merged(changes, EXTERNAL)
    before, after = json.dumps(render(needed)), json.dumps(render(merged(needed, changes)))
    assert after != before
    for text in texts(changed) if value.name != "worker.autoscaling.kind" else ():
        assert after.count(text) > before.count(text), text


@pytest.mark.parametrize("value", LEAVES, ids=lambda value: value.name)
def test_every_value_is_described(value: generate.Value) -> None:
    """In a sentence, which values.yaml, the schema and the README share."""
    assert re.fullmatch(r"[A-Z].+\.", value.description), value.description


def named(path: str) -> str:
    """How helm 4 or helm 3 names the path of a value that the schema refuses, as a pattern."""
    return f"- (at '{'/' if path else ''}{path.replace('.', '/')}'|{path or '.root.'}):"


def test_an_unknown_key_is_refused_wherever_it_is() -> None:
    """A key that is misspelt fails the render in every section, and helm says which."""
    said = refusal(merged(*(under(f"{name}.unheardOf".lstrip("."), 1) for name in ["", *SECTIONS])))
    for name in ["", *SECTIONS]:
        assert re.search(named(name) + r" additional propert\w+ '?unheardOf'? (is )?not allowed", said, re.IGNORECASE)


def test_a_value_of_the_wrong_type_is_refused() -> None:
    """The schema says of every value what it may be, and helm says which it is not."""
    wrong = merged(*(under(v.name, ["a"] if isinstance(v.default, dict) else {"a": 1}) for v in LEAVES))
    said = refusal(wrong)
    for value in LEAVES:
        assert re.search(named(value.name), said)


def test_helms_global_is_admitted() -> None:
    """A parent chart's values for all of its charts are no mistake."""
    assert template({"global": {"region": "eu"}}).returncode == 0


def test_the_readme_has_every_value() -> None:
    """The table of the chart's README names each value once, with its default."""
    rows = re.findall(r"^\| `([\w.]+)` \| `(.*?)` \| ", (CHART / "README.md").read_text(), re.MULTILINE)
    assert [(name, json.loads(default)) for name, default in rows] == [(v.name, v.default) for v in LEAVES]


def test_defaults_are_the_commands_own() -> None:
    """Where the command has a default too, the chart's is the same."""
    defaults = {value.name: value.default for value in LEAVES}
    assert defaults["taskQueue"] == lab.TASK_QUEUE
    assert defaults["worker.maxConcurrentActivities"] == Capacity.activities
    assert defaults["worker.maxCachedWorkflows"] == Capacity.cached_workflows
    assert defaults["worker.metricsPort"] == DEFAULT_PORT
    assert defaults["exporter.parentTypes"] == [lab.PARENT]
    assert defaults["exporter.intervalSeconds"] == INTERVAL_SECONDS
    settings = yaml.safe_load((CHART.parent / "monitoring/rules/recording.yaml").read_text())["groups"][0]["rules"]
    rules = ("objective", "minimumItems", "stalledSeconds", "taskWaitSeconds", "sweepAgeSeconds")
    assert [f"vector({defaults[f'monitoring.rules.{name}']})" for name in rules] == [rule["expr"] for rule in settings]


CUSTOM = {"values": [1]}
REFUSED: dict[str, tuple[Values, str, str]] = {
    # name: values, the path that is said, and the cure
    "external without address": ({"temporal": {"enabled": False}}, "temporal.address", "give the server's HOST:PORT"),
    "address beside a dev server": (
        under("temporal.address", "a:1"),
        "temporal.address",
        "set temporal.enabled to false",
    ),
    "dev server with TLS": (under("temporal.tls.enabled", True), "temporal.tls.enabled", "set it to false"),
    "secret without TLS": (
        merged(EXTERNAL, under("temporal.tls.secretName", "a")),
        "temporal.tls.secretName",
        "to true",
    ),
    "server name without TLS": (
        merged(EXTERNAL, under("temporal.tls.serverName", "a")),
        "temporal.tls.serverName",
        "to true",
    ),
    "certificate without key": (merged(TLS, under("temporal.tls.keyKey", "")), "temporal.tls.certKey", "or neither"),
    "secret of which nothing is read": (
        merged(TLS, {"temporal": {"tls": {"caKey": "", "certKey": "", "keyKey": ""}}}),
        "temporal.tls.secretName",
        "give temporal.tls.caKey",
    ),
    "API key in the clear": (
        merged(EXTERNAL, under("temporal.apiKey.secretName", "a")),
        "temporal.apiKey.secretName",
        "set temporal.tls.enabled to true",
    ),
    "claim without persistence": (
        under("temporal.persistence.existingClaim", "a"),
        "temporal.persistence.existingClaim",
        "leave this empty",
    ),
    "exporter's claim without persistence": (
        under("exporter.persistence.existingClaim", "a"),
        "exporter.persistence.existingClaim",
        "leave this empty",
    ),
    "own image without tag": (under("worker.image.repository", "a"), "worker.image.tag", "worker.image.digest"),
    "tag without own image": (under("worker.image.tag", "1"), "worker.image.repository", "image.tag"),
    "grace shorter than the drain": (
        {"worker": {"gracefulTimeout": 60, "terminationGracePeriodSeconds": 60}},
        "worker.terminationGracePeriodSeconds",
        "at least worker.gracefulTimeout and 30 more, 90",
    ),
    "scaling without workers": (
        {"worker": {"enabled": False, "autoscaling": {"kind": "hpa"}}},
        "worker.autoscaling.kind",
        "set it to none",
    ),
    "minimum over maximum": (
        {"worker": {"autoscaling": {"kind": "hpa", "minReplicas": 11}}},
        "worker.autoscaling.minReplicas",
        "lower it, or raise that",
    ),
    "scaling by nothing": (
        {"worker": {"autoscaling": {"kind": "hpa", "cpu": 0}}},
        "worker.autoscaling.cpu",
        "give one of them",
    ),
    "scaling by a request that is not there": (
        {"worker": {"resources": {"requests": {"cpu": None}}, "autoscaling": {"kind": "keda"}}},
        "worker.resources.requests.cpu",
        "set that to 0",
    ),
    "KEDA with an authority alone": (
        merged(TLS, {"temporal": {"tls": {"certKey": "", "keyKey": ""}}}, under("worker.autoscaling.kind", "keda")),
        "worker.autoscaling.kind",
        "or scale by hpa",
    ),
    "both scalers": (under("worker.autoscaling.kind", "both"), "kind", "keda"),
    "scaling to zero": (under("worker.autoscaling.minReplicas", 0), "minReplicas", "1"),
    "an objective that no alert can fire for": (under("monitoring.rules.objective", 0.9), "objective", "0.931"),
    "scenario of a taken name": (
        under("scenarios.custom.default", CUSTOM),
        "scenarios.custom.default",
        "choose another",
    ),
    "scenario without items": (under("scenarios.custom.mine", {}), "scenarios.custom.mine", "one of values and source"),
    "scenario with items twice": (
        under("scenarios.custom.mine", CUSTOM | {"source": "/a"}),
        "scenarios.custom.mine",
        "one of values and source",
    ),
    "scenario too large for an argument": (
        under("scenarios.custom.mine.values", [10**6] * 20_000),
        "scenarios.custom.mine.values",
        "give a source",
    ),
    "time zone without schedule": (
        under("scenarios.custom.mine", CUSTOM | {"timeZone": "UTC"}),
        "scenarios.custom.mine.timeZone",
        "give scenarios.custom.mine.schedule",
    ),
    "unknown scenario": (under("scenarios.run", ["defualt"]), "scenarios.run", "all-failures, all-success, batches"),
    "scenario's name that is none": (under("scenarios.custom.Mine_1", CUSTOM), "Mine_1", "not allowed"),
    "label of a selector": (
        under("worker.podLabels", {"app.kubernetes.io/name": "a"}),
        "worker.podLabels",
        "leave it out",
    ),
    "scrape longer than its interval": (
        under("monitoring.podMonitor", {"interval": "5s"}),
        "monitoring.podMonitor.scrapeTimeout",
        "lower it, or raise that",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_contradict_each_other_are_refused(name: str) -> None:
    """The render fails, and says the path and the cure."""
    values, path, cure = REFUSED[name]
    said = refusal(values)
    assert path in said
    assert cure in said


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Whoever has made two mistakes learns of both."""
    said = refusal({"temporal": {"enabled": False}, "scenarios": {"run": ["nothing"]}})
    assert "temporal.address" in said
    assert "scenarios.run" in said


def test_a_name_that_no_service_may_have_is_refused() -> None:
    """A release whose name begins with a digit needs a fullnameOverride, as a Service's name begins with a letter."""
    ended = template({}, release="1st")
    assert "fullnameOverride" in ended.stderr
    assert template({"fullnameOverride": "first"}, release="1st").returncode == 0
