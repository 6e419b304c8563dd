"""The registry of sessions: counts, news for the store, kicks."""

from __future__ import annotations

import pytest

from services.common.access.marks import address_key
from services.common.domain import SessionInfo
from services.common.sessions import SessionRegistry


def opened(registry: SessionRegistry, session_id: str, address: str = "192.0.2.1") -> list[str]:
    kicked: list[str] = []
    registry.opened(SessionInfo(session_id, "imap", "", address, 1), lambda: kicked.append(session_id))
    return kicked


def test_ids_are_new_each_time() -> None:
    registry = SessionRegistry()
    assert len({registry.new_id() for _ in range(100)} | {SessionRegistry().new_id()}) == 101


def test_news_are_what_changed_since_the_last_time() -> None:
    registry = SessionRegistry("host:1")
    woken: list[int] = []
    registry.on_change = lambda: woken.append(1)
    opened(registry, "a")
    opened(registry, "b")
    assert [info.session_id for info in registry.snapshot()] == ["a", "b"]
    assert registry.drain_changes() == ([], [])
    assert registry.authenticated("a", "anna")
    registry.closed("b")
    opened(registry, "c")
    news, closed = registry.drain_changes()
    assert [(info.session_id, info.user, info.process) for info in news] == [
        ("a", "anna", "host:1"),
        ("c", "", "host:1"),
    ]
    assert closed == ["b"]
    assert len(woken) == 2


def test_who_came_and_went_in_between_is_no_news() -> None:
    registry = SessionRegistry()
    opened(registry, "a")
    registry.closed("a")
    registry.closed("a")
    assert registry.drain_changes() == ([], [])
    assert len(registry) == 0


def test_sessions_are_counted_by_user_and_address() -> None:
    registry = SessionRegistry()
    for session_id in ("a", "b"):
        opened(registry, session_id)
    assert registry.authenticated("a", "anna", 1)
    assert not registry.authenticated("b", "anna", 1)
    assert not registry.authenticated("gone", "anna")
    assert (registry.of_user("anna"), registry.from_address("192.0.2.1")) == (1, 2)
    assert registry.authenticated("a", "bert")
    assert (registry.of_user("anna"), registry.of_user("bert")) == (0, 1)
    registry.closed("a")
    assert (registry.of_user("bert"), registry.from_address("192.0.2.1")) == (0, 1)


def test_a_kick_finds_its_session() -> None:
    registry = SessionRegistry()
    kicked = opened(registry, "a")
    assert registry.kick("a")
    assert not registry.kick("b")
    assert kicked == ["a"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_an_ipv6_client_counts_by_its_network(one: str, other: str, same: bool) -> None:
    assert (address_key(one) == address_key(other)) is same
