"""A real Kubernetes API server on loopback: etcd, kube-apiserver and the garbage collector, without nodes.

It knows schemas, defaults, validation rules, server-side apply, RBAC and owners; what needs pods is for a cluster
with nodes to show. `scripts/cluster-tools` builds what is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.certificates import Certificate, make_certificate
from tests.support.running import free_ports

TOOLS: Final = Path(os.environ.get("MAILKEEP_CLUSTER_TOOLS", Path.home() / ".cache/mailkeep/cluster/bin"))
ADMIN_TOKEN: Final = "tests-admin"
START_SECONDS: Final = 60.0
SERVICE_NETWORK: Final = "10.96.0.0/16"
FIRST_SERVICE_ADDRESS: Final = "10.96.0.1"
"""By which pods reach the API server."""


class ApiServer:
    """Where it is and how to speak to it; `kubeconfig` is for programs."""

    def __init__(self, folder: Path, host: str, port: int, certificate: Certificate) -> None:
        self.folder = folder
        self.certificate = certificate
        self.url = f"https://{host}:{port}"
        self.kubeconfig = self.write_kubeconfig("kubeconfig", ADMIN_TOKEN)

    def kubectl(
        self, *words: str, given: str = "", check: bool = True, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl with `given` on standard input, for so long."""
        done = subprocess.run(
            [TOOLS / "kubectl", "--kubeconfig", self.kubeconfig, "--cache-dir", self.folder / "kubectl", *words],
            input=given, text=True, capture_output=True, timeout=seconds, check=False,
        )  # fmt: skip
        assert not (check and done.returncode), f"kubectl {' '.join(words)}: {done.stderr}"
        return done

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects."""
        self.kubectl("apply", "--server-side", "-f", "-", given=yaml.safe_dump_all(objects))

    def refusal(self, thing: dict[str, Any]) -> str:
        """Why the server does not take the object."""
        done = self.kubectl("apply", "-f", "-", given=yaml.safe_dump(thing), check=False)
        assert done.returncode, f"it was taken: {done.stdout}"
        return done.stderr

    def get(self, kind: str, name: str = "", namespace: str = "default") -> Any:
        """An object, or the list of a kind."""
        words = [kind, name] if name else [kind]
        return json.loads(self.kubectl("get", *words, "-n", namespace, "-o", "json").stdout)

    def write_kubeconfig(self, name: str, token: str) -> Path:
        """A file for programs that are known by `token`."""
        cluster = {"server": self.url, "certificate-authority": str(self.certificate.certfile)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "mailkeep-tests",
            "clusters": [{"name": "mailkeep-tests", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "mailkeep-tests", "context": {"cluster": "mailkeep-tests", "user": "user"}}],
        }
        path = self.folder / name
        path.write_text(yaml.safe_dump(content))
        return path


@contextmanager
def api_server(
    folder: Path, host: str = "127.0.0.1", tokens: Iterable[str] = (), controllers: str = "garbage-collector-controller"
) -> Iterator[ApiServer]:
    """A server with an empty cluster, ended at the end.

    `host` is the address that it listens on, `tokens` are further lines of its token file, `controllers` what runs.
    """
    etcd_port, peer_port, port = free_ports(3)
    certificate = make_certificate(folder, host, FIRST_SERVICE_ADDRESS, also="kubernetes.default.svc")
    (folder / "tokens.csv").write_text(
        "".join(f"{line}\n" for line in (f"{ADMIN_TOKEN},admin,admin,system:masters", *tokens))
    )
    etcd: list[str | Path] = [
        shutil.which("etcd") or "etcd", "--unsafe-no-fsync", "--data-dir", folder / "etcd",
        "--listen-client-urls", f"http://127.0.0.1:{etcd_port}",
        "--advertise-client-urls", f"http://127.0.0.1:{etcd_port}",
        "--listen-peer-urls", f"http://127.0.0.1:{peer_port}",
        "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer_port}",
        "--initial-cluster", f"default=http://127.0.0.1:{peer_port}",
    ]  # fmt: skip
    server: list[str | Path] = [
        TOOLS / "kube-apiserver", "--etcd-servers", f"http://127.0.0.1:{etcd_port}",
        "--bind-address", host, "--advertise-address", host, "--secure-port", str(port), "--cert-dir", folder,
        "--tls-cert-file", certificate.certfile, "--tls-private-key-file", certificate.keyfile,
        "--token-auth-file", folder / "tokens.csv", "--authorization-mode", "Node,RBAC", "--allow-privileged",
        "--service-account-issuer", "https://kubernetes.default.svc",
        "--service-account-key-file", certificate.certfile, "--service-account-signing-key-file", certificate.keyfile,
        "--service-cluster-ip-range", SERVICE_NETWORK, "--kubelet-preferred-address-types", "InternalIP",
        *(() if host != "127.0.0.1" else ("--disable-admission-plugins", "ServiceAccount")),
    ]  # fmt: skip
    with running(etcd, folder / "etcd.log"), running(server, folder / "apiserver.log") as process:
        started = ApiServer(folder, host, port, certificate)
        _await_ready(started, process, folder / "apiserver.log")
        manager: list[str | Path] = [
            TOOLS / "kube-controller-manager", "--kubeconfig", started.kubeconfig, "--leader-elect=false",
            "--controllers", controllers, "--secure-port", "0", "--use-service-account-credentials=false",
            "--service-account-private-key-file", certificate.keyfile, "--root-ca-file", certificate.certfile,
        ]  # fmt: skip
        with running(manager, folder / "controllers.log"):
            yield started


@contextmanager
def running(words: list[str | Path], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the context lasts; what it says goes to `log`."""
    with open(log, "ab") as output:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _await_ready(server: ApiServer, process: subprocess.Popen[bytes], log: Path) -> None:
    context = server.certificate.client_context()
    request = urllib.request.Request(f"{server.url}/readyz", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            urllib.request.urlopen(request, timeout=5, context=context).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text()[-4000:])
