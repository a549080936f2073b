"""The dashboard for Grafana: made by its script, and right without a Grafana."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from monitoring.dashboard import build
from temporalio.client import Client

from tests.monitoring.queries import panels, queries
from tests.monitoring.test_rules import promtool, rules

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "monitoring/dashboard.json").read_text())
PANELS = list(panels(DASHBOARD))
VARIABLES = {"namespace": "default", "task_queue": "q", "parent_type": "(Nightly|Hourly)"}


def metrics(expr: str) -> set[str]:
    """The names of ours and of the SDK's metrics, and of recorded series, that a query reads."""
    unquoted = re.sub(r'"[^"]*"', "", expr)
    return set(re.findall(r"\b(?:(?:fanout|temporal)_[a-z_]+|[a-z_]+:[a-z_]+:[a-z0-9_]+)", unquoted))


def test_the_dashboard_is_what_its_script_makes() -> None:
    """monitoring/dashboard.json is `python -m monitoring.dashboard`, to the letter."""
    assert build() == (ROOT / "monitoring/dashboard.json").read_text()


def test_grafana_knows_it_again_and_nobody_edits_it_there() -> None:
    """A uid, tags, and not editable; rows and panels have ids of their own."""
    assert DASHBOARD["uid"] == "temporal-fanout"
    assert DASHBOARD["editable"] is False
    assert "temporal-fanout" in DASHBOARD["tags"]
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))


def test_what_can_be_chosen() -> None:
    """Data source, namespace, task queue, parent type, and the address of the Web UI."""
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert {name: variable["type"] for name, variable in variables.items()} == {
        "datasource": "datasource",
        "namespace": "query",
        "task_queue": "query",
        "parent_type": "query",
        "web_ui": "textbox",
    }
    assert variables["datasource"]["query"] == "prometheus"
    for name in ("namespace", "task_queue", "parent_type"):
        assert variables[name]["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert variables[name].get("multi", False) is (name != "namespace")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_says_what_it_shows_and_where_to_go_on(panel: dict[str, Any]) -> None:
    """A title, a description with its runbook, a unit, the chosen data source, and a link to the Web UI."""
    assert panel["title"]
    said, _, runbook = panel["description"].partition("\n\nRunbook: ")
    assert len(said) > 20
    assert (ROOT / runbook).is_file()
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert {json.dumps(source) for source in (panel["datasource"], *(t["datasource"] for t in panel["targets"]))} == {
        '{"type": "prometheus", "uid": "${datasource}"}'
    }
    (link,) = panel["links"]
    assert link["url"].startswith("${web_ui}/namespaces/${namespace}/workflows?query=")
    assert " " not in link["url"]


async def test_each_link_finds_workflows(client: Client) -> None:
    """A server takes the list filter of each link, with the variables as Grafana writes them."""
    for url in sorted({panel["links"][0]["url"] for panel in PANELS}):
        _, _, list_filter = unquote(url).partition("?query=")
        await client.count_workflows(re.sub(r"\$\{\w+:doublequote\}", '"a","b"', list_filter))


def test_panels_fill_their_rows_and_do_not_overlap() -> None:
    """Each place of the grid is covered by at most one panel, and no panel stands out of it."""
    seen: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & seen, panel["title"]
        seen |= cells
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))


def test_each_query_is_promql(tmp_path: Path) -> None:
    """Prometheus' own parser takes every query, with the variables in place."""
    found = queries(DASHBOARD, VARIABLES)
    assert len(found) >= len(PANELS)
    made = [{"record": f"panel:query:{number}", "expr": expr} for number, (_, expr) in enumerate(found)]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
    ended = promtool("check", "rules", path)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_query_takes_the_variables() -> None:
    """Every selector is limited to the namespace; rates are over Grafana's own interval, or the time shown."""
    for panel in PANELS:
        for target in panel["targets"]:
            for metric, selector in re.findall(r"\b((?:fanout|temporal)_[a-z_]+)\b(?!:)(\{[^}]*\})?", target["expr"]):
                assert 'namespace="$namespace"' in selector, f"{panel['title']}: {metric}"
            windows = re.findall(r"\[([^\]]*)\]|offset (\S+)", target["expr"])
            assert {one.strip(")") or other.strip(")") for one, other in windows} <= {"$__rate_interval", "$__range"}


def test_each_metric_is_documented_or_recorded() -> None:
    """docs/metrics.md has each of our metrics that a panel or a rule reads; the rules record the rest."""
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    documented |= {name + suffix for name in documented for suffix in ("_bucket", "_sum", "_count")}
    recorded = {rule["record"] for rule in rules("recording.yaml")}
    read = {name for _, expr in queries(DASHBOARD, VARIABLES) for name in metrics(expr)}
    read |= {name for rule in (*rules("recording.yaml"), *rules("alerts.yaml")) for name in metrics(rule["expr"])}
    ours = {name for name in read if name.startswith("fanout_") and ":" not in name}
    assert ours <= documented
    assert {name for name in read if ":" in name} <= recorded


def test_the_objective_is_one_number() -> None:
    """The colours of the success rate change at the objective of the rules."""
    (objective,) = [rule["expr"] for rule in rules("recording.yaml") if rule["record"] == "fanout:objective:ratio"]
    (panel,) = [panel for panel in PANELS if panel["title"] == "Success rate"]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert f"vector({steps[-1]['value']})" == objective
