"""The operator as a process against a real API server. There are no nodes, so no pod ever gets ready."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from mailoperator.children.pods import HASH_ANNOTATION
from mailoperator.crd import API_VERSION, KIND
from mailoperator.spec import PAUSE_ANNOTATION
from tests.support.apiserver import ApiServer
from tests.support.certificates import make_certificate
from tests.support.processes import eventually
from tests.support.prometheus import prometheus
from tests.support.running import free_ports

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
METRICS = ROOT / "docs" / "metrics.md"


class RunningOperator:
    """One operator process that looks after one namespace."""

    def __init__(self, server: ApiServer, namespace: str, log: Path) -> None:
        (self.port,) = free_ports(1)
        self.log = log
        self._environ = {
            **os.environ,
            "KUBECONFIG": str(server.kubeconfig),
            "WATCH_NAMESPACE": namespace,
            "POD_NAMESPACE": namespace,
            "ADMIN_PORT": str(self.port),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self.log, "ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mailoperator"], env=self._environ, stdout=output, stderr=output
            )
        eventually(lambda: self.metric("leading") == 1.0 or self._ended(), 60)

    def _ended(self) -> bool:
        assert self._process is None or self._process.poll() is None, self.log.read_text()[-4000:]
        return False

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)

    def metric(self, name: str) -> float:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as page:
                lines = page.read().decode().splitlines()
        except OSError:
            return -1.0
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"mailkeep_operator_{name} ")), -1.0)

    def unexpected(self) -> list[str]:
        """Lines of the log that say of an error."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line["event"] for line in lines if line["level"] in ("error", "critical") or "Traceback" in str(line)]


