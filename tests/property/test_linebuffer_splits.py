"""Any split of the bytes gives the same lines, and memory stays bounded."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.linebuffer import LineBuffer, LineTooLongError

LIMIT = 12
STREAMS = st.lists(st.sampled_from([b"a", b"bc", b"\r", b"\n", b"\r\n", b"0123456789", b"\0", b"\xff"])).map(b"".join)


def drained(buffer: LineBuffer) -> list[bytes | str]:
    found: list[bytes | str] = []
    while True:
        try:
            line = buffer.next_line()
        except LineTooLongError:
            found.append("too long")
            continue
        if line is None:
            return found
        found.append(line)


def expected(stream: bytes, end: bytes) -> list[bytes | str]:
    *lines, rest = stream.split(end)
    found: list[bytes | str] = []
    for line in lines:
        kept = line[:-1] if end == b"\n" and line.endswith(b"\r") else line
        found.append("too long" if len(line) + len(end) > LIMIT else kept)
    return [*found, "too long"] if len(rest) >= LIMIT else found


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 200)), strict=st.booleans())
def test_any_split_gives_the_same_lines(stream: bytes, cuts: list[int], strict: bool) -> None:
    buffer = LineBuffer(LIMIT, strict=strict)
    points = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    found: list[bytes | str] = []
    for start, stop in pairwise(points):
        buffer.feed(stream[start:stop])
        found += drained(buffer)
        assert len(buffer) < LIMIT
    assert found == expected(stream, b"\r\n" if strict else b"\n")


@given(stream=STREAMS, sizes=st.lists(st.integers(0, 9), max_size=30))
def test_take_gives_the_bytes_in_order(stream: bytes, sizes: list[int]) -> None:
    buffer = LineBuffer(LIMIT)
    taken = b""
    for index, size in enumerate(sizes):
        buffer.feed(stream[index * 3 : index * 3 + 3])
        taken += buffer.take(size)
    held = taken + buffer.take(len(buffer))
    assert held == stream[: 3 * len(sizes)]
    assert len(buffer) == 0


@pytest.mark.rfc("5321", "2.3.8")
def test_strict_takes_bare_line_ends_as_part_of_the_line() -> None:
    buffer = LineBuffer(100, strict=True)
    buffer.feed(b"one\ntwo\rthree\r\n")
    assert buffer.next_line() == b"one\ntwo\rthree"


def test_goes_on_after_a_line_that_is_too_long() -> None:
    buffer = LineBuffer(8)
    buffer.feed(b"x" * 5000)
    with pytest.raises(LineTooLongError):
        buffer.next_line()
    assert len(buffer) == 0
    buffer.feed(b"x" * 5000 + b"\r\nQUIT\r\n")
    assert buffer.next_line() == b"QUIT"
    assert buffer.next_line() is None


def test_the_limit_may_change_between_lines() -> None:
    buffer = LineBuffer(4)
    buffer.limit = 40
    buffer.feed(b"x" * 30 + b"\n")
    assert buffer.next_line() == b"x" * 30


@pytest.mark.rfc("2595", "2.4")
def test_clear_forgets_what_came_before() -> None:
    buffer = LineBuffer(40)
    buffer.feed(b"STLS\r\nUSER mallory\r\n")
    assert buffer.next_line() == b"STLS"
    buffer.clear()
    assert buffer.next_line() is None
    buffer.feed(b"CAPA\r\n")
    assert buffer.next_line() == b"CAPA"
