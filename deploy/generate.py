"""Writes what the chart takes from elsewhere, and what is made from the chart: `python -m deploy.generate`.

From monitoring/ and the registry of scenarios: chart/files and deploy/monitoring/rules.yaml. From chart/values.yaml:
chart/values.schema.json and the tables of chart/README.md. From the rendered chart: deploy/jobs. Needs helm.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from temporal_fanout.lab.scenarios import SCENARIOS

ROOT = Path(__file__).parents[1]
CHART = ROOT / "chart"
RELEASE = "fanout"
"""The name of the release that the Jobs of deploy/jobs belong to."""

_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
_NAMED = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 1}}}
_SCENARIO = {
    "values": ("array", "The items."),
    "source": ("string", "Address of the items, read by the workers, below one of worker.sourceRoots."),
    "options": ("object", "Options of the fan-out, as in docs/options.md, and child or activity."),
    "workflow": ("string", "The parent workflow, unless ParentWorkflow; it takes the items, and the options if given."),
    "taskQueue": ("string", "The parent's task queue, unless `taskQueue`."),
    "schedule": ("string", "When it runs, as cron has it; without one it runs when a Job is made from it."),
    "timeZone": ("string", "Time zone of the schedule, as Europe/Paris."),
    "concurrencyPolicy": ("string", "What a schedule does while its last Job still runs: Forbid, Allow or Replace."),
    "activeDeadlineSeconds": ("integer", "In place of scenarios.activeDeadlineSeconds."),
}
_MORE: Mapping[str, Mapping[str, Any]] = {
    "source": {"minLength": 1},
    "workflow": {"minLength": 1},
    "taskQueue": {"minLength": 1},
    "schedule": {"pattern": r"^(@\w+|\S+( \S+){4})$"},
    "concurrencyPolicy": {"enum": ["Allow", "Forbid", "Replace"]},
    "activeDeadlineSeconds": {"minimum": 1},
}
KINDS: Mapping[str, Mapping[str, Any]] = {
    "strings": _STRINGS,
    "texts": {"type": "array", "items": {"type": "string"}},
    "object": {"type": "object"},
    "objects": {"type": "array", "items": {"type": "object"}},
    "named": {"type": "array", "items": _NAMED},
    "environment": {"type": "array", "items": _NAMED},
    "quantity": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|[KMGTPE]i?)?$"},
    "resources": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "requests": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
            "limits": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
            "claims": {"type": "array", "items": _NAMED},
        },
    },
    "scenarios": {
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {
            "^[a-z]([-a-z0-9]{0,28}[a-z0-9])?$": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    key: {"description": text, "type": type, **_MORE.get(key, {})}
                    for key, (type, text) in _SCENARIO.items()
                },
            },
        },
    },
}
"""What an @schema of one word stands for."""

_TYPES: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


@dataclass(frozen=True)
class Value:
    """A key of values.yaml. A section has no schema of its own; its keys follow it."""

    path: tuple[str, ...]
    description: str
    default: Any
    schema: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        return ".".join(self.path)


def values() -> list[Value]:
    """The keys of chart/values.yaml in their order."""
    text = (CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    found: list[Value] = []
    comments: list[str] = []
    declared: str | None = None
    inside: tuple[int, tuple[str, ...]] | None = None  # a value that goes on over several lines
    parents: list[str] = []
    for line in text.splitlines():
        comment = re.match(r"\s*# ?(.*)", line)
        if comment and comment[1].startswith("@schema "):
            declared = comment[1].removeprefix("@schema ")
        elif comment:
            comments.append(comment[1])
        elif not line.strip():
            comments, declared = [], None
        else:
            depth = (len(line) - len(line.lstrip())) // 2
            if inside and depth > inside[0]:
                continue
            key = line.strip().partition(":")[0]
            path = (*parents[:depth], key)
            default = _at(defaults, path)
            is_section = isinstance(default, dict) and declared is None
            inside = None if is_section else (depth, path)
            schema = None if is_section else _schema_of(default, declared)
            found.append(Value(path, " ".join(comments), default, schema))
            parents = list(path)
            comments, declared = [], None
    return found


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _schema_of(default: Any, declared: str | None) -> Mapping[str, Any]:
    if declared is not None and not declared.startswith("{"):
        return KINDS[declared]
    return {"type": _TYPES[type(default)]} | (yaml.safe_load(declared) if declared else {})


def schema() -> str:
    """The text of values.schema.json."""
    root: dict[str, Any] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart temporal-fanout",
        "type": "object",
        "additionalProperties": False,
        "properties": {"global": {"description": "Helm's, for all charts of a parent chart.", "type": "object"}},
    }
    for value in values():
        at = root
        for key in value.path[:-1]:
            at = at["properties"][key]
        described = {"description": value.description} if value.description else {}
        if value.schema is None:
            own: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
        else:
            own = dict(value.schema)
        at["properties"][value.path[-1]] = described | own
    return json.dumps(root, indent=2) + "\n"


def readme() -> str:
    """The text of the chart's README, with its tables of values made anew."""
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for value in values():
        if value.schema is None:
            continue
        default = json.dumps(value.default, ensure_ascii=False)
        rows.append(f"| `{value.name}` | `{default}` | {value.description} |")
    scenario = ["| key | meaning |", "|---|---|", *(f"| `{key}` | {text} |" for key, (_, text) in _SCENARIO.items())]
    text = (CHART / "README.md").read_text()
    for name, table in (("values", rows), ("scenario", scenario)):
        begin, end = f"<!-- {name}: made by `make chart` -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = before + begin + "\n".join(table) + "\n" + end + rest.partition(end)[2]
    return text


