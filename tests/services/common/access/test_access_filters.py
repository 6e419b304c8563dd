"""Filters as data: each case with the sentence of the documentation that it proves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.access.filters import Visit, decide, parse_filter
from services.common.access.patterns import FilterError, Host, HostName, NameNeeded, host

NAMED = host("192.0.2.7", HostName("mail.siroe.com"))
EXTERNAL = host("192.0.2.8", HostName("externalserver.siroe.com"))
SHORT = host("192.0.2.9", HostName("intranet"))
NAMELESS = host("192.0.2.10", HostName())
SPOOFER = host("192.0.2.11", HostName("mail.siroe.com", spoofed=True))
UNASKED = host("10.1.2.3")
SIX = host("2001:db8::7")
SOCKET = Host(None)

FIRST = "Compare client with the service's Allow filters, then its Deny filters; the first match ends the search."
GRANT = "Allow match: granted."
REFUSE = "Deny match: refused."
NONE = "No match: granted, except where Allow filters exist and no Deny filters do: then refused."
ALL = "ALL, * match everything."
LOCAL = "LOCAL: host whose name has no dot."
UNKNOWN = "UNKNOWN: host of unknown name or address."
KNOWN = "KNOWN: host whose name and address are known."
SPOOF = "DNSSPOOFER: host whose DNS name does not match its address."
DOMAIN = "Leading dot: any host of that domain."
PREFIX = "Trailing dot = address prefix."
MASK = "n.n.n.n/m.m.m.m: match when address AND mask equals net."
CIDR = "A network with a prefix length, of IPv4 and IPv6."
EXCEPT = "EXCEPT is right-associative: a EXCEPT b EXCEPT c = a EXCEPT (b EXCEPT c)."
SERVER = "service@hostSpec serves multi-homed hosts: different rules per server address."
USER = "Treat every user as UNKNOWN."
SEP = "sep := blank and/or comma."
MOSTLY_DENY = "Example: mostly denying."
MOSTLY_ALLOW = "Example: mostly allowing."
ONE_HOST = "Example: one host."


@dataclass(frozen=True)
class Case:
    sentence: str
    client: Host
    allowed: bool
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    service: str = "imap"
    server: str = "198.51.100.1"


DENYING = (("ALL: LOCAL .siroe.com EXCEPT externalserver.siroe.com",), ("ALL: ALL",))
ALLOWING = ("ALL: externalserver.siroe1.com, .siroe.asia.com", "ALL EXCEPT pop: contractor.siroe1.com, .siroe.com")
ONE = ("imap: roberts.newyork.siroe.com", "pop: ALL", "http: ALL")
ROBERTS = host("192.0.2.20", HostName("roberts.newyork.siroe.com"))
PARTNER = host("192.0.2.21", HostName("a.siroe.asia.com"))
EXTERNAL1 = host("192.0.2.22", HostName("externalserver.siroe1.com"))

CASES = [
    Case(NONE, UNASKED, True),
    Case(NONE, UNASKED, False, ("imap: 192.0.2.1",)),
    Case(NONE, UNASKED, True, ("imap: 192.0.2.1",), ("imap: 192.0.2.2",)),
    Case(NONE, UNASKED, True, (), ("imap: 192.0.2.2",)),
    Case(NONE, UNASKED, False, ("pop: ALL",)),
    Case(GRANT, UNASKED, True, ("imap: ALL",)),
    Case(REFUSE, UNASKED, False, (), ("imap: ALL",)),
    Case(FIRST, UNASKED, True, ("imap: ALL",), ("imap: ALL",)),
    Case(FIRST, UNASKED, False, ("pop: ALL",), ("imap: 10.1.", "imap: ALL")),
    Case(ALL, SIX, False, (), ("ALL: *",)),
    Case(ALL, SIX, False, (), ("*: ALL",)),
    Case(ALL, SOCKET, False, (), ("ALL: ALL",)),
    Case(ALL, UNASKED, False, (), ("all: all",)),
    Case(LOCAL, SHORT, False, (), ("ALL: LOCAL",)),
    Case(LOCAL, NAMED, True, (), ("ALL: LOCAL",)),
    Case(LOCAL, NAMELESS, True, (), ("ALL: LOCAL",)),
    Case(UNKNOWN, NAMELESS, False, (), ("ALL: UNKNOWN",)),
    Case(UNKNOWN, SOCKET, False, (), ("ALL: UNKNOWN",)),
    Case(UNKNOWN, SPOOFER, False, (), ("ALL: UNKNOWN",)),
    Case(UNKNOWN, NAMED, True, (), ("ALL: UNKNOWN",)),
    Case(KNOWN, NAMED, True, ("ALL: KNOWN",)),
    Case(KNOWN, NAMELESS, False, ("ALL: KNOWN",)),
    Case(KNOWN, SPOOFER, False, ("ALL: KNOWN",)),
    Case(SPOOF, SPOOFER, False, (), ("ALL: DNSSPOOFER",)),
    Case(SPOOF, NAMED, True, (), ("ALL: DNSSPOOFER",)),
    Case(SPOOF, NAMELESS, True, (), ("ALL: DNSSPOOFER",)),
    Case(DOMAIN, NAMED, False, (), ("ALL: .siroe.com",)),
    Case(DOMAIN, NAMED, False, (), ("ALL: .SIROE.com",)),
    Case(DOMAIN, NAMED, True, (), ("ALL: .iroe.com",)),
    Case(DOMAIN, host("192.0.2.1", HostName("siroe.com")), True, (), ("ALL: .siroe.com",)),
    Case(DOMAIN, SPOOFER, False, ("ALL: .siroe.com",)),
    Case(DOMAIN, NAMELESS, True, (), ("ALL: .siroe.com",)),
    Case("A name is that host alone.", NAMED, False, (), ("ALL: Mail.siroe.com",)),
    Case("A name is that host alone.", EXTERNAL, True, (), ("ALL: mail.siroe.com",)),
    Case("A name is that host alone.", SPOOFER, False, ("ALL: mail.siroe.com",)),
    Case(PREFIX, UNASKED, False, (), ("ALL: 10.1.",)),
    Case(PREFIX, host("10.11.2.3"), True, (), ("ALL: 10.1.",)),
    Case(PREFIX, host("110.1.2.3"), True, (), ("ALL: 10.1.",)),
    Case(PREFIX, UNASKED, False, (), ("ALL: 10.",)),
    Case(PREFIX, UNASKED, False, (), ("ALL: 10.1.2.",)),
    Case(PREFIX, SIX, True, (), ("ALL: 20.",)),
    Case(MASK, UNASKED, False, (), ("ALL: 10.1.0.0/255.255.0.0",)),
    Case(MASK, UNASKED, True, (), ("ALL: 10.2.0.0/255.255.0.0",)),
    Case(MASK, UNASKED, False, (), ("ALL: 10.0.0.3/255.0.0.255",)),
    Case(MASK, UNASKED, False, (), ("ALL: 0.0.0.0/0.0.0.0",)),
    Case(MASK, SIX, True, (), ("ALL: 0.0.0.0/0.0.0.0",)),
    Case(CIDR, UNASKED, False, (), ("ALL: 10.1.0.0/16",)),
    Case(CIDR, UNASKED, True, (), ("ALL: 10.2.0.0/16",)),
    Case(CIDR, SIX, False, (), ("ALL: 2001:db8::/32",)),
    Case(CIDR, SIX, False, (), ("ALL: [2001:db8::]/32",)),
    Case(CIDR, SIX, True, (), ("ALL: 2001:db9::/32",)),
    Case(CIDR, UNASKED, True, (), ("ALL: ::/0",)),
    Case("An address is that host alone.", UNASKED, False, (), ("ALL: 10.1.2.3",)),
    Case("An address is that host alone.", host("10.1.2.30"), True, (), ("ALL: 10.1.2.3",)),
    Case("An address is that host alone.", SIX, False, (), ("ALL: 2001:DB8:0::7",)),
    Case("An address is that host alone.", SIX, False, (), ("ALL: [2001:db8::7]",)),
    Case("An address is that host alone.", host("::ffff:10.1.2.3"), False, (), ("ALL: 10.1.2.3",)),
    Case("An address is that host alone.", SOCKET, True, (), ("ALL: 10.1.2.3",)),
    Case(EXCEPT, UNASKED, True, (), ("ALL: ALL EXCEPT 10.1.",)),
    Case(EXCEPT, SIX, False, (), ("ALL: ALL EXCEPT 10.1.",)),
    Case(EXCEPT, UNASKED, False, (), ("ALL: ALL EXCEPT 10. EXCEPT 10.1.",)),
    Case(EXCEPT, host("10.2.0.1"), True, (), ("ALL: ALL EXCEPT 10. EXCEPT 10.1.",)),
    Case(EXCEPT, UNASKED, True, (), ("ALL: ALL EXCEPT 10. EXCEPT 10.1. EXCEPT 10.1.2.",)),
    Case(EXCEPT, UNASKED, True, (), ("ALL EXCEPT imap: ALL",)),
    Case(EXCEPT, UNASKED, False, (), ("ALL EXCEPT imap: ALL",), service="pop"),
    Case(EXCEPT, UNASKED, False, (), ("ALL EXCEPT imap pop EXCEPT imap: ALL",)),
    Case(SEP, UNASKED, False, (), ("pop imap: ALL",)),
    Case(SEP, UNASKED, False, (), ("pop,imap: ALL",)),
    Case(SEP, UNASKED, False, (), ("pop , imap:ALL",)),
    Case(SEP, UNASKED, False, (), ("imap: 192.0.2.1,10.1.2.3",)),
    Case(SEP, UNASKED, False, (), ("imap: 192.0.2.1 10.1.2.3",)),
    Case(SERVER, UNASKED, False, (), ("imap@198.51.100.1: ALL",)),
    Case(SERVER, UNASKED, True, (), ("imap@198.51.100.2: ALL",)),
    Case(SERVER, UNASKED, True, (), ("pop@198.51.100.1: ALL",)),
    Case(SERVER, UNASKED, False, (), ("ALL@198.51.100.0/24: ALL",)),
    Case(SERVER, UNASKED, False, (), ("imap@[2001:db8::1]: ALL",), server="2001:db8::1"),
    Case(USER, UNASKED, False, (), ("imap: ALL@ALL",)),
    Case(USER, UNASKED, False, (), ("imap: UNKNOWN@10.1.2.3",)),
    Case(USER, UNASKED, True, (), ("imap: KNOWN@ALL",)),
    Case(USER, NAMED, True, (), ("imap: srashad@mail.siroe.com",)),
    Case(USER, NAMED, False, ("imap: srashad@xyz.europe.siroe.com",)),
    Case(MOSTLY_DENY, NAMED, True, *DENYING),
    Case(MOSTLY_DENY, SHORT, True, *DENYING),
    Case(MOSTLY_DENY, EXTERNAL, False, *DENYING),
    Case(MOSTLY_DENY, NAMELESS, False, *DENYING),
    Case(MOSTLY_ALLOW, EXTERNAL1, False, (), ALLOWING),
    Case(MOSTLY_ALLOW, PARTNER, False, (), ALLOWING, service="pop"),
    Case(MOSTLY_ALLOW, NAMED, False, (), ALLOWING),
    Case(MOSTLY_ALLOW, NAMED, True, (), ALLOWING, service="pop"),
    Case(MOSTLY_ALLOW, NAMELESS, True, (), ALLOWING),
    Case(ONE_HOST, ROBERTS, True, ONE),
    Case(ONE_HOST, NAMED, False, ONE),
    Case(ONE_HOST, NAMED, True, ONE, service="pop"),
    Case(ONE_HOST, UNASKED, True, ONE, service="http"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.allow}{case.deny}{case.client.address}")
def test_filter_cases(case: Case) -> None:
    visit = Visit(case.service, case.client, host(case.server))
    allow, deny = ([parse_filter(text) for text in texts] for texts in (case.allow, case.deny))
    assert decide(visit, allow, deny).allowed is case.allowed, case.sentence


def test_the_filter_that_decided_is_named() -> None:
    deny = [parse_filter("imap: 192.0.2.1"), parse_filter(" imap: 10.1. ")]
    assert decide(Visit("imap", UNASKED), [], deny).rule == "imap: 10.1."


@pytest.mark.parametrize("pattern", ["LOCAL", "KNOWN", "UNKNOWN", "DNSSPOOFER", ".siroe.com", "mail.siroe.com"])
def test_a_name_is_asked_for_only_where_it_is_needed(pattern: str) -> None:
    needs = parse_filter(f"imap: 10.1.2.3 {pattern}")
    assert needs.names
    assert needs.matches(Visit("imap", UNASKED)), "the address decided already"
    assert not needs.matches(Visit("pop", host("192.0.2.1"))), "the filter is for another service"
    with pytest.raises(NameNeeded):
        needs.matches(Visit("imap", host("192.0.2.1")))


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("imap", 4),
        (": ALL", 0),
        ("imap:", 5),
        ("imap: ", 6),
        ("EXCEPT imap: ALL", 0),
        ("imap EXCEPT: ALL", 11),
        ("imap: EXCEPT ALL", 6),
        ("imap: ALL EXCEPT", 16),
        ("nntp: ALL", 0),
        ("imap nntp: ALL", 5),
        ("imaps: ALL", 0),
        ("ALL: LOCAL @netgroup1", 11),
        ("imap: 10.1.2.300", 6),
        ("imap: 300.", 6),
        ("imap: 10.1.0.0/33", 6),
        ("imap: 10.1.0.1/16", 6),
        ("imap: 10.1.0.1/255.255.0.0", 6),
        ("imap: ALL 2001:db8::/129", 10),
        ("imap: a..b", 6),
        ("imap: user@", 11),
        ("imap@: ALL", 5),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(text: str, position: int) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text)
    assert caught.value.position == position


@given(st.text(max_size=200) | st.text("imapopALLEXCEPT*.@:/,[] 0123456789-", max_size=200))
def test_any_text_is_a_filter_or_the_one_error(text: str) -> None:
    try:
        found = parse_filter(text)
    except FilterError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017 - either outcome is right
        return
    for client in (NAMED, SPOOFER, SIX, SOCKET):
        found.matches(Visit("imap", client, NAMED))


@pytest.mark.parametrize(("name", "allowed"), [("mailserver1.siroe.com", False), ("mailserver2.siroe.com", True)])
def test_a_service_may_be_named_with_its_server(name: str, allowed: bool) -> None:
    deny = [parse_filter("pop@mailServer1.siroe.com: ALL")]
    visit = Visit("pop", UNASKED, host("198.51.100.1", HostName(name)))
    assert decide(visit, [], deny).allowed is allowed, SERVER
    with pytest.raises(NameNeeded):
        decide(Visit("pop", UNASKED, host("198.51.100.1")), [], deny)
