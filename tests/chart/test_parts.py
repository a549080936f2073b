"""What single parts of the chart promise."""

from __future__ import annotations

import json

import yaml

from tests.chart.helm import CHART, ROOT, ci_values, helm, kinds, only, pods, render, under


def test_the_grace_period_is_longer_than_the_drain() -> None:
    """By 30 s, unless a longer one is given."""
    for values, seconds in (({}, 60), ({"gracefulTimeout": 300}, 330), ({"terminationGracePeriodSeconds": 90}, 90)):
        spec = only(render({"worker": values}), "Deployment", "worker")["spec"]["template"]["spec"]
        assert spec["terminationGracePeriodSeconds"] == seconds


def test_a_rollout_takes_no_worker_away_first() -> None:
    """No worker is missing during a rollout, and a probe of life is none of readiness."""
    spec = only(render(), "Deployment", "worker")["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    (container,) = spec["template"]["spec"]["containers"]
    paths = {kind: container[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


def test_whoever_scales_the_workers_has_their_number() -> None:
    """With a scaler the Deployment gives none, and there is one scaler."""
    for kind, scaler in (("hpa", "HorizontalPodAutoscaler"), ("keda", "ScaledObject")):
        objects = render(under("worker.autoscaling.kind", kind))
        assert "replicas" not in only(objects, "Deployment", "worker")["spec"]
        assert len(kinds(objects, "HorizontalPodAutoscaler") + kinds(objects, "ScaledObject")) == 1
        assert scaler in {o["kind"] for o in objects}


def test_keda_looks_at_both_queues_and_beside_them() -> None:
    """Tasks of workflows and activities, and CPU: a fan-out whose slots are all busy leaves the queue empty."""
    spec = only(render(under("worker.autoscaling.kind", "keda")), "ScaledObject")["spec"]
    queue, cpu = spec["triggers"]
    assert queue["metadata"]["queueTypes"] == "workflow,activity"
    assert queue["metadata"]["endpoint"] == "fanout-temporal.fanout-test.svc:7233"
    assert (cpu["type"], cpu["metadata"]) == ("cpu", {"value": "70"})
    assert spec["minReplicaCount"] >= 1


def test_keda_reads_the_same_secrets() -> None:
    """Its authentication names the Secrets and keys that the pods use."""
    objects = render(ci_values("cloud"))
    name = only(objects, "TriggerAuthentication")["metadata"]["name"]
    assert only(objects, "ScaledObject")["spec"]["triggers"][0]["authenticationRef"] == {"name": name}
    assert only(objects, "TriggerAuthentication")["spec"]["secretTargetRef"] == [
        {"parameter": "apiKey", "name": "temporal-cloud", "key": "api-key"}
    ]
    values = ci_values("external") | {"worker": {"autoscaling": {"kind": "keda"}}}
    objects = render(values)
    keys = {one["parameter"]: one["key"] for one in only(objects, "TriggerAuthentication")["spec"]["secretTargetRef"]}
    assert keys == {"ca": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
    assert only(objects, "ScaledObject")["spec"]["triggers"][0]["metadata"]["tlsServerName"]


def test_the_dev_server_is_one_and_replaced_at_once() -> None:
    """Never two on one database; with it, the settings without which SQLite is ten times slower."""
    objects = render(under("temporal.persistence.enabled", True))
    spec = only(objects, "Deployment", "temporal")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    (container,) = spec["template"]["spec"]["containers"]
    assert {"--sqlite-pragma=journal_mode=wal", "--sqlite-pragma=synchronous=1"} <= set(container["args"])
    assert {"USER", "HOME"} <= {env["name"] for env in container["env"]}
    claim = only(objects, "PersistentVolumeClaim")["metadata"]["name"]
    assert spec["template"]["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]


def test_the_dev_servers_dynamic_configuration_is_json() -> None:
    """As the server wants it: a text with quotation marks, a number without an exponent."""
    values = under("temporal.dynamicConfig", {"text": "a b", "number": 2_400_000, "list": [1, {"a": True}]})
    (container,) = only(render(values), "Deployment", "temporal")["spec"]["template"]["spec"]["containers"]
    given = dict(
        arg.removeprefix("--dynamic-config-value=").split("=", 1) for arg in container["args"] if "dynamic" in arg
    )
    assert {key: json.loads(value) for key, value in given.items()} == values["temporal"]["dynamicConfig"]


def test_the_services_ports_are_the_containers() -> None:
    """Each port of the Service leads to one that the dev server has."""
    objects = render()
    ports = {port["name"]: port["containerPort"] for pod in pods(objects) if pod.owner == "Deployment fanout-temporal"
             for port in pod.containers[0]["ports"]}  # fmt: skip
    assert {port["targetPort"]: port["port"] for port in only(objects, "Service")["spec"]["ports"]} == ports


def test_rules_are_those_of_monitoring() -> None:
    """The PrometheusRule has the groups of monitoring/rules; other numbers change their settings alone."""
    files = [yaml.safe_load((ROOT / f"monitoring/rules/{name}.yaml").read_text()) for name in ("recording", "alerts")]
    groups = [group for file in files for group in file["groups"]]
    enabled = {"enabled": True}
    assert only(render(under("monitoring.rules", enabled)), "PrometheusRule")["spec"]["groups"] == groups
    changed = enabled | {"objective": 0.95, "runbookUrl": "https://wiki.example.com/"}
    found = only(render(under("monitoring.rules", changed)), "PrometheusRule")["spec"]["groups"]
    assert found[0]["rules"][0] == {"record": "fanout:objective:ratio", "expr": "vector(0.95)"}
    found[0]["rules"][0]["expr"] = "vector(0.99)"
    assert json.loads(json.dumps(found).replace("https://wiki.example.com/", "docs/runbooks/")) == groups


def test_the_dashboard_is_that_of_monitoring() -> None:
    """The ConfigMap has monitoring/dashboard.json, under the label by which Grafana's sidecar finds it."""
    found = only(render(under("monitoring.dashboard.enabled", True)), "ConfigMap", "monitoring")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = found["data"].values()
    assert json.loads(text) == json.loads((ROOT / "monitoring/dashboard.json").read_text())


def test_what_is_scraped_keeps_temporals_namespace() -> None:
    """The PodMonitor takes workers and exporter, and leaves the metrics' own label `namespace` as it is."""
    spec = only(render(under("monitoring.podMonitor.enabled", True)), "PodMonitor")["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    assert endpoint["honorLabels"] is True
    assert spec["selector"]["matchExpressions"][0]["values"] == ["worker", "exporter"]


def test_network_policies_let_through_what_is_needed() -> None:
    """Clients reach DNS and Temporal, metrics can be scraped, and the dev server calls nobody."""
    clients, server = kinds(render(under("networkPolicy.enabled", True)), "NetworkPolicy")
    assert [port["port"] for rule in clients["spec"]["egress"] for port in rule["ports"]] == [53, 53, 7233]
    assert clients["spec"]["ingress"] == [{"ports": [{"port": "metrics"}]}]
    assert server["spec"]["egress"] == []
    (cloud,) = kinds(render(ci_values("cloud")), "NetworkPolicy")
    assert cloud["spec"]["egress"][1] == {"ports": [{"port": 7233}]}


def test_notes_are_three_commands() -> None:
    """NOTES.txt has the next three commands, in the release's namespace: there is nothing to fill in by default."""
    notes = (ROOT / "chart/templates/NOTES.txt").read_text()
    default = notes.partition("{{ if .Values.scenarios.builtIn }}")[2].partition("{{ else }}")[0]
    assert default.count("{{ $in }} ") - default.count("others: {{ $in }}") == 2
    assert "port-forward service/" in notes


def test_notes_say_what_waits_for_a_person() -> None:
    """Where a scenario that is to run holds what fails, NOTES.txt says how to see it, and else nothing of the kind."""

    def notes(*run: str) -> str:
        own = {"mine": {"values": [2], "options": {"on_failure": "hold"}}}
        values = json.dumps({"scenarios": {"run": run, "custom": own}})
        ended = helm("install", "fanout", CHART, "--dry-run=client", "--values=-", text=values)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.partition("NOTES:")[2]

    assert "held" not in notes("default")
    for name in ("hold", "mine"):
        said = notes("default", name)
        assert f"logs --selector fanout/scenario={name}" in said
        assert "exec deployment/fanout-worker -- fanout held ID" in said
