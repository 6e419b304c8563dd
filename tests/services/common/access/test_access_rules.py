"""`mailAllowedServiceAccess` as data: every example of the schema reference, and values of real directories."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.access.filters import Visit
from services.common.access.patterns import FilterError, HostName, host
from services.common.access.rules import parse_rules

THREE = "+imap,pop,http:*"
COMMON = "+imap:ALL$+pop:ALL$+http:ALL"
SERVER1 = "-ALL:ALL EXCEPT server1.sesta.com"
PROXY = "+imaps,pops:*$+imap,pop:192.0.2.5"
FIELD = "-smime:ALL$-pops:ALL$-imaps:ALL$-https:ALL$-http:ALL"


@pytest.mark.parametrize(
    ("text", "service", "tls", "client", "allowed"),
    [
        ("", "imap", False, "192.0.2.7", True),
        (THREE, "imap", False, "192.0.2.7", True),
        (THREE, "pop", True, "192.0.2.7", True),
        (THREE, "http", True, "2001:db8::1", True),
        (THREE, "smtp", False, "192.0.2.7", False),
        (THREE, "smime", False, "192.0.2.7", False),
        (COMMON, "imap", False, "192.0.2.7", True),
        (COMMON, "imap", True, "192.0.2.7", True),
        (COMMON, "pop", True, "192.0.2.7", True),
        (COMMON, "http", True, "192.0.2.7", True),
        (COMMON, "smtp", True, "192.0.2.7", False),
        ("-imap:*$-pop:*$-http:*", "imap", True, "192.0.2.7", False),
        ("-imap:*$-pop:*$-http:*", "pop", False, "192.0.2.7", False),
        ("-imap:*$-pop:*$-http:*", "smtp", False, "192.0.2.7", True),
        (SERVER1, "imap", False, "server1.sesta.com", True),
        (SERVER1, "imap", False, "server2.sesta.com", False),
        (PROXY, "imap", True, "192.0.2.7", True),
        (PROXY, "imap", False, "192.0.2.7", False),
        (PROXY, "pop", False, "192.0.2.5", True),
        ("+imaps:ALL", "imap", False, "192.0.2.7", False),
        ("+imaps:ALL", "imap", True, "192.0.2.7", True),
        ("+pop:ALL", "imap", True, "192.0.2.7", False),
        ("+all:*", "imap", False, "192.0.2.7", True),
        ("+ALL:ALL", "pop", False, "192.0.2.7", True),
        ("+imap,pop,http,smtp,imaps,smtps,pops,https:*", "imap", False, "192.0.2.7", True),
        (FIELD, "pop", False, "192.0.2.7", True),
        (FIELD, "pop", True, "192.0.2.7", False),
        (FIELD, "http", True, "192.0.2.7", False),
        ("imaps:ALL$-pop:ALL", "imap", True, "192.0.2.7", True),
        ("imaps:ALL", "imap", False, "192.0.2.7", False),
        ("+IMAP:All", "imap", False, "192.0.2.7", True),
        ("+imap:*$-imap:*", "imap", False, "192.0.2.7", True),
        ("-imap:*$+imap:*", "imap", False, "192.0.2.7", True),
        ("-imap:192.0.2.$", "imap", False, "192.0.2.7", False),
        (" + imap : 192.0.2.7 $ ", "imap", False, "192.0.2.7", True),
        ("+nosuch:*", "imap", False, "192.0.2.7", False),
        ("-nosuch:*", "imap", False, "192.0.2.7", True),
        ("+imap:2001:db8::/32", "imap", False, "2001:db8::7", True),
        ("+imap:.sesta.com", "imap", False, "a.sesta.com", True),
        ("-imap:DNSSPOOFER", "imap", False, "a.sesta.com", True),
    ],
)
def test_rule_cases(text: str, service: str, tls: bool, client: str, allowed: bool) -> None:
    named = client.endswith(".com")
    end = host("192.0.2.99", HostName(client)) if named else host(client)
    assert parse_rules(text).decide(Visit(service, end, tls=tls)).allowed is allowed


def test_the_rule_that_decided_is_named() -> None:
    assert parse_rules("+pop:*$-imap:192.0.2.").decide(Visit("imap", host("192.0.2.7"))).rule == "-imap:192.0.2."


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("+imap", 5),
        ("+imap:*$-", 9),
        ("+:*", 1),
        ("+imap:*$-im!ap:*", 9),
        ("+imap:*$+pop:10.1.2.300", 13),
        ("$" * 300, 300),
    ],
)
def test_what_is_no_rule_is_refused_with_its_place(text: str, position: int) -> None:
    with pytest.raises(FilterError) as caught:
        parse_rules(text)
    assert caught.value.position == position


@given(st.text(max_size=200) | st.text("+-$imapsALL*EXCPT.@:/, 0123456789", max_size=200))
def test_any_text_is_rules_or_the_one_error(text: str) -> None:
    try:
        found = parse_rules(text)
    except FilterError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017 - either outcome is right
        return
    found.decide(Visit("imap", host("192.0.2.7", HostName("a.sesta.com"))))
