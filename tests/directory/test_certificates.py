"""Whom a client's certificate means in OpenLDAP, by every property of certmap.conf, with certificates of openssl."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Iterator

import pytest

from services.common.certmap import choose, parse_certmap
from services.common.clientcert import read
from services.common.directory import CertificateDirectory, LoginRefused
from tests.support.authority import Authority
from tests.support.ldapdirectory import opened
from tests.support.ldaptree import organisation, person
from tests.support.opensslca import OpensslCa
from tests.support.slapd import Slapd

pytestmark = pytest.mark.slapd
SUBJECT_TEXT = "uid=zora, ou=people, o=certs.example, o=isp"
SUBJECT = "/O=isp/O=certs.example/OU=people/UID=zora"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> OpensslCa:
    return OpensslCa(tmp_path_factory.mktemp("ca") / "staff")


@pytest.fixture(scope="module")
def der(ca: OpensslCa) -> bytes:
    pair = ca.issue(SUBJECT, mails=("zora@certs.example",))
    return ssl.PEM_cert_to_DER_cert(pair.certfile.read_text())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, authority: Authority, der: bytes) -> Iterator[Slapd]:
    base = "o=certs.example,o=isp"
    entries = [
        organisation("certs.example"),
        person("zora", base, mail="zora@certs.example", description=SUBJECT_TEXT) + binary(der),
        person("bert", base, mail="bert@certs.example"),
        person("carl", base, mail="carl@elsewhere.example"),
    ]
    server = Slapd(tmp_path_factory.mktemp("slapd") / "certificates", authority, entries, [])
    server.start()
    yield server
    server.stop()


def binary(der: bytes) -> str:
    return f"userCertificate;binary:: {b64encode(der).decode()}\n"


@pytest.mark.parametrize(
    ("lines", "account"),
    [
        ("", "zora@certs.example"),
        ("x:DNComps\nx:FilterComps e", "zora@certs.example"),
        ("x:DNComps\nx:FilterComps uid", "zora@certs.example"),
        ("x:DNComps o\nx:FilterComps uid,e", "zora@certs.example"),
        ("x:DNComps ou,o\nx:FilterComps mail\nx:verifycert on", "zora@certs.example"),
        ("x:CmapLdapAttr description\nx:DNComps\nx:FilterComps cn", "zora@certs.example"),
        ("x:CmapLdapAttr description", "zora@certs.example"),
        ("x:DNComps o\nx:FilterComps ou", None),
        ("x:DNComps", None),
    ],
)
async def test_a_map_finds_the_entry(tree: Slapd, der: bytes, lines: str, account: str | None) -> None:
    found = await meant(tree, der, lines)
    assert found == account


async def meant(tree: Slapd, der: bytes, lines: str) -> str | None:
    certificate = read(der)
    chosen = choose(parse_certmap(f"certmap x default\n{lines}"), certificate)
    assert chosen is not None
    query = chosen.query(certificate)
    if query is None:
        return None
    async with opened(tree) as directory:
        assert isinstance(directory, CertificateDirectory)
        try:
            return (await directory.by_certificate(query)).account
        except LoginRefused:
            return None


async def test_the_entry_has_to_hold_the_certificate_where_the_map_says_so(tree: Slapd, ca: OpensslCa) -> None:
    other = ssl.PEM_cert_to_DER_cert(ca.issue(SUBJECT, mails=("zora@certs.example",)).certfile.read_text())
    assert await meant(tree, other, "x:DNComps\nx:FilterComps e") == "zora@certs.example"
    assert await meant(tree, other, "x:DNComps\nx:FilterComps e\nx:verifycert on") is None


async def test_values_of_a_certificate_are_no_filter(tree: Slapd, ca: OpensslCa) -> None:
    for uid in ("*", "zora)(uid=*", "x)(|(uid=bert", "zora\\\\2a"):
        hostile = ssl.PEM_cert_to_DER_cert(ca.issue(f"/O=isp/UID={uid}").certfile.read_text())
        assert await meant(tree, hostile, "x:DNComps\nx:FilterComps uid") is None


async def test_an_entry_outside_its_domain_is_nobody(tree: Slapd, ca: OpensslCa) -> None:
    pair = ca.issue("/O=isp/CN=Carl", mails=("carl@elsewhere.example",))
    der = ssl.PEM_cert_to_DER_cert(pair.certfile.read_text())
    assert await meant(tree, der, "x:DNComps\nx:FilterComps e") is None


async def test_two_entries_are_nobody(slapd: Slapd, ca: OpensslCa) -> None:
    der = ssl.PEM_cert_to_DER_cert(ca.issue("/O=isp/UID=twin").certfile.read_text())
    assert await meant(slapd, der, "x:DNComps\nx:FilterComps uid") is None