def scenarios() -> str:
    """The text of chart/files/scenarios.json."""
    listed = [
        {"name": s.name, "teaches": s.teaches, "expected": s.expected, "options": dict(s.options)}
        for s in SCENARIOS.values()
    ]
    return json.dumps(listed, indent=2) + "\n"


def copies() -> dict[Path, Path]:
    """What the chart has a copy of, since Helm reads nothing outside of a chart: copy and original."""
    monitoring = ROOT / "monitoring"
    originals = [*sorted((monitoring / "rules").glob("*.yaml")), monitoring / "dashboard.json"]
    return {CHART / "files" / original.relative_to(monitoring): original for original in originals}


def rules() -> str:
    """The text of deploy/monitoring/rules.yaml: a ConfigMap with the rules, for a Prometheus without the operator."""
    files = sorted((ROOT / "monitoring/rules").glob("*.yaml"))
    lines = ["# Made by `make chart` from monitoring/rules.", "apiVersion: v1", "kind: ConfigMap"]
    lines += ["metadata:", "  name: prometheus-rules", "data:"]
    for file in files:
        lines += [f"  {file.name}: |", *(f"    {line}".rstrip() for line in file.read_text().splitlines())]
    return "\n".join(lines) + "\n"


def jobs() -> dict[Path, str]:
    """The files of deploy/jobs: the chart's Jobs, under the names of their scenarios."""
    run = ",".join(SCENARIOS)
    command = ["helm", "template", RELEASE, str(CHART), "--kube-version=1.34", "--set", f"scenarios.run={{{run}}}"]
    rendered = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout  # noqa: S603
    found = {}
    for job in yaml.safe_load_all(rendered):
        if job and job["kind"] == "Job":
            metadata = job["metadata"]
            name = metadata["labels"]["fanout/scenario"]
            path = ROOT / "deploy/jobs" / f"{name}.yaml"
            metadata["name"] = f"{RELEASE}-{name}"
            del metadata["namespace"]
            for label in ("helm.sh/chart", "app.kubernetes.io/managed-by"):
                del metadata["labels"][label]
            found[path] = _header(name) + yaml.safe_dump(job, sort_keys=False, width=120)
    return found


def _header(name: str) -> str:
    scenario = SCENARIOS[name]
    return (
        f"# Runs the scenario {name}: {scenario.teaches}.\n"
        f"# To be expected: {scenario.expected}.\n"
        f"# It belongs to the release `{RELEASE}` of the chart, in the same namespace. Made by `make chart`.\n"
        f"# Once more: kubectl replace --force -f deploy/jobs/{name}.yaml\n"
    )


def generated() -> dict[Path, str]:
    """Every file that is made, with its text."""
    made = {copy: original.read_text() for copy, original in copies().items()}
    made[CHART / "files/scenarios.json"] = scenarios()
    made[ROOT / "deploy/monitoring/rules.yaml"] = rules()
    made[CHART / "values.schema.json"] = schema()
    made[CHART / "README.md"] = readme()
    return made


def main() -> None:
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    texts = jobs()  # of the chart with the files above
    for path in (ROOT / "deploy/jobs").glob("*.yaml"):
        path.unlink()
    for path, text in texts.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
