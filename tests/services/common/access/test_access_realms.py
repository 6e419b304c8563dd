"""`connlimits`: which limit an address has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.access.patterns import FilterError
from services.common.access.realms import SessionLimits, parse_realm

REALMS = ("10.1.0.0|255.255.0.0:100", "10.0.0.0/8:5", "[2001:db8::]/32:7", "fd00::/8:0", "0.0.0.0|0.0.0.0:20")


@pytest.mark.parametrize(
    ("address", "limit"),
    [
        ("10.1.2.3", 100),
        ("10.2.2.3", 5),
        ("192.0.2.7", 20),
        ("2001:db8::1", 7),
        ("fd00::1", 0),
        ("2001:db9::1", 200),
        ("local", 200),
        ("::ffff:10.1.2.3", 100),
    ],
)
def test_the_first_realm_that_holds_an_address_says_its_limit(address: str, limit: int) -> None:
    assert SessionLimits(REALMS, 200).of(address) == limit


def test_without_realms_there_is_one_limit() -> None:
    assert SessionLimits((), 3).of("192.0.2.7") == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.1.0.0|255.255.0.0",
        "10.1.0.0|255.255.0.0:",
        ":5",
        "10.1.2.3:5",
        "10.1.0.0|255.0.0.0:5",
        "a|b:5",
        "10.0.0.0/8:-1",
    ],
)
def test_what_is_no_realm_is_refused(text: str) -> None:
    with pytest.raises(FilterError):
        parse_realm(text)


@given(st.text(max_size=60) | st.text("0123456789.:|/[]abcdef", max_size=60))
def test_any_text_is_a_realm_or_the_one_error(text: str) -> None:
    try:
        realm = parse_realm(text)
    except FilterError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017 - either outcome is right
        return
    assert SessionLimits((text,), 1).of("192.0.2.7") in (1, realm.number)
