"""Certificates between the pods: issued, kept, renewed, and an authority replaced without breaking anybody."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from mailoperator import pki
from mailoperator.pki import AUTHORITIES, CERTIFICATE, KEY, Identity
from services.store.roles import role_of_names

NOW = datetime.now(UTC)
IMAP = Identity("imap")
STORE = Identity("store", ["mail-store.post.svc"])
Data = dict[str, bytes]


@pytest.fixture(scope="module")
def authority() -> Data:
    return pki.authority("mailkeep mail", NOW, None)


def handshake(server: Data, client: Data, host: str, folder: Path) -> None:
    """Mutual TLS in memory, as the store's. Raises ssl.SSLError."""
    contexts = []
    for side, data in ((ssl.PROTOCOL_TLS_SERVER, server), (ssl.PROTOCOL_TLS_CLIENT, client)):
        names = {name: folder / f"{side}-{name}" for name in (CERTIFICATE, KEY, AUTHORITIES)}
        for name, path in names.items():
            path.write_bytes(data[name])
        context = ssl.SSLContext(side)
        context.load_cert_chain(names[CERTIFICATE], names[KEY])
        context.load_verify_locations(names[AUTHORITIES])
        context.verify_mode = ssl.CERT_REQUIRED
        contexts.append(context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        contexts[0].wrap_bio(to_server, to_client, server_side=True),
        contexts[1].wrap_bio(to_client, to_server, server_hostname=host),
    ]
    for _ in range(8):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_front_ends_and_the_store_trust_one_another(authority: Data, tmp_path: Path) -> None:
    store, imap = pki.identity(STORE, NOW, authority, None), pki.identity(IMAP, NOW, authority, None)
    handshake(store, imap, "mail-store.post.svc", tmp_path)
    with pytest.raises(ssl.SSLError):
        handshake(store, imap, "other-store.post.svc", tmp_path)


@pytest.mark.parametrize("role", ["pop", "imap", "http", "lmtp"])
def test_the_certificate_names_the_role(role: str, authority: Data) -> None:
    made = pki.identity(Identity(role), NOW, authority, None)
    names = x509.load_pem_x509_certificate(made[CERTIFICATE]).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert role_of_names(names.value.get_values_for_type(x509.DNSName)) == role


def test_another_sites_certificates_are_strangers(authority: Data, tmp_path: Path) -> None:
    other = pki.authority("mailkeep mail", NOW, None)
    store, imap = pki.identity(STORE, NOW, authority, None), pki.identity(IMAP, NOW, other, None)
    with pytest.raises(ssl.SSLError):
        handshake(store, imap, "mail-store.post.svc", tmp_path)


def test_what_is_good_is_kept(authority: Data) -> None:
    first = pki.identity(IMAP, NOW, authority, None)
    assert pki.authority("mailkeep mail", NOW + timedelta(days=300), authority) == authority
    assert pki.identity(IMAP, NOW + timedelta(days=50), authority, first) == first


@pytest.mark.parametrize("days", [61, 100])
def test_a_certificate_is_renewed_well_before_its_end(days: int, authority: Data) -> None:
    first = pki.identity(IMAP, NOW, authority, None)
    assert pki.identity(IMAP, NOW + timedelta(days=days), authority, first)[CERTIFICATE] != first[CERTIFICATE]


@pytest.mark.parametrize(
    "broken",
    [{}, {CERTIFICATE: b"x"}, {CERTIFICATE: b"x", KEY: b"y"}, {KEY: b"y", AUTHORITIES: b"z"}],
    ids=["empty", "half", "no PEM", "no certificate"],
)
def test_what_somebody_broke_is_made_anew(broken: Data, authority: Data) -> None:
    assert pki.identity(IMAP, NOW, authority, broken)[CERTIFICATE].startswith(b"-----BEGIN CERTIFICATE")
    assert pki.authority("mailkeep mail", NOW, broken)[KEY].startswith(b"-----BEGIN PRIVATE KEY")


def test_other_names_make_another_certificate(authority: Data) -> None:
    first = pki.identity(STORE, NOW, authority, None)
    moved = pki.identity(Identity("store", ["mail-store.other.svc"]), NOW, authority, first)
    assert moved[CERTIFICATE] != first[CERTIFICATE]


def test_an_authority_is_replaced_while_both_sides_go_on(tmp_path: Path) -> None:
    """Whatever Secrets the pods have seen: theirs from before, from when the new one was made, from when it signs."""
    first = pki.authority("mailkeep mail", NOW - timedelta(days=2600), None)
    second = pki.authority("mailkeep mail", NOW, first)
    assert second[CERTIFICATE] != first[CERTIFICATE]
    assert second[AUTHORITIES].count(b"BEGIN CERTIFICATE") == 2
    stages = [
        [pki.identity(who, NOW - timedelta(days=1), pki.signer(first, NOW), None) for who in (STORE, IMAP)],
    ]
    for held, now in ((second, NOW), (second, NOW + timedelta(hours=2))):
        signer = pki.signer(held, now)
        stages.append([pki.identity(who, NOW, signer, old) for who, old in zip((STORE, IMAP), stages[-1], strict=True)])
    assert stages[1][0][CERTIFICATE] == stages[0][0][CERTIFICATE], "at first only who is trusted changes"
    assert stages[2][0][CERTIFICATE] != stages[1][0][CERTIFICATE]
    for early, late in ((0, 0), (0, 1), (1, 1), (1, 2), (2, 2)):
        handshake(stages[early][0], stages[late][1], "mail-store.post.svc", tmp_path)
        handshake(stages[late][0], stages[early][1], "mail-store.post.svc", tmp_path)


def test_an_authority_that_is_over_is_trusted_no_more(authority: Data) -> None:
    new = pki.authority("mailkeep mail", NOW + timedelta(days=4000), authority)
    assert new[AUTHORITIES].count(b"BEGIN CERTIFICATE") == 1
