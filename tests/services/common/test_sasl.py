"""SASL mechanisms: what is asked, what is taken, what is refused."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.sasl.exchange import MAX_RESPONSE, Exchange
from services.common.sasl.mechanisms import MECHANISMS, Means, offered
from services.common.sasl.steps import (
    Challenge,
    Credentials,
    SaslCancelledError,
    SaslError,
    SaslInvalidError,
    Situation,
    Step,
    Wanted,
)


def started(mechanism: str, situation: Situation | None = None) -> Exchange:
    return Exchange(MECHANISMS[mechanism], situation or Situation(nonce="n"))


def plain(message: bytes) -> Step:
    return started("PLAIN").begin(b64encode(message))


@pytest.mark.rfc("4616", "2")
@pytest.mark.parametrize(
    ("message", "credentials"),
    [
        (b"\0tim\0tanstaaftanstaaf", Credentials("tim", "tanstaaftanstaaf")),
        (b"Ursel\0Kurt\0xipj3plmq", Credentials("kurt", "xipj3plmq", "ursel")),
        ("\0jürg\0pässwort".encode(), Credentials("jürg", "pässwort")),
        (b"\0IX\0a\xc2\xa0b", Credentials("ix", "a b")),
    ],
)
def test_plain_takes_the_forms_of_the_rfc(message: bytes, credentials: Credentials) -> None:
    assert plain(message) == credentials


@pytest.mark.rfc("4616", "2")
def test_plain_asks_with_an_empty_challenge_when_nothing_came_along() -> None:
    exchange = started("PLAIN")
    step = exchange.begin(None)
    assert isinstance(step, Challenge)
    assert step.line == b""
    assert exchange.respond(b64encode(b"\0tim\0secret")) == Credentials("tim", "secret")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"tim",
        b"\0tim",
        b"\0tim\0",
        b"\0\0secret",
        b"\0tim\0a\0b",
        b"\0tim\0\xff",
        b"\xc0\x80\0a\0b",
        b"\0a\x07\0b",
        b"\0I\xc2\xadX\0b",
    ],
)
def test_plain_refuses_everything_else(message: bytes) -> None:
    with pytest.raises(SaslInvalidError):
        plain(message or b"\0")


def test_login_asks_for_name_and_password() -> None:
    exchange = started("LOGIN")
    assert exchange.begin(None) == Challenge(b"Username:")
    assert exchange.respond(b64encode(b"tim")) == Challenge(b"Password:")
    assert exchange.respond(b64encode(b"secret")) == Credentials("tim", "secret")


def test_login_takes_the_name_as_initial_response() -> None:
    exchange = started("LOGIN")
    assert exchange.begin(b64encode(b"tim")) == Challenge(b"Password:")


@pytest.mark.rfc("5034", "4")
def test_an_equals_sign_is_an_empty_initial_response() -> None:
    with pytest.raises(SaslInvalidError):
        started("PLAIN").begin(b"=")


@pytest.mark.rfc("5034", "4")
@pytest.mark.parametrize("mechanism", list(MECHANISMS))
def test_an_asterisk_cancels(mechanism: str) -> None:
    exchange = started(mechanism)
    exchange.begin(None)
    with pytest.raises(SaslCancelledError):
        exchange.respond(b"*")


@pytest.mark.rfc("4648", "3.3")
@pytest.mark.parametrize("line", [b"AHRpbQ", b"AHR pbQ==", b"AHRpbQ==\r", b"AHRpbQ==AHRp", b"A", b"====", b"\xff"])
def test_base64_is_taken_strictly(line: bytes) -> None:
    exchange = started("PLAIN")
    exchange.begin(None)
    with pytest.raises(SaslInvalidError):
        exchange.respond(line)


def test_a_response_is_bounded_before_it_is_decoded() -> None:
    with pytest.raises(SaslInvalidError):
        started("PLAIN").begin(b"A" * (MAX_RESPONSE + 4))


def test_nothing_follows_the_credentials() -> None:
    exchange = started("PLAIN")
    exchange.begin(b64encode(b"\0tim\0secret"))
    with pytest.raises(SaslInvalidError):
        exchange.respond(b64encode(b"more"))


ANSWERS = st.none() | st.text(max_size=60) | st.just("4096:c2FsdA==$" + ":".join(["A" * 43 + "="] * 2))
FRAGMENTS = st.sampled_from(
    [b"n,,n=tim,r=abc", b"y,a=x,n=", b",r=abcn,p=AAAA", b"c=biws", b"tim ", b"a" * 32, b"\0", b"\1"]
)


@given(
    mechanism=st.sampled_from(sorted(MECHANISMS)),
    lines=st.lists(st.binary(max_size=60) | st.lists(FRAGMENTS, max_size=4).map(b"".join), min_size=4),
    answer=ANSWERS,
    raw=st.booleans(),
)
def test_any_bytes_give_a_step_or_the_one_error(
    mechanism: str, lines: list[bytes], answer: str | None, raw: bool
) -> None:
    exchange = started(mechanism)
    try:
        step = exchange.begin(None)
        for line in lines:
            while isinstance(step, Wanted):
                step = exchange.supply(answer)
            step = exchange.respond(line if raw else b64encode(line))
    except SaslError:
        return
    assert isinstance(step, Challenge)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Credentials("tim", "secret"))


def test_mechanisms_are_offered_where_they_can_work_in_the_order_that_was_asked_for() -> None:
    assert offered(Means.PASSWORDS) == ("PLAIN", "LOGIN")
    assert offered(Means.PASSWORDS, ("LOGIN", "PLAIN")) == ("LOGIN", "PLAIN")
    assert offered(Means.PASSWORDS, ("PLAIN",)) == ("PLAIN",)
    assert offered(Means.NONE, ("PLAIN",)) == ()


def test_what_was_not_asked_for_is_not_taken() -> None:
    exchange = started("PLAIN")
    exchange.begin(None)
    with pytest.raises(SaslInvalidError):
        exchange.supply("tim")
    waiting = started("EXTERNAL")
    waiting.begin(b"=")
    with pytest.raises(SaslInvalidError):
        waiting.respond(b64encode(b"tim"))


def test_what_is_switched_off_is_offered_where_the_list_names_it() -> None:
    every = ~Means.NONE
    assert offered(Means.NONE) == ()
    assert offered(Means.SCRAM) == ("SCRAM-SHA-256",)
    bound = Means.SCRAM | Means.BINDING
    assert offered(bound) == ("SCRAM-SHA-256",)
    assert offered(bound | Means.BINDING_OF_DEFAULT) == ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")
    assert offered(bound, ("SCRAM-SHA-256-PLUS",)) == ("SCRAM-SHA-256-PLUS",)
    assert offered(Means.NONE, ("CRAM-MD5", "SCRAM-SHA-256-PLUS", "APOP")) == ("CRAM-MD5",)
    assert offered(Means.TOKENS) == ()
    assert offered(Means.TOKENS | Means.PRIVATE) == ("OAUTHBEARER", "XOAUTH2")
    assert set(offered(every)) == set(MECHANISMS)
