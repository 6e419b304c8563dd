"""What a MailService refers to: every problem named, with the field and the Secret."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailoperator import inputs
from tests.support.certificates import make_certificate
from tests.support.mailservices import service

NOW = datetime.now(UTC)
SITE = {"tls": {"secretRef": {"name": "site-tls"}}, "directory": {"users": {"secretRef": {"name": "people"}}}}


def secret(**data: bytes) -> dict[str, Any]:
    return {"data": {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}}


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, Any]:
    made = make_certificate(tmp_path)
    return secret(tls_crt=made.certfile.read_bytes(), tls_key=made.keyfile.read_bytes())


def test_all_is_well(certificate: dict[str, Any]) -> None:
    people = secret(users_yaml=b"accounts: {}")
    assert inputs.problems(service(**SITE), {"site-tls": certificate, "people": people}, NOW) == []
    assert inputs.problems(service(), {}, NOW) == []


def test_everything_that_is_wrong_is_named_at_once() -> None:
    found = inputs.problems(service(**SITE, imap={"cachebytes": "9999T"}), {"site-tls": None, "people": None}, NOW)
    assert found[0].startswith("imap.cachebytes: '9999T' is not allowed; allowed: 1048576 to")
    assert found[1:] == [
        "tls.secretRef: there is no Secret site-tls",
        "directory.users.secretRef: there is no Secret people",
    ]


@pytest.mark.parametrize(
    ("people", "why"),
    [
        (secret(other=b"x"), "it has no users.yaml"),
        (secret(users_yaml=b"a: [b"), "users.yaml is no YAML"),
        (secret(users_yaml=b"\xff"), "users.yaml is no YAML"),
        (secret(users_yaml=b"- a\n- b"), "users.yaml is no users file"),
        ({"data": {"users.yaml": "%%%"}}, ""),
    ],
)
def test_a_users_file_that_cannot_be_read(people: dict[str, Any], why: str) -> None:
    found = inputs.problems(service(directory=SITE["directory"]), {"people": people}, NOW)
    assert found == ([f"directory.users.secretRef: Secret people: {why}"] if why else [])


def test_a_certificate_that_cannot_be_used(certificate: dict[str, Any], tmp_path: Path) -> None:
    made = service(tls=SITE["tls"])
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other")
    mixed = {"data": {**certificate["data"], **secret(tls_key=other.keyfile.read_bytes())["data"]}}
    cases = [
        (secret(tls_crt=b"x"), NOW, "it has no tls.key"),
        (secret(tls_crt=b"x", tls_key=b"y"), NOW, "tls.crt or tls.key is no PEM that can be read"),
        (mixed, NOW, "tls.key is not the key of tls.crt"),
        (certificate, NOW + timedelta(days=400), "the certificate ended on "),
    ]
    for given, now, why in cases:
        (found,) = inputs.problems(made, {"site-tls": given}, now)
        assert found.startswith(f"tls.secretRef: Secret site-tls: {why}")


def test_authorities_and_passwords_are_looked_at() -> None:
    made = service(ldap={"bindSecretRef": {"name": "reader"}, "caSecretRef": {"name": "ca"}})
    secrets = {"reader": {"data": {"user": "YQ=="}}, "ca": {"data": {"ca.crt": "YQ=="}}}
    assert inputs.problems(made, secrets, NOW) == [
        "ldap.bindSecretRef: Secret reader: it has no password",
        "ldap.caSecretRef: Secret ca: ca.crt is no PEM that can be read",
    ]
