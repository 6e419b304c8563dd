"""Clients that proxies name in HTTP requests, as data: read from the end, and invented beginnings do not count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.access.httpforwarding import (
    MAX_ELEMENTS,
    forwarded_elements,
    read_client,
    x_forwarded_elements,
)
from services.common.access.networks import Networks
from services.common.peer import Forwarded

TRUSTED = Networks(["10.0.0.0/8", "2001:db8:1::/48"])
CLIENT = "192.0.2.7"


def named(address: str, tls: bool | None = None) -> Forwarded:
    return Forwarded(address, tls=tls, relayed=True)


FORWARDED = [
    (["for=192.0.2.7"], named(CLIENT)),
    (["For=192.0.2.7;Proto=https;by=10.0.0.1"], named(CLIENT, True)),
    (["for=192.0.2.7;proto=http"], named(CLIENT, False)),
    (['for="192.0.2.7:1234"'], named(CLIENT)),
    (['for="[2001:db8::7]:1234";proto=https'], named("2001:db8::7", True)),
    (['for="[2001:db8::7]"'], named("2001:db8::7")),
    (['for="\\1\\9\\2.0.2.7"'], named(CLIENT)),
    (["for=6.6.6.6, for=192.0.2.7"], named(CLIENT)),
    (["for=6.6.6.6", "for=192.0.2.7"], named(CLIENT)),
    (["for=192.0.2.7;proto=https, for=10.0.0.9;proto=http"], named(CLIENT, True)),
    (["for=6.6.6.6;proto=https, for=192.0.2.7;proto=http, for=10.0.0.9;proto=https"], named(CLIENT, False)),
    (["for=10.0.0.1, for=10.0.0.2;proto=https"], named("10.0.0.1")),
    (["for=192.0.2.7 , for=unknown"], None),
    (["for=unknown, for=192.0.2.7"], named(CLIENT)),
    (["for=_hidden"], None),
    (["for=unknown, for=10.0.0.1"], None),
    (["for=10.0.0.1, for=unknown, for=10.0.0.2"], None),
    (["proto=https"], None),
    ([""], None),
    ([], None),
]


@pytest.mark.parametrize(("lines", "client"), FORWARDED)
def test_forwarded(lines: list[str], client: Forwarded | None) -> None:
    assert read_client(forwarded_elements(lines), TRUSTED.holds) == client


X_FORWARDED = [
    (["192.0.2.7"], [], named(CLIENT)),
    (["192.0.2.7"], ["https"], named(CLIENT, True)),
    (["192.0.2.7"], ["HTTP"], named(CLIENT, False)),
    (["192.0.2.7:4711"], [], named(CLIENT)),
    (["[2001:db8::7]:4711"], [], named("2001:db8::7")),
    (["2001:db8::7"], [], named("2001:db8::7")),
    (["::ffff:192.0.2.7"], [], named(CLIENT)),
    (["6.6.6.6, 192.0.2.7"], ["https"], named(CLIENT, True)),
    (["6.6.6.6", "192.0.2.7"], ["http, https"], named(CLIENT, True)),
    (["192.0.2.7, 10.0.0.9"], ["https"], named(CLIENT, True)),
    (["192.0.2.7, 10.0.0.9"], ["https, http"], named(CLIENT, True)),
    (["192.0.2.7, 2001:db8:1::9"], ["http, https"], named(CLIENT, False)),
    (["192.0.2.7"], ["http, https"], named(CLIENT, True)),
    (["nonsense, 192.0.2.7"], [], named(CLIENT)),
    (["192.0.2.7, nonsense"], [], None),
    (["fe80::1%eth0"], [], None),
    ([], ["https"], None),
    ([", ,"], [], None),
]


@pytest.mark.parametrize(("names", "protocols", "client"), X_FORWARDED)
def test_x_forwarded(names: list[str], protocols: list[str], client: Forwarded | None) -> None:
    assert read_client(x_forwarded_elements(names, protocols), TRUSTED.holds) == client


@pytest.mark.parametrize("line", ['for="', "for", "for=192.0.2.7;", "for=a b", "=x", "for=1,;", 'for="x"y'])
def test_what_is_no_forwarded_field(line: str) -> None:
    if line == "for=192.0.2.7;":
        assert forwarded_elements([line]) == [{"for": CLIENT}]
        return
    with pytest.raises(ValueError, match="no Forwarded field"):
        forwarded_elements([line])


def test_the_number_of_proxies_has_a_bound() -> None:
    many = ",".join(["for=10.0.0.1"] * (MAX_ELEMENTS + 1))
    with pytest.raises(ValueError, match="too many"):
        forwarded_elements([many])
    with pytest.raises(ValueError, match="too many"):
        x_forwarded_elements([many], [])


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_text_is_read_or_refused(lines: list[str]) -> None:
    try:
        elements = forwarded_elements(lines)
    except ValueError:
        elements = []
    read_client(elements, TRUSTED.holds)
    read_client(x_forwarded_elements(lines, lines), TRUSTED.holds)


@given(st.lists(st.text(st.characters(exclude_characters=",\r\n"), max_size=30), max_size=5))
def test_whatever_a_client_invents_the_proxy_s_word_counts(invented: list[str]) -> None:
    assert read_client(x_forwarded_elements([*invented, CLIENT], []), TRUSTED.holds) == named(CLIENT)
