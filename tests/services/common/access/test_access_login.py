"""Who logs in from where, as data: rules of domain and account, the login that is tried, and the sentence it proves."""

from __future__ import annotations

import pytest

from services.common.access.filters import Visit
from services.common.access.patterns import NameNeeded, host
from services.common.access.rules import decide_login
from services.common.directory import LoginRefusal, LoginRefused
from services.common.hostnames import HostNames
from services.common.live import Live
from services.common.login import Login
from services.common.options import DirectoryOptions
from services.common.peer import LOCAL_ADDRESS, Peer
from tests.support.nameserver import name_server
from tests.support.people import PASSWORD, People
from tests.support.recorder import Recorder

ANNA = "anna@example.com"
COMMON = "+imap:ALL$+pop:ALL$+http:ALL"
CLEAR = Peer("192.0.2.7")
TLS = Peer("192.0.2.7", tls=True, cipherbits=256)
PROXIED = Peer("192.0.2.7", tls=True, proxied_tls=True)
V6 = Peer("2001:db8::7")
SOCKET = Peer(LOCAL_ADDRESS, local=True)
NO_ATTRIBUTE = "No attribute: everything allowed from everywhere"
DENIED_REST = "One explicit allow for any service denies every service not named"
ORDER = "Match order: allow, then deny; no match: granted, except when there are allow rules and no deny rule"
BOTH = "An active domain is still subject to both attributes"
PLAIN_NAME = "imap and pop match with and without TLS"
TLS_NAME = "imaps and pops match only sessions that are under TLS when they log in"
ANYWHERE = "ALL and * match everything"
EXCEPTED = "-ALL:ALL EXCEPT server: only from that host"
MMP = "+imaps,pops:*$+imap,pop:<MMP address>: TLS only, except through the proxy"
UNREADABLE = "What cannot be read lets nobody in"

CASES = [
    (NO_ATTRIBUTE, (), "imap", CLEAR, True),
    (NO_ATTRIBUTE, (), "pop", SOCKET, True),
    (NO_ATTRIBUTE, ("",), "imap", CLEAR, True),
    (ANYWHERE, (COMMON,), "imap", CLEAR, True),
    (ANYWHERE, (COMMON,), "pop", V6, True),
    (ANYWHERE, ("+*:*",), "pop", SOCKET, True),
    (ANYWHERE, ("+all:*",), "imap", TLS, True),
    (ANYWHERE, ("-ALL:ALL",), "imap", TLS, False),
    (DENIED_REST, ("+pop:ALL",), "imap", TLS, False),
    (DENIED_REST, ("+smtp:ALL",), "pop", CLEAR, False),
    (DENIED_REST, ("+imap,pop,http:*",), "pop", CLEAR, True),
    (PLAIN_NAME, (COMMON,), "imap", TLS, True),
    (PLAIN_NAME, (COMMON,), "pop", PROXIED, True),
    (PLAIN_NAME, ("-imap:ALL",), "imap", TLS, False),
    (TLS_NAME, ("+imaps:ALL",), "imap", CLEAR, False),
    (TLS_NAME, ("+imaps:ALL",), "imap", TLS, True),
    (TLS_NAME, ("+imaps:ALL",), "imap", PROXIED, True),
    (TLS_NAME, ("+pops:ALL",), "pop", CLEAR, False),
    (TLS_NAME, ("+pops:ALL",), "pop", TLS, True),
    (TLS_NAME, ("+pops:ALL",), "imap", TLS, False),
    (TLS_NAME, ("-imaps:ALL",), "imap", CLEAR, True),
    (TLS_NAME, ("-imaps:ALL",), "imap", TLS, False),
    (ORDER, ("-imap:ALL$+imap:192.0.2.",), "imap", CLEAR, True),
    (ORDER, ("-imap:ALL$+imap:192.0.2.",), "imap", V6, False),
    (ORDER, ("+imap:10.",), "imap", CLEAR, False),
    (ORDER, ("+imap:10.$-pop:ALL",), "imap", CLEAR, True),
    (ORDER, ("-imap:10.",), "imap", CLEAR, True),
    (BOTH, (COMMON, COMMON), "imap", CLEAR, True),
    (BOTH, ("+pop:ALL", COMMON), "imap", CLEAR, False),
    (BOTH, (COMMON, "+pop:ALL"), "imap", CLEAR, False),
    (BOTH, ("+imaps:ALL", "+imap:192.0.2.0/24"), "imap", CLEAR, False),
    (BOTH, ("+imaps:ALL", "+imap:192.0.2.0/24"), "imap", TLS, True),
    (EXCEPTED, ("-ALL:ALL EXCEPT 192.0.2.7",), "imap", CLEAR, True),
    (EXCEPTED, ("-ALL:ALL EXCEPT 192.0.2.8",), "imap", CLEAR, False),
    (EXCEPTED, ("-ALL:ALL EXCEPT 2001:db8::/32",), "pop", V6, True),
    (MMP, ("+imaps,pops:*$+imap,pop:192.0.2.7",), "pop", CLEAR, True),
    (MMP, ("+imaps,pops:*$+imap,pop:192.0.2.8",), "pop", CLEAR, False),
    (MMP, ("+imaps,pops:*$+imap,pop:192.0.2.8",), "pop", TLS, True),
    (UNREADABLE, ("+imap",), "imap", TLS, False),
    (UNREADABLE, ("+imap:@netgroup",), "imap", TLS, False),
    (UNREADABLE, (COMMON, "+imap:1.2.3.4.5"), "imap", TLS, False),
]


