"""What the API server makes of MailServices: defaults filled in, bad ones refused with a message that helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mailoperator.crd import API_VERSION, KIND
from tests.support.apiserver import ApiServer
from tests.support.mailservices import resource
from tests.support.processes import eventually

pytestmark = pytest.mark.cluster
EXAMPLES = Path(__file__).parents[2] / "examples"


def mailservice(namespace: str, name: str = "mail", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"image": "registry.example/mailkeep:1", **spec},
    }


def test_defaults_are_filled_in_as_the_builders_tests_take_them_to_be(server: ApiServer, namespace: str) -> None:
    server.apply(mailservice(namespace, imap={"autoscaling": {"maxReplicas": 3, "cpuPercent": 80}}))
    stored = server.get("msvc", "mail", namespace)["spec"]
    assert stored == resource(imap={"autoscaling": {"maxReplicas": 3, "cpuPercent": 80}})["spec"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"imap": {"idletimeout": 29}}, "spec.imap.idletimeout in body should be greater than or equal to 30"),
    ({"pop": {"idletimeout": 9}}, "spec.pop.idletimeout in body should be greater than or equal to 10"),
    ({"imap": {"port": 0}}, "spec.imap.port in body should be greater than or equal to 1"),
    ({"imap": {"port": 65_536}}, "spec.imap.port in body should be less than or equal to 65535"),
    ({"imap": {"port": 993}}, "port and sslport must differ: one Service has both"),
    ({"imap": {"replicas": 2, "numprocesses": 3}}, "numprocesses is the default of replicas"),
    ({"imap": {"replicas": 2, "capacity": {"sessions": 9}}}, "set only one of replicas, capacity and autoscaling"),
    ({"imap": {"autoscaling": {"maxReplicas": 3}}}, "set sessionsPercent or cpuPercent"),
    (
        {"imap": {"autoscaling": {"minReplicas": 4, "maxReplicas": 3, "cpuPercent": 5}}},
        "maxReplicas must not be below minReplicas",
    ),
    ({"imap": {"banner": "one\r\ntwo"}}, "spec.imap.banner in body should match"),
    ({"imap": {"literal": "LITERAL"}}, 'supported values: "LITERAL+", "LITERAL-"'),
    ({"imap": {"cachebytes": 1}}, "imap.cachebytes must be 1048576 to"),
    ({"imap": {"cachebytes": "lots"}}, "spec.imap.cachebytes in body should match"),
    ({"imap": {"maxsesions": 1}}, 'unknown field "spec.imap.maxsesions"'),
    ({"imap": {"adminport": 1}}, 'unknown field "spec.imap.adminport"'),
    ({"imap": {"service": {"externalTrafficPolicy": "Local"}}}, "want type NodePort or LoadBalancer"),
    ({"store": {"storage": {"size": "lots"}}}, "must be a quantity such as 10Gi"),
    ({"tls": {"secretRef": {}}}, "spec.tls.secretRef.name: Required value"),
    ({"image": ""}, "spec.image in body should be at least 1 chars long"),
]


@pytest.mark.parametrize(("spec", "message"), REFUSED, ids=[str(spec) for spec, _ in REFUSED])
def test_a_bad_spec_is_refused(server: ApiServer, namespace: str, spec: dict[str, Any], message: str) -> None:
    assert message in server.refusal(mailservice(namespace, **spec))


@pytest.mark.parametrize(
    "spec",
    [
        {"imap": {"maxthreads": 9_000, "maxsessions": 10}},
        {"imap": {"replicas": 2, "numprocesses": 2}},
        {"imap": {"cachebytes": "512M"}},
        {"imap": {"service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}}},
    ],
    ids=str,
)
def test_a_good_spec_is_taken(server: ApiServer, namespace: str, spec: dict[str, Any]) -> None:
    server.apply(mailservice(namespace, **spec))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_taken(server: ApiServer, namespace: str, path: Path) -> None:
    things = [each for each in yaml.safe_load_all(path.read_text()) if each["kind"] == KIND]
    assert things
    for thing in things:
        thing["metadata"]["namespace"] = namespace
        server.apply(thing)


def test_names_are_bounded(server: ApiServer, namespace: str) -> None:
    assert "the name may have at most 40 characters" in server.refusal(mailservice(namespace, "m" * 41))
    assert "the name must be a DNS label" in server.refusal(mailservice(namespace, "mail.site"))


def test_the_store_grows_and_never_shrinks_and_keeps_its_class(server: ApiServer, namespace: str) -> None:
    storage = {"size": "20Gi", "storageClassName": "fast"}
    server.apply(mailservice(namespace, store={"storage": storage}))
    server.apply(mailservice(namespace, store={"storage": {**storage, "size": "30Gi"}}))
    refusals = {
        "10Gi": "the store's volume cannot be made smaller",
        "40Gi": "",
    }
    for size, message in refusals.items():
        if message:
            assert message in server.refusal(mailservice(namespace, store={"storage": {**storage, "size": size}}))
    changed = mailservice(namespace, store={"storage": {"size": "40Gi", "storageClassName": "slow"}})
    assert "storageClassName cannot be changed" in server.refusal(changed)


def test_every_option_is_explained(server: ApiServer) -> None:
    def explained() -> bool:
        done = server.kubectl("explain", "msvc.spec.imap.maxsessions", check=False)
        return "service.imap.maxsessions" in done.stdout

    eventually(explained)
