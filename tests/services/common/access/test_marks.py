"""What is held against addresses: the arithmetic of waits and bans, and its form in the shared file."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.access.marks import (
    FOR_EVER,
    RECORD,
    Ban,
    Key,
    Mark,
    MarkRules,
    address_key,
    address_number,
    network_key,
    pack_ban,
    pack_mark,
    unpack_ban,
    unpack_mark,
)

NOW = 1_000_000.0
RULES = MarkRules(maxbadness=10, decay=900, failures=5, window=600, ban=3600)
KEY = network_key("192.0.2.7")


def failed(mark: Mark, times: int, now: float = NOW, rules: MarkRules = RULES, penalty: float = 2) -> Mark:
    for _ in range(times):
        mark = mark.failed(penalty, rules, now)
    return mark


def test_each_failure_adds_its_penalty_up_to_the_most() -> None:
    rules = replace(RULES, failures=0)
    waits = [failed(Mark(KEY), times, rules=rules).wait(rules, NOW) for times in range(8)]
    assert waits == [0, 2, 4, 6, 8, 10, 10, 10]


def test_a_wait_is_over_after_the_decay() -> None:
    mark = failed(Mark(KEY), 3)
    assert mark.wait(RULES, NOW + 899) == 6
    assert mark.wait(RULES, NOW + 900) == 0
    assert mark.failed(2, RULES, NOW + 900).wait(RULES, NOW + 900) == 2
    assert mark.matters(RULES) == NOW + 900


def test_a_success_clears_it() -> None:
    mark = failed(Mark(KEY), 4).cleared()
    assert (mark.wait(RULES, NOW), mark.failures) == (0, 0)
    assert not failed(mark, 4).banned(NOW)


def test_many_failures_shut_out_for_a_while() -> None:
    assert not failed(Mark(KEY), 4).banned(NOW)
    mark = failed(Mark(KEY), 5)
    assert mark.banned(NOW)
    assert mark.banned(NOW + 3599)
    assert not mark.banned(NOW + 3600)
    assert mark.matters(RULES) == NOW + 3600
    assert mark.cleared().banned(NOW), "a success (of a session that was there before) ends no ban"
    assert not mark.released().banned(NOW)


def test_failures_that_were_on_their_way_do_not_lengthen_a_ban() -> None:
    mark = failed(Mark(KEY), 5)
    assert failed(mark, 20, NOW + 10) == mark


def test_failures_count_only_within_the_window() -> None:
    mark = failed(failed(Mark(KEY), 4), 1, NOW + 600)
    assert not mark.banned(NOW + 600)
    assert failed(mark, 4, NOW + 601).banned(NOW + 601)


def test_a_clock_that_was_put_back_starts_the_window_anew() -> None:
    assert failed(failed(Mark(KEY), 4), 1, NOW - 5000).failures == 1


@pytest.mark.parametrize(
    ("address", "prefix", "text"),
    [
        ("192.0.2.7", 64, "192.0.2.7"),
        ("::ffff:192.0.2.7", 64, "192.0.2.7"),
        ("2001:db8:1:2:3::4", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3::4", 48, "2001:db8:1::/48"),
        ("2001:db8:1:2:3::4", 128, "2001:db8:1:2:3::4"),
        ("fe80::1%eth0", 64, "fe80::/64"),
    ],
)
def test_what_an_address_counts_by(address: str, prefix: int, text: str) -> None:
    key = address_key(address, prefix)
    assert str(key) == text
    number = address_number(address)
    assert key is not None
    assert number is not None
    assert key.holds(number)


def test_what_is_no_address_has_no_mark() -> None:
    assert address_key("local") is None
    assert address_number("") is None


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
        ("192.0.2.7/24", "192.0.2.0", "192.0.1.255"),
        ("0.0.0.0/0", "10.0.0.1", "2001:db8::1"),
        ("[2001:db8::]/32", "2001:db8:ffff::", "2001:db9::"),
    ],
)
def test_networks(network: str, inside: str, outside: str) -> None:
    numbers = [address_number(text) for text in (inside, outside)]
    assert [network_key(network).holds(number) for number in numbers if number is not None] == [True, False]


keys = st.builds(Key, st.integers(0, (1 << 128) - 1), st.integers(0, 128))
times = st.floats(0, 1e12)
marks = st.builds(Mark, keys, times, times, st.integers(0, 2**32 - 1), times, times)


@given(marks)
def test_a_mark_survives_its_form(mark: Mark) -> None:
    assert len(pack_mark(mark)) == RECORD
    assert unpack_mark(pack_mark(mark)) == mark


@given(keys, st.one_of(times, st.just(FOR_EVER)), st.text(st.characters(exclude_characters="\0"), max_size=8))
def test_a_ban_survives_its_form(key: Key, until: float, note: str) -> None:
    assert unpack_ban(pack_ban(Ban(key, until, note))) == Ban(key, until, note)


@given(marks, st.integers(0, RECORD - 1), st.integers(1, 255))
def test_a_record_that_is_damaged_is_none(mark: Mark, place: int, change: int) -> None:
    data = bytearray(pack_mark(mark))
    data[place] ^= change
    assert unpack_mark(bytes(data)) is None


@given(st.binary(min_size=RECORD, max_size=RECORD))
def test_any_bytes_are_a_record_or_none(data: bytes) -> None:
    unpack_mark(data)
    unpack_ban(data)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2000)), max_size=50))
def test_no_history_waits_for_longer_than_the_most(history: list[tuple[bool, float]]) -> None:
    mark, now = Mark(KEY), NOW
    for success, later in history:
        now += later
        mark = mark.cleared() if success else mark.failed(2, RULES, now)
        assert 0 <= mark.wait(RULES, now) <= RULES.maxbadness
        assert mark.until <= now + RULES.ban
        assert mark.failures < RULES.failures
