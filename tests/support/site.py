"""A mail site on a cluster with nodes, installed by the charts, and what the tests do to it."""

from __future__ import annotations

import imaplib
import json
import smtplib
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from services.common.passwords import hash_password
from tests.support.apiserver import TOOLS, ApiServer
from tests.support.cluster import IMAGE
from tests.support.processes import eventually

CHARTS: Final = Path(__file__).parents[2] / "deploy/helm"
OPERATORS: Final = "mailkeep-operator"
USER: Final = "anna@example.com"
PASSWORD: Final = "secret"
NAME: Final = "mail"
READY_SECONDS: Final = 180.0


def helm(server: ApiServer, *words: str, given: str = "") -> str:
    """Run helm; what it printed."""
    command: list[str | Path] = [TOOLS / "helm", "--kubeconfig", server.kubeconfig, *words]
    done = subprocess.run(command, input=given, text=True, capture_output=True, timeout=300, check=False)
    assert not done.returncode, f"helm {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def install_operator(server: ApiServer, **values: Any) -> None:
    """By its chart, into a namespace under the restricted standard."""
    repository, _, tag = IMAGE.rpartition(":")
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATORS, "labels": restricted}})
    given = yaml.safe_dump({"image": {"repository": repository, "tag": tag}, "logLevel": "debug", **values})
    chart = str(CHARTS / "mailkeep-operator")
    helm(
        server,
        "upgrade",
        "--install",
        OPERATORS,
        chart,
        "-n",
        OPERATORS,
        "--wait",
        "--timeout=4m",
        "-f",
        "-",
        given=given,
    )


class RealSite:
    """One site in a namespace of its own; its store's volume is a folder of the first node's."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self.spec: dict[str, Any] = {
            "image": IMAGE,
            "imagePullPolicy": "Never",
            "store": {"storage": {"size": "1Gi", "storageClassName": namespace}},
            # Clients of these tests come in clear from the host's network, which kube-proxy masks as a node's.
            "imap": {"plaintextmincipher": 0, "replicas": 2, "drainseconds": 5, "maxsessionsperaddress": 1000},
            "pop": {"plaintextmincipher": 0, "drainseconds": 5},
            "lmtp": {"allowedclients": ["10.0.0.0/8"], "drainseconds": 5},
            "access": {"bgexcluded": ["10.0.0.0/8"]},
            "directory": {"users": {"secretRef": {"name": "users"}}},
        }

    # -- making it

    def install(self, copies_of: RealSite | None = None) -> None:
        """Namespace, volume, accounts, and the chart; until it is ready. `copies_of`: with that site's backups."""
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.server.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": restricted}}
        )
        self._storage_class()
        self._volume(self.namespace)
        if copies_of:
            self.backup_volume(copies_of)
        self.users(USER)
        account = {"address": USER, "password": PASSWORD}
        meta = {"name": "account", "namespace": self.namespace}
        self.server.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": account})
        self.upgrade()
        self.ready()

    def upgrade(self, **changes: Any) -> None:
        """Install or change it by the chart; `changes` are laid over the parts of the spec."""
        for part, value in changes.items():
            self.spec[part] = {**self.spec.get(part, {}), **value} if isinstance(value, dict) else value
        values = yaml.safe_dump({"spec": self.spec, "test": {"secret": "account"}})
        words = ("upgrade", "--install", NAME, str(CHARTS / "mailkeep"), "-n", self.namespace, "-f", "-")
        helm(self.server, *words, given=values)

    def users(self, *names: str) -> None:
        """The users file with these accounts, in its Secret."""
        known = hash_password(PASSWORD)
        content = yaml.safe_dump({"accounts": {name: {"password": known} for name in names}})
        meta = {"name": "users", "namespace": self.namespace}
        thing = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"users.yaml": content}}
        self.server.apply(thing)

    def backup_volume(self, of: RealSite | None = None) -> None:
        """A volume for backups and the claim `copies` on it; `of`: on that site's."""
        self._volume(f"{self.namespace}-copies", f"{(of or self).namespace}-copies", claim="copies")
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        claim |= {"volumeName": f"{self.namespace}-copies", "storageClassName": self.namespace}
        meta = {"name": "copies", "namespace": self.namespace}
        self.server.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": claim})

    def _storage_class(self) -> None:
        self.server.apply(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": self.namespace},
                "provisioner": "kubernetes.io/no-provisioner",
                "volumeBindingMode": "WaitForFirstConsumer",
            }
        )

    def _volume(self, name: str, folder: str = "", claim: str = f"data-{NAME}-store-0") -> None:
        path = self.server.folder / "volumes" / (folder or name)
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]
        spec = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": self.namespace,
            "claimRef": {"name": claim, "namespace": self.namespace},
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        }
        self.server.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})

    # -- looking at it

    def ready(self) -> None:
        """Wait until the status says that all is as specified, of this generation."""
        eventually(self._is_ready, READY_SECONDS, 0.5)

    def _is_ready(self) -> bool:
        thing = self.get("msvc", NAME)
        status = thing.get("status") or {}
        conditions = {each["type"]: each for each in status.get("conditions", ())}
        ready, moving = conditions.get("Ready", {}), conditions.get("Progressing", {})
        current = ready.get("observedGeneration") == thing["metadata"]["generation"]
        return bool(current and ready.get("status") == "True" and moving.get("reason") == "Complete")

    def get(self, kind: str, name: str) -> Any:
        """An object of the site."""
        return self.server.get(kind, name, self.namespace)

    def pods(self, role: str = "") -> dict[str, tuple[str, int]]:
        """Name -> (uid, restarts) of the pods that are to stay, of one role or of all."""
        label = f"app.kubernetes.io/component={role}" if role else "app.kubernetes.io/name=mailkeep"
        words = ("get", "pods", "-n", self.namespace, "-l", label, "-o", "json")
        found = json.loads(self.server.kubectl(*words).stdout)["items"]
        return {
            each["metadata"]["name"]: (
                each["metadata"]["uid"],
                sum(one["restartCount"] for one in each["status"].get("containerStatuses", ())),
            )
            for each in found
            if "deletionTimestamp" not in each["metadata"]
        }

    def address(self, role: str) -> str:
        """Of the role's Service, as the host reaches it."""
        return str(self.get("service", f"{NAME}-{role}")["spec"]["clusterIP"])

    def banner(self) -> str:
        """What an IMAP client is greeted with."""
        with imaplib.IMAP4(self.address("imap"), timeout=30) as client:
            return client.welcome.decode()

    def deliver(self, subject: str) -> None:
        """By LMTP. Raises smtplib's errors and OSError."""
        with smtplib.LMTP(self.address("lmtp"), 24, timeout=60) as client:
            client.sendmail("tests@example.com", [USER], f"Subject: {subject}\r\n\r\nHello\r\n")

    def subjects(self) -> set[str]:
        """Of the messages in INBOX."""
        with imaplib.IMAP4(self.address("imap"), timeout=60) as client:
            client.login(USER, PASSWORD)
            client.select()
            lines = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
        return {line[1].decode().strip().removeprefix("Subject: ") for line in lines if isinstance(line, tuple)}

    def operator_errors(self) -> list[str]:
        """Lines of the operator's logs that say of an error."""
        words = ("logs", "-n", OPERATORS, "-l", "app.kubernetes.io/name=mailkeep-operator", "--tail=-1")
        lines = [json.loads(line) for line in self.server.kubectl(*words).stdout.splitlines() if line.startswith("{")]
        return [line["event"] for line in lines if line["level"] in ("error", "critical") or "Traceback" in str(line)]
