"""The charts as Helm renders them, and what the API server says of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailoperator.cluster import KINDS
from tests.support.apiserver import TOOLS, ApiServer
from tests.support.site import CHARTS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
OPERATOR: dict[str, Any] = {}
EVERYTHING = {
    "replicas": 2,
    "image": {"digest": f"sha256:{'0' * 64}"},
    "monitoring": {"podMonitor": True, "rules": True, "dashboards": True},
    "networkPolicy": {"create": True},
    "commonLabels": {"team": "mail"},
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}}],
}


def rendered(chart: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [
        TOOLS / "helm",
        "template",
        "one",
        CHARTS / chart,
        "-n",
        "mail",
        "--kube-version",
        "1.34.0",
        "-f",
        "-",
    ]
    return subprocess.run(
        command, input=yaml.safe_dump(values), text=True, capture_output=True, timeout=60, check=False
    )


def objects(chart: str, **values: Any) -> list[dict[str, Any]]:
    done = rendered(chart, values)
    assert not done.returncode, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.mark.parametrize("chart", ["mailkeep-operator", "mailkeep"])
def test_lint(chart: str) -> None:
    values = yaml.safe_dump({"spec": {"image": "mailkeep"}} if chart == "mailkeep" else {})
    command: list[str | Path] = [TOOLS / "helm", "lint", "--strict", CHARTS / chart, "-f", "-"]
    done = subprocess.run(command, input=values, text=True, capture_output=True, timeout=60, check=False)
    assert not done.returncode, done.stdout


@pytest.mark.parametrize("values", [OPERATOR, {"watchNamespace": "mail"}, EVERYTHING], ids=["plain", "one", "all"])
def test_the_api_server_takes_what_the_operators_chart_makes(server: ApiServer, values: dict[str, Any]) -> None:
    server.kubectl("create", "namespace", "mail", check=False)
    known = [each for each in objects("mailkeep-operator", **values) if "monitoring.coreos" not in each["apiVersion"]]
    server.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", given=yaml.safe_dump_all(known))


@pytest.mark.parametrize(
    ("chart", "values", "why"),
    [
        ("mailkeep-operator", {"replica": 2}, "additional properties 'replica' not allowed"),
        ("mailkeep-operator", {"logLevel": "loud"}, "logLevel"),
        (
            "mailkeep",
            {"spec": {"image": "x", "imap": {"maxsesions": 3}}},
            "additional properties 'maxsesions' not allowed",
        ),
        ("mailkeep", {"spec": {"image": "x", "imap": {"maxsessions": "many"}}}, "maxsessions"),
        ("mailkeep", {"spec": {}, "test": {"secret": "account"}}, "spec.image is needed"),
    ],
)
def test_a_wrong_value_fails_before_anything_is_installed(chart: str, values: dict[str, Any], why: str) -> None:
    done = rendered(chart, values)
    assert done.returncode
    assert why in done.stderr


def test_the_rights_are_on_what_the_operator_touches() -> None:
    roles = [each for each in objects("mailkeep-operator", watchNamespace="mail") if each["kind"] == "Role"]
    rules = [rule for role in roles for rule in role["rules"]]
    assert not any("*" in rule[part] for rule in rules for part in ("apiGroups", "resources", "verbs"))
    granted = {(group, name) for rule in rules for group in rule["apiGroups"] for name in rule["resources"]}
    touched = {(kind._api_info.resource.group, kind._api_info.plural) for kind in KINDS.values()}
    assert touched <= granted
    assert granted - touched == {("mailkeep.dev", "mailservices/status"), ("coordination.k8s.io", "leases")}


def test_the_definition_outlives_the_chart() -> None:
    definition = next(each for each in objects("mailkeep-operator") if each["kind"] == "CustomResourceDefinition")
    assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    kinds = {each["kind"] for each in objects("mailkeep-operator", crds={"create": False})}
    assert "CustomResourceDefinition" not in kinds


def test_rules_and_dashboards_come_whole_and_alerts_link_to_their_pages() -> None:
    pages = "https://git.example/runbooks"
    monitoring = {"rules": True, "dashboards": True, "runbooks": f"{pages}/"}
    made = objects("mailkeep-operator", monitoring=monitoring)
    [rules] = [each for each in made if each["kind"] == "PrometheusRule"]
    files = sorted((MONITORING / "rules").glob("*.yaml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    assert rules["spec"]["groups"] == yaml.safe_load(yaml.safe_dump(groups).replace("docs/runbooks/", f"{pages}/"))
    boards = {
        name: text
        for each in made
        if "grafana_dashboard" in each["metadata"].get("labels", {})
        for name, text in each["data"].items()
    }
    committed = {file.name: file.read_text() for file in (MONITORING / "dashboards").glob("*.json")}
    assert {name: json.loads(text) for name, text in boards.items()} == {
        name: json.loads(text) for name, text in committed.items()
    }
