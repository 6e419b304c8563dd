"""A spec and the objects that it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mailoperator.children import children
from mailoperator.children.monitoring import POD_MONITOR
from mailoperator.children.pods import HASH_ANNOTATION
from mailoperator.podconfig import FILE
from mailoperator.references import REFERENCES
from mailoperator.spec import MailService
from services.common.accessoptions import AccessOptions
from services.common.configuration import load
from services.common.values import TABLE
from tests.support.mailservices import UID, service

TLS = {"secretRef": {"name": "site-tls"}}


def built(made: MailService, *kinds: str) -> dict[tuple[str, str], dict[str, Any]]:
    """(kind, name) -> object."""
    return {(each["kind"], each["metadata"]["name"]): each for each in children(made, frozenset(kinds))}


def template(role: str, **spec: Any) -> dict[str, Any]:
    kind = "StatefulSet" if role == "store" else "Deployment"
    found: dict[str, Any] = built(service(**spec))[kind, f"mail-{role}"]["spec"]["template"]
    return found


def config(role: str, **spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(built(service(**spec))["ConfigMap", f"mail-{role}-config"]["data"][FILE])
    return found


def test_a_site_of_defaults() -> None:
    names = {f"{kind} {name}" for kind, name in built(service())}
    expected = {"StatefulSet mail-store", "Service mail-store"}
    for role in ("pop", "imap", "http", "lmtp"):
        expected |= {f"Deployment mail-{role}", f"Service mail-{role}"}
    for role in ("pop", "imap", "http", "lmtp", "store"):
        expected |= {f"ConfigMap mail-{role}-config", f"NetworkPolicy mail-{role}", f"ServiceAccount mail-{role}"}
    assert names == expected


def test_every_object_goes_with_its_mailservice_and_none_has_a_finalizer() -> None:
    made = built(service(imap={"replicas": 2}, tls=TLS), POD_MONITOR)
    for thing in made.values():
        meta = thing["metadata"]
        assert [owner["uid"] for owner in meta["ownerReferences"]] == [UID]
        assert "finalizers" not in meta
        assert meta["namespace"] == "post"
        assert meta["labels"]["app.kubernetes.io/instance"] == "mail"


def test_the_mail_is_not_owned() -> None:
    claim = built(service())["StatefulSet", "mail-store"]["spec"]["volumeClaimTemplates"][0]
    assert "ownerReferences" not in claim["metadata"]
    policy = built(service())["StatefulSet", "mail-store"]["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert policy == {"whenDeleted": "Retain", "whenScaled": "Retain"}


@pytest.mark.parametrize(
    ("imap", "replicas"),
    [
        ({}, 1),
        ({"numprocesses": 3}, 3),
        ({"replicas": 2}, 2),
        ({"capacity": {"sessions": 4_000}}, 2),
        ({"capacity": {"sessions": 4_001}}, 3),
        ({"capacity": {"sessions": 1_000}, "maxsessions": 100}, 11),
    ],
)
def test_how_many_pods(imap: dict[str, Any], replicas: int) -> None:
    made = built(service(imap=imap))
    assert made["Deployment", "mail-imap"]["spec"]["replicas"] == replicas
    assert (("PodDisruptionBudget", "mail-imap") in made) == (replicas > 1)


def test_an_autoscaler_sets_the_number_itself() -> None:
    scaling = {"minReplicas": 2, "maxReplicas": 9, "sessionsPercent": 70, "cpuPercent": 80}
    made = built(service(imap={"autoscaling": scaling}))
    assert "replicas" not in made["Deployment", "mail-imap"]["spec"]
    scaler = made["HorizontalPodAutoscaler", "mail-imap"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 9)
    sessions, cpu = scaler["metrics"]
    assert sessions["pods"]["target"]["averageValue"] == "2800"
    assert cpu["resource"]["target"]["averageUtilization"] == 80
    assert ("PodDisruptionBudget", "mail-imap") in made


@pytest.mark.parametrize(
    "imap",
    [
        {"banner": "Good morning"},
        {"maxsessions": 9_000},
        {"maxthreads": 9_000},
        {"idletimeout": 60},
        {"port": 1430},
        {"sslport": 9930},
        {"numprocesses": 4},
        {"replicas": 4},
        {"maxsessionsperuser": 7},
    ],
    ids=lambda imap: next(iter(imap)),
)
def test_what_running_pods_take_up_changes_no_template(imap: dict[str, Any]) -> None:
    assert template("imap", imap=imap, tls=TLS) == template("imap", tls=TLS)


def test_a_log_level_changes_files_alone() -> None:
    for role in ("imap", "store"):
        assert template(role, log={"level": "debug"}) == template(role)
        assert config(role, log={"level": "debug"})["log"]["level"] == "debug"


@pytest.mark.parametrize(
    ("role", "spec"),
    [
        ("imap", {"imap": {"literal": "LITERAL-"}}),
        ("imap", {"imap": {"resources": {"requests": {"cpu": "2"}}}}),
        ("imap", {"image": "registry.example/mailkeep:2"}),
        ("store", {"image": "registry.example/mailkeep:2"}),
        ("pop", {"log": {"format": "json"}}),
    ],
)
def test_what_pods_read_at_their_start_replaces_them(role: str, spec: dict[str, Any]) -> None:
    assert template(role, **spec) != template(role)


def test_only_the_role_that_is_concerned_is_replaced() -> None:
    assert template("pop", imap={"literal": "LITERAL-"}) == template("pop")
    assert template("store", imap={"literal": "LITERAL-"}) == template("store")


def test_a_services_ports_are_the_specs_and_the_containers_are_high() -> None:
    made = built(service(imap={"port": 1430, "sslport": 9930}, tls=TLS))
    ports = {each["name"]: each for each in made["Service", "mail-imap"]["spec"]["ports"]}
    assert {name: each["port"] for name, each in ports.items()} == {"imap": 1430, "imaps": 9930}
    container = made["Deployment", "mail-imap"]["spec"]["template"]["spec"]["containers"][0]
    listening = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert all(port >= 1024 for port in listening.values())
    assert set(ports) <= set(listening)
    assert all(each["targetPort"] in listening for each in ports.values())


def test_ports_for_balancers_are_there_where_they_are_asked_for() -> None:
    access = {"trustedproxies": ["10.0.0.0/8"]}
    made = built(service(imap={"proxyport": 10143, "proxysslport": 10993}, access=access, tls=TLS))
    ports = {each["name"]: each["port"] for each in made["Service", "mail-imap"]["spec"]["ports"]}
    assert ports == {"imap": 143, "imaps": 993, "imap-proxy": 10143, "imaps-proxy": 10993}
    own = config("imap", imap={"proxyport": 10143}, access=access)
    assert (own["imap"]["proxyport"], own["imap"]["proxysslport"]) == (2143, 0)
    assert own["access"]["trustedproxies"] == ["10.0.0.0/8"]
    assert template("imap", imap={"proxyport": 1}, access=access) == template(
        "imap", imap={"proxyport": 2}, access=access
    )
    assert config("imap")["imap"]["proxyport"] == 0


def test_without_a_certificate_there_is_no_tls_port() -> None:
    made = built(service())
    assert [each["name"] for each in made["Service", "mail-imap"]["spec"]["ports"]] == ["imap"]
    assert config("imap")["imap"]["enablesslport"] is False


def test_a_service_that_is_not_enabled_is_not_there() -> None:
    made = built(service(pop={"enable": False}))
    assert not [name for _, name in made if name.startswith("mail-pop")]
    callers = made["NetworkPolicy", "mail-store"]["spec"]["ingress"][1]["from"]
    roles = [each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in callers]
    assert roles == ["imap", "http", "lmtp"]


@pytest.mark.parametrize("role", ["pop", "imap", "http", "lmtp", "store"])
def test_pods_keep_to_the_restricted_standard(role: str) -> None:
    pod = template(role, tls=TLS)["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True


def test_front_ends_have_a_folder_of_the_pod_for_who_is_shut_out() -> None:
    pod = built(service())["Deployment", "mail-imap"]["spec"]["template"]["spec"]
    (volume,) = (each for each in pod["volumes"] if each["name"] == "run")
    assert volume["emptyDir"]["medium"] == "Memory"
    (mount,) = (each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "run")
    data = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}["MAILKEEP_DATA"]
    assert mount == {"name": "run", "mountPath": str(Path(data, AccessOptions().statefile).parent)}


def test_a_pod_has_time_to_drain() -> None:
    pod = template("imap", imap={"drainseconds": 120})["spec"]
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > before + 120


@pytest.mark.parametrize("role", ["pop", "imap", "http", "lmtp", "store"])
def test_the_services_take_their_configuration(role: str, tmp_path: Any) -> None:
    """Every file that is made is read by the code that will read it in the pod."""
    file = tmp_path / FILE
    users = {"secretRef": {"name": "users"}}
    file.write_text(yaml.safe_dump(config(role, tls=TLS, directory={"users": users})))
    loaded = load(str(file), {}, str(tmp_path))
    enabled = [name for name in ("pop", "imap", "http", "lmtp") if getattr(loaded, name).enable]
    assert enabled == ([] if role == "store" else [role])
    if role == "store":
        assert loaded.store.listen == "*"
    else:
        assert loaded.store.target == "mail-store.post.svc:7643"
        assert loaded.tls.certfile == "/etc/mailkeep/tls/tls.crt"


def test_only_front_ends_reach_the_store() -> None:
    policy = built(service())["NetworkPolicy", "mail-store"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    admin, calls = policy["ingress"]
    assert "from" not in admin
    assert [each["port"] for each in calls["ports"]] == [7643]
    assert all("podSelector" in each for each in calls["from"])


def test_further_egress_is_passed_on_and_policies_may_be_left_out() -> None:
    rule = {"ports": [{"protocol": "TCP", "port": 636}]}
    made = built(service(network={"egress": [rule]}))
    assert rule in made["NetworkPolicy", "mail-imap"]["spec"]["egress"]
    assert rule not in made["NetworkPolicy", "mail-store"]["spec"]["egress"]
    assert not [kind for kind, _ in built(service(network={"policies": False})) if kind == "NetworkPolicy"]


def test_a_pod_monitor_only_where_the_kind_is_known_and_wanted() -> None:
    assert ("PodMonitor", "mail-metrics") not in built(service())
    made = built(service(monitoring={"labels": {"release": "prometheus"}}), POD_MONITOR)
    assert made["PodMonitor", "mail-metrics"]["metadata"]["labels"]["release"] == "prometheus"
    assert ("PodMonitor", "mail-metrics") not in built(service(monitoring={"podMonitor": False}), POD_MONITOR)


def test_lost_nodes_are_left_soon_and_the_specs_tolerations_stay() -> None:
    own = {"key": "mail", "operator": "Exists"}
    tolerations = template("imap", imap={"tolerations": [own]})["spec"]["tolerations"]
    assert own in tolerations
    assert {each.get("tolerationSeconds") for each in tolerations if each != own} == {30}


def test_the_hash_is_in_the_template() -> None:
    assert len(template("imap")["metadata"]["annotations"][HASH_ANNOTATION]) == 24


def test_the_claim_is_as_large_as_the_spec_says() -> None:
    storage = {"size": "50Gi", "storageClassName": "fast"}
    claim = built(service(store={"storage": storage}))["StatefulSet", "mail-store"]["spec"]["volumeClaimTemplates"][0]
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    assert claim["spec"]["storageClassName"] == "fast"


def test_traces_have_a_way_out_of_every_pod() -> None:
    tracing = {"endpoint": "http://collector.watch:4317", "sample": 5}
    for role in ("store", "imap"):
        assert config(role, trace=tracing)["trace"] == tracing
        way = {"ports": [{"protocol": "TCP", "port": 4317}]}
        assert way in built(service(trace=tracing))["NetworkPolicy", f"mail-{role}"]["spec"]["egress"]
        assert way not in built(service())["NetworkPolicy", f"mail-{role}"]["spec"]["egress"]


def test_secrets_that_the_spec_names_are_files_of_the_front_ends() -> None:
    spec = {
        "directory": {"kind": "ldap"},
        "ldap": {
            "servers": ["ldaps://directory.example"],
            "basedn": "o=isp",
            "binddn": "cn=reader",
            "bindSecretRef": {"name": "reader"},
            "caSecretRef": {"name": "directory-ca"},
        },
        "sasl": {"keysSecretRef": {"name": "keys"}},
    }
    made = config("imap", **spec)
    assert made["ldap"]["bindpasswordfile"] == "/etc/mailkeep/ldap-bind/password"
    assert made["ldap"]["cafile"] == "/etc/mailkeep/ldap-ca/ca.crt"
    assert made["sasl"]["oauthkeys"] == "/etc/mailkeep/oauth-keys/keys.json"
    pod = template("imap", **spec)["spec"]
    volumes = {each["name"]: each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each}
    assert volumes == {
        "identity": "mail-imap-identity",
        "ldap-bind": "reader",
        "ldap-ca": "directory-ca",
        "oauth-keys": "keys",
    }
    mounted = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    assert mounted["ldap-bind"] == "/etc/mailkeep/ldap-bind"
    stores = template("store", **spec)["spec"]["volumes"]
    assert "ldap-bind" not in {each["name"] for each in stores}, "the store asks no directory"


def test_every_reference_is_of_an_option_that_exists() -> None:
    for reference in REFERENCES:
        for option in reference.files:
            row = TABLE[f"{reference.group}.{option}"].option
            assert row.live or reference.field == "directory.users.secretRef", "pods take a change"


BACKUPS = {
    "backup": {"claimName": "copies", "schedule": "0 1 * * *", "keep": 3},
    "restoreFrom": {"claimName": "copies"},
}


def test_backups_are_asked_for_and_written_by_the_store() -> None:
    made = built(service(store=BACKUPS))
    job = made["CronJob", "mail-backup"]["spec"]
    assert (job["schedule"], job["concurrencyPolicy"]) == ("0 1 * * *", "Forbid")
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][-4:] == ["--dated", "--keep", "3", "/var/lib/mailkeep-backup"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert "copies" not in str(pod["volumes"]), "who asks does not see the copies"
    store = template("store", store=BACKUPS)["spec"]
    claims = {
        each["name"]: each["persistentVolumeClaim"] for each in store["volumes"] if "persistentVolumeClaim" in each
    }
    assert claims == {
        "backup": {"claimName": "copies", "readOnly": False},
        "restore": {"claimName": "copies", "readOnly": True},
    }
    callers = made["NetworkPolicy", "mail-store"]["spec"]["ingress"][1]["from"]
    assert {each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in callers} >= {"backup"}
    assert made["NetworkPolicy", "mail-backup"]["spec"]["ingress"] == []


@pytest.mark.parametrize(
    ("path", "expected"), [("", ["--latest", "/var/lib/mailkeep-restore"]), ("a", ["/var/lib/mailkeep-restore/a"])]
)
def test_an_empty_store_begins_with_a_backup(path: str, expected: list[str]) -> None:
    wanted = {"claimName": "copies", **({"path": path} if path else {})}
    (container,) = template("store", store={"restoreFrom": wanted})["spec"]["initContainers"]
    assert container["command"] == ["mailkeep", "store", "restore", "--if-absent", *expected]
    assert "initContainers" not in template("store")["spec"]
