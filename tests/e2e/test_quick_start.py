"""What README and docs have a newcomer do, command by command."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from temporal_fanout.process.ports import free_port
from tests.e2e.cluster import CONTEXT, ROOT, Namespace, command, json_of, text_of, until
from tests.e2e.conftest import as_a_newcomer, namespace
from tests.needs import needs

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def mine(api: str, image: None) -> Iterator[Namespace]:
    with namespace(api, "quick-start") as made:
        yield made


def block_of(page: str, heading: str) -> list[tuple[str, list[str]]]:
    """The commands of the first console block under a heading, each with the lines that it is said to print."""
    text = (ROOT / page).read_text()
    block = re.search(rf"^## {heading}\n.*?^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert block, f"{page} has no console block under {heading}"
    steps: list[tuple[str, list[str]]] = []
    for line in block[1].splitlines():
        if line.startswith("$ "):
            steps.append((line.removeprefix("$ "), []))
        else:
            steps[-1][1].append(line)
    return steps


def is_as_said(line: str, said: str) -> bool:
    """Whether it is the same line, but for what an ellipsis stands for, and for how long a run took."""
    pattern = re.escape(said).replace("…", r"\S*")
    return re.fullmatch(re.sub(r"in\\ [\d\\.]+\\ s:", r"in [\\d.]+ s:", pattern), line.rstrip()) is not None


def assert_says(text: str, documented: list[str]) -> None:
    """The text has these lines in their order; a slow machine may have one of progress between them."""
    lines = iter(text.splitlines())
    for said in documented:
        assert any(is_as_said(line, said) for line in lines), f"{said!r} is not there, or not in its place:\n{text}"


def test_the_readmes_quick_start_does_what_it_says(mine: Namespace, tmp_path: Path) -> None:
    """Each line of the block as it stands, and each line of output that it shows; at the end the Web UI answers."""
    newcomer = as_a_newcomer(mine, tmp_path)
    steps = block_of("README.md", "On Kubernetes")
    assert len(steps) > 4
    *steps, (last, _) = steps
    for step, output in steps:
        assert_says(command("bash", "-c", step, seconds=600, **newcomer), output)
    assert last == "kubectl port-forward service/fanout-temporal 8233"
    port = free_port(8233)  # another where this one is taken here, as by a demo
    env = os.environ | newcomer
    forward = subprocess.Popen(shlex.split(last.replace("8233", f"{port}:8233")), env=env, stdout=subprocess.DEVNULL)
    try:

        def shown() -> list[Any]:
            assert forward.poll() is None, "the port-forward has ended"
            with contextlib.suppress(urllib.error.URLError):
                assert "<html" in text_of(f"http://localhost:{port}")
                return list(json_of(f"http://localhost:{port}/api/v1/namespaces/default/workflows")["executions"])
            return []

        runs = until(shown, "runs in the Web UI", 30)
        assert "ParentWorkflow" in {run["type"]["name"] for run in runs}
    finally:
        forward.terminate()
        forward.wait()


@pytest.fixture
def with_skaffold(api: str, image: None) -> Iterator[Namespace]:
    needs("skaffold", "install skaffold")
    with namespace(api, "skaffold") as made:
        yield made


def test_skaffold_deploys_and_a_plain_job_runs(with_skaffold: Namespace) -> None:
    """`skaffold run`, then `kubectl apply -f deploy/jobs/default.yaml`: the Job's log has the documented table."""
    command("skaffold", "run", "--kube-context", CONTEXT, "--namespace", with_skaffold.name, seconds=600)
    with_skaffold.kubectl("apply", "--filename=deploy/jobs/default.yaml")
    documented = next(output for step, output in block_of("README.md", "On Kubernetes") if "kubectl logs" in step)
    assert_says(with_skaffold.job("fanout-default").done(), documented)
