"""SASL mechanisms: what is asked, what is taken, what is refused."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.sasl.exchange import MAX_RESPONSE, Exchange
from services.common.sasl.mechanisms import MECHANISMS, Means, offered
from services.common.sasl.steps import Challenge, Credentials, SaslCancelledError, SaslError, SaslInvalidError


def plain(message: bytes) -> Credentials | Challenge:
    return Exchange(MECHANISMS["PLAIN"]).begin(b64encode(message))


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
    exchange = Exchange(MECHANISMS["PLAIN"])
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
    exchange = Exchange(MECHANISMS["LOGIN"])
    assert exchange.begin(None) == Challenge(b"Username:")
    assert exchange.respond(b64encode(b"tim")) == Challenge(b"Password:")
    assert exchange.respond(b64encode(b"secret")) == Credentials("tim", "secret")


def test_login_takes_the_name_as_initial_response() -> None:
    exchange = Exchange(MECHANISMS["LOGIN"])
    assert exchange.begin(b64encode(b"tim")) == Challenge(b"Password:")


@pytest.mark.rfc("5034", "4")
def test_an_equals_sign_is_an_empty_initial_response() -> None:
    with pytest.raises(SaslInvalidError):
        Exchange(MECHANISMS["PLAIN"]).begin(b"=")


@pytest.mark.rfc("5034", "4")
@pytest.mark.parametrize("mechanism", list(MECHANISMS))
def test_an_asterisk_cancels(mechanism: str) -> None:
    exchange = Exchange(MECHANISMS[mechanism])
    exchange.begin(None)
    with pytest.raises(SaslCancelledError):
        exchange.respond(b"*")


@pytest.mark.rfc("4648", "3.3")
@pytest.mark.parametrize("line", [b"AHRpbQ", b"AHR pbQ==", b"AHRpbQ==\r", b"AHRpbQ==AHRp", b"A", b"====", b"\xff"])
def test_base64_is_taken_strictly(line: bytes) -> None:
    exchange = Exchange(MECHANISMS["PLAIN"])
    exchange.begin(None)
    with pytest.raises(SaslInvalidError):
        exchange.respond(line)


def test_a_response_is_bounded_before_it_is_decoded() -> None:
    with pytest.raises(SaslInvalidError):
        Exchange(MECHANISMS["PLAIN"]).begin(b"A" * (MAX_RESPONSE + 4))


def test_nothing_follows_the_credentials() -> None:
    exchange = Exchange(MECHANISMS["PLAIN"])
    exchange.begin(b64encode(b"\0tim\0secret"))
    with pytest.raises(SaslInvalidError):
        exchange.respond(b64encode(b"more"))


@given(mechanism=st.sampled_from(sorted(MECHANISMS)), lines=st.lists(st.binary(max_size=60), min_size=3))
def test_any_bytes_give_a_step_or_the_one_error(mechanism: str, lines: list[bytes]) -> None:
    exchange = Exchange(MECHANISMS[mechanism])
    step = exchange.begin(None)
    for line in lines:
        try:
            step = exchange.respond(line)
        except SaslError:
            return
    assert isinstance(step, (Challenge, Credentials))


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Credentials("tim", "secret"))


def test_mechanisms_are_offered_where_they_can_work_in_the_order_that_was_asked_for() -> None:
    assert offered(Means.PASSWORDS) == ("PLAIN", "LOGIN")
    assert offered(Means.PASSWORDS, ("LOGIN", "PLAIN")) == ("LOGIN", "PLAIN")
    assert offered(Means.PASSWORDS, ("PLAIN",)) == ("PLAIN",)
    assert offered(Means.NONE, ("PLAIN",)) == ()


def test_acting_for_another_is_told_apart() -> None:
    assert not Credentials("tim", "x").for_another
    assert not Credentials("tim", "x", "tim").for_another
    assert Credentials("tim", "x", "root").for_another