@pytest.mark.parametrize(("sentence", "rules", "service", "peer", "allowed"), CASES)
async def test_a_login(sentence: str, rules: tuple[str, ...], service: str, peer: Peer, allowed: bool) -> None:
    """Twice: the second login is one that is remembered, and no rule may be passed over for that."""
    recorder = Recorder()
    people = People({ANNA: PASSWORD}, access={ANNA: rules})
    login = Login(people, Live(DirectoryOptions(faildelay=0)), recorder)
    for _ in range(2):
        if allowed:
            remembered = login.cached(service, ANNA, PASSWORD, peer)
            assert remembered or await login.password(service, ANNA, PASSWORD, peer), sentence
            continue
        assert login.cached(service, ANNA, PASSWORD, peer) is None, sentence
        with pytest.raises(LoginRefused) as caught:
            await login.password(service, ANNA, PASSWORD, peer)
        assert caught.value.kind is LoginRefusal.ACCESS, sentence
    assert recorder.logins == [(service, result) for result in (("ok", "cached") if allowed else ("access", "access"))]


async def test_a_wrong_password_is_told_first() -> None:
    """Whoever does not know it learns nothing of the rules."""
    login = Login(People({ANNA: PASSWORD}, access={ANNA: ("-ALL:ALL",)}), Live(DirectoryOptions(faildelay=0)))
    with pytest.raises(LoginRefused) as caught:
        await login.password("imap", ANNA, "wrong", CLEAR)
    assert caught.value.kind is LoginRefusal.CREDENTIALS


async def test_a_remembered_login_from_elsewhere_is_judged_anew() -> None:
    login = Login(People({ANNA: PASSWORD}, access={ANNA: ("+imap:192.0.2.",)}), Live(DirectoryOptions(faildelay=0)))
    assert await login.password("imap", ANNA, PASSWORD, CLEAR)
    assert login.cached("imap", ANNA, PASSWORD, CLEAR) is not None
    assert login.cached("imap", ANNA, PASSWORD, V6) is None
    with pytest.raises(LoginRefused):
        await login.password("imap", ANNA, PASSWORD, V6)


async def test_names_are_looked_up_where_a_rule_needs_them() -> None:
    zone = {("7.2.0.192.in-addr.arpa", "PTR"): "mail.example.org.", ("mail.example.org", "A"): "192.0.2.7"}
    people = People({ANNA: PASSWORD}, access={ANNA: ("+imap:.example.org",)})
    async with name_server(zone) as server:
        login = Login(people, Live(DirectoryOptions(faildelay=0)), names=HostNames([f"127.0.0.1:{server.port}"]))
        assert await login.password("imap", ANNA, PASSWORD, CLEAR)
        asked = len(server.asked)
        assert login.cached("imap", ANNA, PASSWORD, CLEAR) is not None
        assert login.cached("imap", ANNA, PASSWORD, Peer("192.0.2.8")) is None, "the fast path looks no name up"
        assert len(server.asked) == asked
        with pytest.raises(LoginRefused):
            await login.password("imap", ANNA, PASSWORD, Peer("192.0.2.8"))


def test_the_attribute_and_rule_that_decide_are_named() -> None:
    decision = decide_login((COMMON, "+pop:ALL$-imap:192.0.2."), Visit("imap", host("192.0.2.7")))
    assert (decision.allowed, decision.rule) == (False, "-imap:192.0.2.")
    with pytest.raises(NameNeeded):
        decide_login(("+imap:mail.example.org",), Visit("imap", host("192.0.2.7")))
