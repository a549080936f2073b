"""The rules for Prometheus, by Prometheus' own program."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.needs import needs

ROOT = Path(__file__).parents[2]
RULES = ROOT / "monitoring/rules"
TESTS = sorted((ROOT / "monitoring/tests").glob("*.yaml"))
RUNBOOKS = ROOT / "docs/runbooks"


def promtool(*args: str | Path) -> subprocess.CompletedProcess[str]:
    program = needs("promtool", "apt-get install prometheus")
    return subprocess.run([program, *args], capture_output=True, text=True, check=False, cwd=ROOT)


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((RULES / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = rules("alerts.yaml")
NAMES = [alert["alert"] for alert in ALERTS]


def seen(fires: bool) -> set[str]:
    """The alerts of which a test says that they fire, or do not, at a moment."""
    files = [yaml.safe_load(path.read_text()) for path in TESTS]
    checks = [check for file in files for test in file["tests"] for check in test.get("alert_rule_test", ())]
    return {check["alertname"] for check in checks if bool(check["exp_alerts"]) is fires}


def test_prometheus_takes_the_rules() -> None:
    """Each file is right on its own, without a warning."""
    ended = promtool("check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("*.yaml")))
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_give_and_fire_what_their_tests_say(path: Path) -> None:
    """Prometheus' own unit tests pass: values of the recording rules, and each alert with its texts."""
    ended = promtool("test", "rules", path)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("fires", [True, False])
def test_each_alert_is_seen_to_fire_and_not_to(fires: bool) -> None:
    """Every alert has a case in which it fires, and one in which it does not."""
    assert seen(fires) == set(NAMES)


def test_each_alert_tells_what_where_how_bad_and_what_to_do() -> None:
    """A name with our prefix, a known severity, texts with labels or value, and a page that names it."""
    assert len(NAMES) == len(set(NAMES))
    for alert in ALERTS:
        name, annotations = alert["alert"], alert["annotations"]
        assert re.fullmatch(r"Fanout([A-Z][a-z]+)+", name)
        assert alert["labels"] == {"severity": alert["labels"]["severity"]}
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(annotations) == {"summary", "description", "runbook_url"}
        assert name in (ROOT / annotations["runbook_url"]).read_text()
        if name != "FanoutRecordingRulesMissing":
            assert "$labels." in annotations["summary"]
            assert "$value" in annotations["description"] or "$labels." in annotations["description"]


def test_the_list_of_runbooks_has_each_alert_with_its_severity_and_page() -> None:
    """docs/runbooks/README.md and the alerts say the same, and no page is left over."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| \[([\w-]+\.md)\]\(\3\) \|$", (RUNBOOKS / "README.md").read_text(), re.M)
    said = {(name, severity, f"docs/runbooks/{page}") for name, severity, page in rows}
    assert said == {(a["alert"], a["labels"]["severity"], a["annotations"]["runbook_url"]) for a in ALERTS}
    assert {page for _, _, page in rows} == {path.name for path in RUNBOOKS.glob("*.md")} - {"README.md"}


def test_what_rules_record_is_named_by_convention_and_read() -> None:
    """Names are level:metric:operations, what rules read is recorded, and each setting is one number that is read."""
    recorded = [rule["record"] for rule in rules("recording.yaml")]
    for name in recorded:
        assert re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", name)
    read = {
        name
        for rule in (*ALERTS, *rules("recording.yaml"))
        for name in re.findall(r"\b[a-z_]+:[a-z_]+:[a-z0-9_]+", rule["expr"])
    }
    assert read <= set(recorded)
    settings = [rule for rule in rules("recording.yaml") if rule["record"].startswith("fanout:")]
    assert all(re.fullmatch(r"vector\([0-9.]+\)", rule["expr"]) for rule in settings)
    assert {rule["record"] for rule in settings} <= read
