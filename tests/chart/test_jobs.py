"""The scenarios' Jobs, and what the pods run: checked against the command itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy import generate
from temporalio.envconfig import ClientConfig
from typer.main import get_command

from temporal_fanout import lab
from temporal_fanout.cli import app
from temporal_fanout.lab.scenarios import SCENARIOS
from temporal_fanout.process.exit import ExitCode
from tests.chart.helm import CI, ROOT, Object, ci_values, kinds, only, pods, render

MINE = "a-name-as-long-as-names-may-be"
EXPORTER = {"exporter": {"enabled": True}}


def command(name: str) -> Any:
    group: Any = get_command(app)
    return group.commands[name]


def parsed(args: list[str]) -> Any:
    """What the command takes these arguments for; raises for what it does not know."""
    return command(args[0]).make_context(args[0], args[1:])


def arguments(job: Object) -> list[str]:
    """The arguments of a Job's container as Kubernetes gives them to it."""
    spec = job["spec"].get("jobTemplate", job)["spec"] if job["kind"] == "CronJob" else job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    known = {"JOB_UID": "the-uid"}

    def expand(match: re.Match[str]) -> str:
        return f"$({match[1]})" if match[0].startswith("$$") else known.get(match[1], match[0])

    return [re.sub(r"\$?\$\((\w+)\)", expand, arg) for arg in container["args"]]


def test_there_is_a_cron_job_for_every_scenario() -> None:
    """As many as the registry has, suspended, each with what it teaches."""
    jobs = kinds(render(), "CronJob")
    assert [job["metadata"]["name"] for job in jobs] == sorted(f"fanout-{name}" for name in SCENARIOS)
    assert all(job["spec"]["suspend"] for job in jobs)
    said = {job["metadata"]["labels"]["fanout/scenario"]: job["metadata"]["annotations"] for job in jobs}
    assert said == {s.name: {"fanout/teaches": s.teaches, "fanout/expected": s.expected} for s in SCENARIOS.values()}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_job_runs_its_scenario_under_an_id_of_its_own(name: str) -> None:
    """The command takes the arguments, the scenario is the Job's, and the run's id comes from the Job's uid."""
    job = next(job for job in kinds(render(), "CronJob") if job["metadata"]["labels"]["fanout/scenario"] == name)
    given = parsed(arguments(job)).params
    assert (given["scenario"], given["id"]) == (name, f"{name}-the-uid")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (uid,) = [env for env in container["env"] if env["name"] == "JOB_UID"]
    assert uid["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/controller-uid']"


def test_a_scenario_of_the_users_reaches_the_command_as_it_was_given() -> None:
    """Values, options, workflow, queue and name, whatever characters they have."""
    (job,) = (o for o in kinds(render(ci_values("everything")), "CronJob") if MINE in o["metadata"]["name"])
    given = parsed(arguments(job)).params
    wanted = ci_values("everything")["scenarios"]["custom"][MINE]
    assert json.loads(given["values"]) == wanted["values"]
    assert json.loads(given["options"]) == wanted["options"]
    assert given["scenario_name"] == MINE
    nightly = only(render(ci_values("own-worker")), "CronJob")
    given = parsed(arguments(nightly)).params
    assert (given["source"], given["workflow"]) == ("/exports/customers.jsonl", "Nightly")
    assert (nightly["spec"]["suspend"], nightly["spec"]["schedule"]) == (False, "0 2 * * *")
    assert nightly["spec"]["timeZone"] == "Europe/Paris"


def test_exit_codes_say_what_is_tried_again() -> None:
    """A failed run and wrong input end the Job; no server and unexpected errors are a try, a disruption is none."""
    for job in kinds(render(), "CronJob"):
        spec = job["spec"]["jobTemplate"]["spec"]
        fail, ignore = spec["podFailurePolicy"]["rules"]
        assert fail["action"] == "FailJob"
        assert fail["onExitCodes"]["values"] == [ExitCode.RUN_FAILED, ExitCode.WRONG_INPUT]
        assert fail["onExitCodes"]["containerName"] == spec["template"]["spec"]["containers"][0]["name"]
        assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        assert spec["backoffLimit"] > 0


def test_scenarios_that_are_to_run_have_a_job_like_their_cron_job() -> None:
    """A Job at install has the very spec that a Job made from the CronJob would have."""
    objects = render({"scenarios": {"run": ["stress"]}})
    cron = next(job for job in kinds(objects, "CronJob") if job["metadata"]["name"] == "fanout-stress")
    job = only(objects, "Job")
    assert re.fullmatch(r"fanout-stress-[0-9a-f]{8}", job["metadata"]["name"])
    assert job["spec"] == cron["spec"]["jobTemplate"]["spec"]


@pytest.mark.parametrize("name", CI)
def test_the_commands_know_what_pods_give_them(name: str) -> None:
    """Every argument of a pod is one of its command, and every FANOUT_ setting is read by one."""
    objects = render(ci_values(name))
    for pod in pods(objects):
        for container in pod.containers:
            if container["name"] in {"worker", "exporter", "fanout"} and "command" not in container:
                parsed(container["args"]) if "args" in container else None
    settings = only(objects, "ConfigMap", "settings")["data"]
    options = [option for name in ("worker", "run", "exporter") for option in command(name).params]
    read = {option.envvar for option in options}
    assert {key for key in settings if key.startswith("FANOUT_")} <= read


def test_settings_reach_the_commands() -> None:
    """What the ConfigMap says is what `fanout worker` and `fanout exporter` take."""
    values = ci_values("everything")
    settings = only(render(values), "ConfigMap", "settings")["data"]
    with pytest.MonkeyPatch.context() as patch:
        for key, value in settings.items():
            patch.setenv(key, value)
        worker, exporter = parsed(["worker"]).params, parsed(["exporter"]).params
    assert worker["source_root"] == values["worker"]["sourceRoots"]
    assert worker["task_queue"] == lab.TASK_QUEUE
    assert (worker["graceful_timeout"], worker["metrics_port"]) == (30, 9090)
    assert (worker["max_concurrent_activities"], worker["max_cached_workflows"]) == (100, 1000)
    assert exporter["parent_type"] == values["exporter"]["parentTypes"]


def test_temporals_settings_are_its_own(tmp_path: Path) -> None:
    """Temporal's SDK makes of the ConfigMap the address, the namespace and the certificates that the values name."""
    objects = render(ci_values("external"))
    settings = only(objects, "ConfigMap", "settings")["data"]
    settings = {key: value for key, value in settings.items() if key.startswith("TEMPORAL_")}
    pod = next(pod for pod in pods(objects) if pod.owner == "Deployment fanout-worker")
    (mount,) = [mount for mount in pod.containers[0]["volumeMounts"] if mount["name"] == "temporal-tls"]
    (volume,) = [volume for volume in pod.spec["volumes"] if volume["name"] == "temporal-tls"]
    for item in volume["secret"]["items"]:
        (tmp_path / item["path"]).write_text(item["key"])
    here = {key: value.replace(mount["mountPath"], str(tmp_path)) for key, value in settings.items()}
    config = ClientConfig.load_client_connect_config(disable_file=True, override_env_vars=here)
    assert config["target_host"] == "temporal-frontend.temporal.svc:7233"
    assert config["namespace"] == "billing"
    tls = config["tls"]
    assert not isinstance(tls, bool)
    assert (tls.server_root_ca_cert, tls.client_cert, tls.client_private_key) == (b"ca.crt", b"tls.crt", b"tls.key")
    assert tls.domain == "frontend.temporal.internal"
    path = "TEMPORAL_TLS_CLIENT_{}_PATH".format
    assert {"TEMPORAL_TLS", "TEMPORAL_TLS_SERVER_NAME", path("CERT"), path("KEY")} <= set(here)


def test_secrets_are_in_no_argument_and_no_config_map() -> None:
    """An API key is in the environment, from its Secret, and nowhere else."""
    for pod in pods(render(ci_values("cloud"))):
        for container in pod.containers:
            (key,) = [env for env in container["env"] if env["name"] == "TEMPORAL_API_KEY"]
            assert key["valueFrom"]["secretKeyRef"] == {"name": "temporal-cloud", "key": "api-key"}
            assert "TEMPORAL_API_KEY" not in json.dumps(container.get("args", []))


def test_the_helm_test_runs_the_default_scenario() -> None:
    """`helm test` has the command's arguments right, and its expectation is the default scenario's."""
    (pod,) = (pod for pod in pods(render()) if pod.owner == "Pod fanout-test")
    (container,) = pod.containers
    program = (ROOT / "chart/files/check_default_scenario.py").read_text()
    assert container["command"][:2] == ["python", "-c"]
    assert container["command"][2].strip() == program.strip()
    parsed(["run", "default", "--output=json", *container["args"]])
    values = list(SCENARIOS["default"].values)
    odd = {value: 2 * value for value in values if value % 2}
    assert f"({odd}, " in program
    assert f"for value in {tuple(value for value in values if value not in odd)}" in program


def test_files_that_are_made_are_what_they_are_made_of() -> None:
    """The copies in the chart, its schema, the tables of its README: `make chart` would change nothing."""
    for path, text in generate.generated().items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)}: run make chart"


