"""SCRAM-SHA-256: the vectors of RFC 7677, channel bindings, and every way in which a client can be wrong."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest

from services.common.sasl.exchange import Exchange
from services.common.sasl.mechanisms import MECHANISMS
from services.common.sasl.scram import ScramSecret, make_secret, parse_secret
from services.common.sasl.steps import (
    Challenge,
    Proved,
    Rejected,
    SaslInvalidError,
    SecretKind,
    SecretWanted,
    Situation,
    Step,
)
from tests.support.scramclient import ScramClient

SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
VECTOR = (
    b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
)
SECRET = make_secret("pencil", 4096, SALT)
BINDINGS = {"tls-server-end-point": b"hash of the certificate", "tls-unique": b"finished"}
PLAIN = Situation(nonce="server", decoy_key=b"k")
BOUND = Situation(BINDINGS, True, "server", b"k")


def b64(message: bytes) -> bytes:
    return b64encode(message)


@pytest.mark.rfc("7677", "3")
def test_the_example_of_the_rfc() -> None:
    exchange = Exchange(MECHANISMS["SCRAM-SHA-256"], Situation(nonce=SERVER_NONCE))
    assert exchange.begin(b64(VECTOR[0])) == SecretWanted("user", SecretKind.SCRAM_SHA_256)
    assert exchange.supply(str(SECRET)) == Challenge(VECTOR[1])
    assert exchange.respond(b64(VECTOR[2])) == Challenge(VECTOR[3])
    assert exchange.respond(b"") == Proved("user")


@pytest.mark.rfc("5803", "2")
def test_a_secret_is_kept_as_text() -> None:
    assert parse_secret(str(SECRET)) == SECRET
    assert str(SECRET).startswith("4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert "stored" not in repr(SECRET)


@pytest.mark.parametrize("text", ["", "0:AA==$AA==:AA==", "4096:AA==$AA==:AA==", "99999999:AA==$", "x", "4096:*$*:*"])
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_secret(text)


def run(
    client: ScramClient, situation: Situation, secret: ScramSecret | None, change: Callable[[bytes], bytes] = bytes
) -> Step:
    """The whole exchange; `change` is done to the client's final message."""
    exchange = Exchange(MECHANISMS[client.mechanism], situation)
    step = exchange.begin(b64(client.first()))
    if isinstance(step, SecretWanted):
        step = exchange.supply(None if secret is None else str(secret))
    if isinstance(step, Challenge):
        step = exchange.respond(b64(change(client.final(step.data))))
    if isinstance(step, Challenge):
        client.check(step.data)
        step = exchange.respond(b"")
    return step


@pytest.mark.rfc("5802", "5.1")
def test_commas_and_equals_signs_in_a_name_are_escaped() -> None:
    client = ScramClient("a,b=c", "pencil", authorize_as="x=y")
    assert run(client, PLAIN, SECRET) == Proved("a,b=c", "x=y")


@pytest.mark.rfc("5802", "6")
@pytest.mark.parametrize("binding", list(BINDINGS))
def test_a_client_is_bound_to_its_channel(binding: str) -> None:
    client = ScramClient("user", "pencil", binding=(binding, BINDINGS[binding]))
    assert run(client, BOUND, SECRET) == Proved("user")


@pytest.mark.rfc("5802", "6")
def test_a_client_that_is_bound_to_another_channel_is_refused() -> None:
    client = ScramClient("user", "pencil", binding=("tls-unique", b"somebody else's"))
    assert run(client, BOUND, SECRET) == Rejected("user", "the client is bound to another channel")


@pytest.mark.rfc("5802", "6")
def test_a_binding_that_is_not_known_is_refused() -> None:
    client = ScramClient("user", "pencil", binding=("tls-exporter", b"x"))
    assert run(client, BOUND, SECRET) == Rejected("user", "no channel binding tls-exporter here")


@pytest.mark.rfc("5802", "6")
def test_a_client_that_was_not_told_of_bindings_has_somebody_in_between() -> None:
    client = ScramClient("user", "pencil", flag="y")
    assert run(client, PLAIN, SECRET) == Proved("user")
    step = run(client, BOUND, SECRET)
    assert isinstance(step, Rejected)
    assert "in between" in step.why


def test_a_wrong_password_and_an_unknown_name_look_alike() -> None:
    for secret, why in ((SECRET, "wrong password"), (None, "no SCRAM secret is stored")):
        assert run(ScramClient("user", "wrong"), PLAIN, secret) == Rejected("user", why)

    def asked(name: bytes) -> Step:
        exchange = Exchange(MECHANISMS["SCRAM-SHA-256"], PLAIN)
        exchange.begin(b64(b"n,,n=%b,r=c" % name))
        return exchange.supply(None)

    first, again, other = asked(b"nobody"), asked(b"nobody"), asked(b"noone")
    assert first == again
    assert first != other
    made = str(make_secret("x")).split("$")[0].partition(":")
    assert isinstance(first, Challenge)
    assert first.data.endswith(b",i=" + made[0].encode())


def test_an_unknown_name_is_asked_in_the_measures_of_those_that_there_are() -> None:
    def asked(secret: ScramSecret | None) -> tuple[int, bytes]:
        situation = Situation(nonce="s", decoy_key=b"k", decoy_like=str(make_secret("x", 4096, b"s" * 40)))
        exchange = Exchange(MECHANISMS["SCRAM-SHA-256"], situation)
        exchange.begin(b64(b"n,,n=nobody,r=c"))
        step = exchange.supply(None if secret is None else str(secret))
        assert isinstance(step, Challenge)
        salt, iterations = step.data.split(b",")[1:]
        return len(salt), iterations

    assert asked(None) == asked(make_secret("y", 4096, b"t" * 40))


@pytest.mark.rfc("5802", "5")
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,n=user",
        b"n,,n=,r=c",
        b"n,,n=a=b,r=c",
        b"n,,m=x,n=user,r=c",
        b"p=tls-unique,,n=user,r=c",
        b"z,,n=user,r=c",
        b"n,,n=user,r=",
        b"n,,n=user,r=a\x7fb",
        b"n,,n=\xff,r=c",
    ],
)
def test_first_messages_that_are_none(message: bytes) -> None:
    with pytest.raises(SaslInvalidError):
        Exchange(MECHANISMS["SCRAM-SHA-256"], PLAIN).begin(b64(message) or b"=")


@pytest.mark.rfc("5802", "5")
@pytest.mark.parametrize(
    ("old", "new"), [(b"r=", b"r=x"), (b",p=", b",q="), (b"c=", b"c=*"), (b",p=", b",p=*"), (b"c=", b"")]
)
def test_final_messages_that_are_none(old: bytes, new: bytes) -> None:
    with pytest.raises(SaslInvalidError):
        run(ScramClient("user", "pencil"), PLAIN, SECRET, lambda final: final.replace(old, new, 1))


def test_a_short_proof_proves_nothing() -> None:
    step = run(ScramClient("user", "pencil"), PLAIN, SECRET, lambda final: final[: final.index(b",p=")] + b",p=AAAA")
    assert step == Rejected("user", "wrong password")


def test_a_channel_cannot_be_bound_without_plus() -> None:
    with pytest.raises(SaslInvalidError):
        Exchange(MECHANISMS["SCRAM-SHA-256-PLUS"], BOUND).begin(b64(b"n,,n=user,r=c"))
