"""How name servers are written."""

from __future__ import annotations

import pytest

from services.common.access.nameservers import parse_nameserver


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 53),
        ("192.0.2.1:5353", "192.0.2.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("[2001:db8::1]", "2001:db8::1", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
    ],
)
def test_good_ones(text: str, address: str, port: int) -> None:
    assert parse_nameserver(text) == (address, port)


@pytest.mark.parametrize(
    "text", ["", "dns.example.org", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:70000", "[::1]:x", "::1:"]
)
def test_bad_ones(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the one it raises
        parse_nameserver(text)