def test_the_plain_jobs_are_the_charts() -> None:
    """deploy/jobs has a Job for every scenario, as the chart renders it; `make chart` would change nothing."""
    there = {path: path.read_text() for path in (ROOT / "deploy/jobs").glob("*.yaml")}
    assert there == generate.jobs()
    for path, text in there.items():
        job = yaml.safe_load(text)
        assert job["metadata"]["name"] == f"fanout-{path.stem}"
        assert parsed(arguments(job)).params["scenario"] == path.stem


def test_one_version_is_everywhere() -> None:
    """The package, the chart, skaffold.yaml, Dockerfiles and deploy/jobs agree on version and image."""
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    about = yaml.safe_load((ROOT / "chart/Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (version[1], version[1])
    skaffold = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    assert skaffold["build"]["tagPolicy"]["envTemplate"]["template"] == version[1]
    image = f"temporal-fanout:{version[1]}"
    assert f"name={image}\n" in (ROOT / "deploy/name-image").read_text()
    assert f"FROM {image}\n" in (ROOT / "deploy/own-worker/Dockerfile").read_text()
    assert f"ARG VERSION={version[1]}\n" in (ROOT / "Dockerfile").read_text()
    used = {container["image"] for pod in pods(render()) for container in pod.containers}
    assert used == {image, about_server()}
    plain = {yaml.safe_load(path.read_text())["spec"]["template"]["spec"]["containers"][0]["image"]
             for path in (ROOT / "deploy/jobs").glob("*.yaml")}  # fmt: skip
    assert plain == {image}
    assert about["annotations"]["artifacthub.io/images"].split() == [
        *("-", "name:", "temporal-fanout", "image:", image), *("-", "name:", "temporal", "image:", about_server()),
    ]  # fmt: skip


def about_server() -> str:
    values = {value.name: value.default for value in generate.values()}
    return f"{values['temporal.image.repository']}:{values['temporal.image.tag']}"