@pytest.fixture
def operator(server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[RunningOperator]:
    """Started; at the end its log holds no error."""
    started = RunningOperator(server, namespace, tmp_path / "operator.log")
    started.start()
    yield started
    with contextlib.suppress(AssertionError):
        assert started.stop() == 0
    assert started.unexpected() == []


class Site:
    """A MailService and its objects."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace

    def apply(self, **spec: Any) -> None:
        meta = {"name": "mail", "namespace": self.namespace}
        spec = {"image": "registry.example/mailkeep:1", **spec}
        self.server.apply({"apiVersion": API_VERSION, "kind": KIND, "metadata": meta, "spec": spec})

    def get(self, kind: str, name: str) -> Any:
        """The object, or None."""
        items = self.server.get(kind, "", self.namespace)["items"]
        return next((each for each in items if each["metadata"]["name"] == name), None)

    def names(self, kind: str) -> set[str]:
        return {each["metadata"]["name"] for each in self.server.get(kind, "", self.namespace)["items"]}

    def condition(self, name: str) -> tuple[str, str]:
        status = self.get("msvc", "mail").get("status") or {}
        found = [each for each in status.get("conditions", ()) if each["type"] == name]
        return (found[0]["status"], found[0]["message"]) if found else ("", "")

    def made(self) -> None:
        eventually(lambda: self.get("deployment", "mail-lmtp") is not None and self.condition("ConfigValid")[0], 60)

    def config(self, role: str) -> Any:
        return yaml.safe_load(self.get("configmap", f"mail-{role}-config")["data"]["mailkeep.yaml"])

    def hash(self, role: str) -> str:
        template = self.get("deployment", f"mail-{role}")["spec"]["template"]
        return str(template["metadata"]["annotations"][HASH_ANNOTATION])

    def events(self) -> list[str]:
        return [each["reason"] for each in self.server.get("events", "", self.namespace)["items"]]


@pytest.fixture
def site(server: ApiServer, namespace: str) -> Site:
    return Site(server, namespace)


def test_a_site_is_made_and_told_of(operator: RunningOperator, site: Site) -> None:
    site.apply()
    site.made()
    assert site.names("deployment") == {"mail-pop", "mail-imap", "mail-http", "mail-lmtp"}
    assert site.names("statefulset") == {"mail-store"}
    assert site.names("secret") == {
        "mail-ca",
        *(f"mail-{role}-identity" for role in ("store", "pop", "imap", "http", "lmtp")),
    }
    owner = site.get("msvc", "mail")["metadata"]
    assert "finalizers" not in owner
    for kind in ("deployment", "service", "configmap", "secret", "networkpolicy", "serviceaccount"):
        for each in site.server.get(kind, "", site.namespace)["items"]:
            if each["metadata"]["name"].startswith("mail-"):
                assert [ref["uid"] for ref in each["metadata"]["ownerReferences"]] == [owner["uid"]]
    assert site.condition("Ready") == ("False", site.condition("StoreReady")[1])
    columns = site.server.kubectl("get", "msvc", "-n", site.namespace, "-o", "wide").stdout
    assert "PodNotReady" in columns
    assert "0/1" in columns


def test_what_somebody_deletes_or_edits_is_put_right(operator: RunningOperator, site: Site) -> None:
    site.apply()
    site.made()
    site.server.kubectl("delete", "deployment", "mail-imap", "-n", site.namespace)
    eventually(lambda: site.get("deployment", "mail-imap") is not None, 30)
    patch = '{"spec":{"selector":{"app.kubernetes.io/component":"nothing"}}}'
    site.server.kubectl("patch", "service", "mail-pop", "-n", site.namespace, "-p", patch)
    wanted = "pop"
    eventually(lambda: site.get("service", "mail-pop")["spec"]["selector"]["app.kubernetes.io/component"] == wanted, 30)
    site.server.kubectl("delete", "configmap", "mail-imap-config", "-n", site.namespace)
    eventually(lambda: site.get("configmap", "mail-imap-config") is not None, 30)


def test_a_live_option_changes_files_and_no_pod(operator: RunningOperator, site: Site) -> None:
    site.apply()
    site.made()
    before = {
        role: site.get("deployment", f"mail-{role}")["metadata"]["generation"] for role in ("pop", "imap", "lmtp")
    }
    site.apply(imap={"banner": "Good morning", "maxsessions": 10, "port": 1430}, log={"level": "debug"})
    eventually(lambda: site.config("imap")["imap"]["banner"] == "Good morning", 30)
    eventually(lambda: site.get("service", "mail-imap")["spec"]["ports"][0]["port"] == 1430, 30)
    after = {role: site.get("deployment", f"mail-{role}")["metadata"]["generation"] for role in before}
    assert after == before
    old = site.hash("imap")
    site.apply(imap={"literal": "LITERAL-"})
    eventually(lambda: site.hash("imap") != old, 30)


def test_what_is_switched_off_goes_and_comes_back(operator: RunningOperator, site: Site) -> None:
    site.apply(imap={"replicas": 3})
    site.made()
    assert "mail-imap" in site.names("pdb")
    site.apply(imap={"enable": False})
    eventually(lambda: "mail-imap" not in site.names("deployment"), 30)
    eventually(lambda: not {name for name in site.names("all") if "imap" in name}, 30)
    assert "mail-imap" not in site.names("pdb")
    assert "mail-imap-config" not in site.names("configmap")
    site.apply()
    eventually(lambda: "mail-imap" in site.names("deployment"), 30)


def test_a_missing_secret_is_told_once_and_changes_nothing(
    operator: RunningOperator, site: Site, tmp_path: Path
) -> None:
    site.apply(imap={"banner": "before"})
    site.made()
    site.apply(imap={"banner": "after"}, tls={"secretRef": {"name": "site-tls"}})
    eventually(lambda: site.condition("ConfigValid") == ("False", "tls.secretRef: there is no Secret site-tls"), 30)
    assert site.config("imap")["imap"]["banner"] == "before", "the pods keep what they have"
    eventually(lambda: site.events().count("InvalidInput") == 2, 30)
    made = make_certificate(tmp_path)
    words = ("create", "secret", "tls", "site-tls", "-n", site.namespace)
    site.server.kubectl(*words, "--cert", str(made.certfile), "--key", str(made.keyfile))
    eventually(lambda: site.condition("ConfigValid")[0] == "True", 60)
    assert site.events().count("InvalidInput") == 2, "one for each condition, however many passes there were"
    assert site.config("imap")["imap"]["banner"] == "after"
    assert [each["name"] for each in site.get("service", "mail-imap")["spec"]["ports"]] == ["imap", "imaps"]


def test_a_pause_keeps_everything_as_it_is(operator: RunningOperator, site: Site) -> None:
    site.apply()
    site.made()
    site.server.kubectl("annotate", "msvc", "mail", f"{PAUSE_ANNOTATION}=true", "-n", site.namespace)
    eventually(lambda: site.condition("Paused")[0] == "True", 30)
    site.server.kubectl("delete", "service", "mail-pop", "-n", site.namespace)
    site.apply(imap={"banner": "paused"})
    passes = operator.metric("reconcile_seconds_count")
    eventually(lambda: operator.metric("reconcile_seconds_count") > passes + 1, 30)
    assert site.get("service", "mail-pop") is None
    assert site.config("imap")["imap"]["banner"] != "paused"
    site.server.kubectl("annotate", "msvc", "mail", f"{PAUSE_ANNOTATION}-", "-n", site.namespace)
    eventually(lambda: site.get("service", "mail-pop") is not None, 30)


def grows(site: Site, claim_class: str) -> None:
    """A claim as the StatefulSet would have made it, bound to a volume; a storage class whose volumes can grow."""
    server = site.server
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": claim_class}}
    server.apply({**storage, "provisioner": "tests.example/none", "allowVolumeExpansion": True})
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-mail-store-0", "namespace": site.namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": claim_class,
            "volumeName": "somewhere",
            "resources": {"requests": {"storage": "10Gi"}},
        },
    }
    server.apply(claim)


def bind(site: Site) -> None:
    """What the volume controller would do."""
    patch = '{"status":{"phase":"Bound","capacity":{"storage":"10Gi"}}}'
    words = ("patch", "pvc", "data-mail-store-0", "-n", site.namespace, "--subresource=status", "-p", patch)
    site.server.kubectl(*words)


def test_a_store_grows_around_its_pod(operator: RunningOperator, site: Site) -> None:
    site.apply()
    site.made()
    grows(site, f"growing-{site.namespace}")
    bind(site)
    old = site.get("statefulset", "mail-store")["metadata"]["uid"]
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "mail-store", "uid": old}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "mail-store-0", "namespace": site.namespace, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "store", "image": "registry.example/mailkeep:1"}]},
    }
    site.server.apply(pod)
    site.apply(store={"storage": {"size": "20Gi"}})

    def made_anew() -> bool:
        found = site.get("statefulset", "mail-store")
        return found is not None and found["metadata"]["uid"] != old

    eventually(made_anew, 60)
    assert site.get("pvc", "data-mail-store-0")["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert "deletionTimestamp" not in site.get("pod", "mail-store-0")["metadata"]


def test_a_volume_that_cannot_grow_is_told_and_holds_up_nothing_else(operator: RunningOperator, site: Site) -> None:
    site.apply()
    site.made()
    grows(site, f"unbound-{site.namespace}")
    site.apply(store={"storage": {"size": "20Gi"}}, imap={"banner": "all else goes on"})
    eventually(lambda: "store.storage.size: the claim cannot become 20Gi" in site.condition("ConfigValid")[1], 30)
    assert site.config("imap")["imap"]["banner"] == "all else goes on"
    claims = site.get("statefulset", "mail-store")["spec"]["volumeClaimTemplates"]
    assert [each["spec"]["resources"]["requests"]["storage"] for each in claims] == ["10Gi"]
    bind(site)
    eventually(lambda: site.condition("ConfigValid")[0] == "True", 60)


def test_an_operator_that_was_away_hinders_no_deletion_and_catches_up(operator: RunningOperator, site: Site) -> None:
    site.apply()
    site.made()
    operator.kill()
    site.apply(imap={"banner": "while it was away"})
    site.server.kubectl("delete", "service", "mail-imap", "-n", site.namespace)
    operator.start()
    eventually(lambda: site.config("imap")["imap"]["banner"] == "while it was away", 60)
    eventually(lambda: site.get("service", "mail-imap") is not None, 30)
    operator.kill()
    site.server.kubectl("delete", "msvc", "mail", "-n", site.namespace, "--timeout=20s")
    assert site.get("msvc", "mail") is None
    eventually(lambda: not {name for name in site.names("deployment,service,secret") if name.startswith("mail")}, 60)
    operator.start()
    site.apply()
    site.made()


def test_of_two_operators_one_leads_and_the_other_takes_over(
    operator: RunningOperator, site: Site, tmp_path: Path
) -> None:
    other = RunningOperator(site.server, site.namespace, tmp_path / "other.log")
    with open(other.log, "ab") as output:
        other._process = subprocess.Popen(
            [sys.executable, "-m", "mailoperator"], env=other._environ, stdout=output, stderr=output
        )
    eventually(lambda: other.metric("leading") == 0.0, 60)
    assert operator.metric("leading") == 1.0
    assert operator.stop() == 0
    eventually(lambda: other.metric("leading") == 1.0, 60)
    site.apply()
    site.made()
    assert other.stop() == 0
    assert other.unexpected() == []


def test_every_panel_of_its_dashboard_has_data(site: Site, operator: RunningOperator, tmp_path: Path) -> None:
    file = ROOT / "deploy" / "monitoring" / "dashboards" / "operator.json"
    panels = [panel for panel in json.loads(file.read_text())["panels"] if panel["type"] != "row"]
    wanted = {target["expr"] for panel in panels for target in panel["targets"]}
    banners = (f"Good morning {number}" for number in count())
    with prometheus(tmp_path / "prometheus", {"operator": operator.port}, {"namespace": "mail"}) as watcher:

        def all_found() -> bool:
            site.apply(imap={"banner": next(banners)})
            wanted.difference_update([query for query in wanted if watcher.has_data(query)])
            return not wanted

        eventually(all_found)


def test_its_metrics_are_well_named_and_listed(operator: RunningOperator) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.port}/metrics", timeout=10) as page:
        text = page.read()
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
    told = {
        (f"{family.name}_total" if family.type == "counter" else family.name, family.type, family.documentation)
        for family in text_string_to_metric_families(text.decode())
        if not family.name.endswith("_created")
    }
    rows = re.findall(r"^\| `(mailkeep_operator_\w+)` \| (\w+) \|.*\| (.+) \|$", METRICS.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(told)
