"""What the bounds on memory promise."""

from __future__ import annotations

from services.imap.cache import Cache
from services.imap.changelog import LIMIT, ChangeLog


def test_least_recently_used_goes_first() -> None:
    cache, gone = Cache(100), list[str]()
    for key in ("a", "b", "c"):
        cache.keep(key, 30, lambda key=key: gone.append(key))  # type: ignore[misc]
    cache.touch("a")
    cache.keep("d", 30, lambda: gone.append("d"))
    assert gone == ["b"]
    assert cache.size == 90


def test_what_is_kept_last_stays_however_large() -> None:
    cache, gone = Cache(100), list[str]()
    cache.keep("a", 30, lambda: gone.append("a"))
    cache.keep("b", 500, lambda: gone.append("b"))
    assert gone == ["a"]
    cache.keep("c", 1, lambda: gone.append("c"))
    assert gone == ["a", "b"]
    assert cache.size == 1


def test_a_key_is_counted_once_and_may_be_forgotten() -> None:
    cache = Cache(100)
    cache.keep("a", 30, lambda: None)
    cache.keep("a", 50, lambda: None)
    assert cache.size == 50
    cache.forget("a")
    cache.forget("a")
    assert cache.size == 0


def test_held_things_stay_together_until_the_next_shrink() -> None:
    cache, gone = Cache(50), list[int]()
    for number in range(3):
        cache.hold(number, 30, lambda number=number: gone.append(number))  # type: ignore[misc]
    assert gone == []
    cache.shrink()
    assert gone == [0, 1]
    cache.resize(10)
    assert gone == [0, 1]


def test_a_reader_that_fell_behind_is_told_so() -> None:
    log = ChangeLog()
    start = log.end
    for number in range(2 * LIMIT + 1):
        log.add(number, number + 10)
    assert log.since(start) is None
    assert log.since(log.end - 2) == [(2 * LIMIT - 1, 2 * LIMIT + 9), (2 * LIMIT, 2 * LIMIT + 10)]
    assert log.since(log.end) == []
