"""A Temporal that is there: a real server on PostgreSQL, which asks every client for a certificate."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from temporal_fanout.process.devserver import binary
from tests.e2e.cluster import ROOT, Namespace, command, until
from tests.e2e.conftest import namespace
from tests.needs import missing, needs

pytestmark = pytest.mark.timeout(900)

SERVER = ROOT.parent / "shared/temporal-server"
PORT = 7600
CLOSED = "the server closes the connection; it may want TLS, or another certificate"
"""Where the alert of the server is lost: the client writes before it has come, and the connection is closed."""


@dataclass
class External:
    namespace: Namespace
    address: str
    """For pods."""
    certificates: Path

    def values(self, secret: str) -> dict[str, object]:
        tls = {"enabled": True, "secretName": secret, "serverName": "temporal"}
        # One try of a few seconds: what is wrong here does not get better.
        scenarios = {"run": ["default"], "patienceSeconds": 4, "backoffLimit": 0}
        temporal = {"enabled": False, "address": self.address, "tls": tls}
        return {"temporal": temporal, "worker": {"replicas": 1}, "scenarios": scenarios}

    def secret(self, name: str, authority: Path, certificate: Path, key: Path) -> None:
        files = {"ca.crt": authority, "tls.crt": certificate, "tls.key": key}
        given = (f"--from-file={key}={path}" for key, path in files.items())
        self.namespace.kubectl("create", "secret", "generic", name, *given)

    def temporal(self, *args: str) -> str:
        """Temporal's own program, from this machine."""
        files = {"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}
        tls = [f"--tls-{name}-path={self.certificates / file}" for name, file in files.items()]
        return command(binary(), *args, f"--address=127.0.0.1:{PORT}", *tls)


@pytest.fixture(scope="module")
def external(api: str, image: None) -> Iterator[External]:
    if not (SERVER / "up").exists():
        missing(f"there is no server to start: {SERVER}/up")
    with socket.socket() as tried:
        was_up = tried.connect_ex(("127.0.0.1", PORT)) == 0
    said = command(SERVER / "up", str(PORT), "--tls", "--listen", "0.0.0.0", seconds=900)  # noqa: S104
    networks = json.loads(command("docker", "network", "inspect", "kind"))[0]["IPAM"]["Config"]
    gateway = next(network["Gateway"] for network in networks if "." in network["Subnet"])
    certificates = Path.home() / f".cache/temporal-server/tls-{PORT}"
    if found := re.search(r"with the certificates in (\S+)", said):
        certificates = Path(found[1])
    try:
        with namespace(api, "external") as made:
            there = External(made, f"{gateway}:{PORT}", certificates)
            there.secret("right", certificates / "ca.pem", certificates / "client.pem", certificates / "client.key")
            yield there
    finally:
        if not was_up:
            subprocess.run([SERVER / "down", str(PORT)], capture_output=True, check=False)


def test_a_server_with_mutual_tls_is_used_by_a_secret(external: External) -> None:
    """Worker and Job find the server by its address and the certificates of a Secret; the run is on that server."""
    external.namespace.install(external.values("right"))
    (found,) = external.namespace.objects("jobs")
    job = external.namespace.job(found["metadata"]["name"])
    job.done()
    assert job.outcomes() == {"completed": 3, "failed": 2}
    described = json.loads(external.temporal("workflow", "describe", f"--workflow-id={job.run.id}", "--output=json"))
    assert described["workflowExecutionInfo"]["status"].endswith("COMPLETED")
    assert external.namespace.objects("pods", "temporal") == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("client", "the server does not take the client's certificate: UnknownCA"),
        ("authority", "the server's certificate is not what TEMPORAL_TLS_SERVER_* say: UnknownIssuer"),
    ],
)
def test_a_wrong_certificate_is_said(external: External, wrong: str, says: str, tmp_path: Path) -> None:
    """A client's certificate of another authority, or another authority for the server's: Job and worker say so."""
    openssl = needs("openssl", "apt-get install openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a stranger", "-keyout", key, "-out",
            certificate)  # fmt: skip
    known = external.certificates
    if wrong == "client":
        external.secret(wrong, known / "ca.pem", certificate, key)
    else:
        external.secret(wrong, certificate, known / "client.pem", known / "client.key")
    release = f"{wrong}-fanout"
    external.namespace.helm("install", release, "chart", values=external.values(wrong))
    (found,) = external.namespace.objects("jobs", instance=release)
    job = external.namespace.job(found["metadata"]["name"])
    assert job.ended() == "Failed"
    last = job.log().splitlines()[-1]
    assert last.startswith(f"error: no Temporal server answers at {external.address} (")
    assert says in last or CLOSED in last
    (status,) = job.pods()[0]["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 3
    worker = f"deployment/{release}-worker"
    until(lambda: says in external.namespace.kubectl("logs", worker), f"{says!r} in the worker's log")
    (pod,) = external.namespace.objects("pods", "worker", instance=release)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
