"""POP3 replies: stuffing in any parts, TOP's cut, listings, and that no reason or text is missing."""

from __future__ import annotations

import re
from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import Reason
from services.pop import replies
from services.pop.languages import LANGUAGES, LINES, TEXTS, Text, lookup
from services.pop.machine import Fault

MAIL = st.lists(
    st.sampled_from([b"Subject: x\r\n", b"\r\n", b"\n", b"\r", b".", b"..\r\n", b"line\r\n", b"\0", b"\xff"])
    | st.binary(max_size=3)
).map(b"".join)
CUTS = st.lists(st.integers(0, 120))


def parts_of(body: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    return [body[start:stop] for start, stop in pairwise(points)]


def undone(reply: bytes) -> bytes:
    """What a client makes of a multi-line reply (RFC 1939 section 3)."""
    lines = reply.split(b"\r\n")
    end = lines.index(b".")
    assert lines[end + 1 :] == [b""]
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:end])


@pytest.mark.rfc("1939", "3")
@given(body=MAIL, cuts=CUTS)
def test_stuffing_in_any_parts_is_that_of_the_whole(body: bytes, cuts: list[int]) -> None:
    stuffing = replies.Stuffing()
    streamed = b"".join(stuffing.part(part) for part in parts_of(body, cuts)) + stuffing.end()
    assert streamed == replies.message(b"", body)


@pytest.mark.rfc("1939", "3")
@given(body=MAIL)
def test_a_client_gets_the_message_byte_for_byte(body: bytes) -> None:
    complete = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
    assert undone(replies.message(b"", body)) == complete


def top_by_lines(body: bytes, lines: int) -> bytes:
    """TOP the slow way: line by line."""
    taken, left, in_body = [], lines, False
    for piece in re.findall(rb"[^\n]*\n|[^\n]+\Z", body):
        if in_body and left == 0:
            break
        taken.append(piece)
        if in_body:
            left -= 1
        elif piece in (b"\r\n", b"\n"):
            in_body = True
    return b"".join(taken)


@pytest.mark.rfc("1939", "7")
@given(body=MAIL, cuts=CUTS, lines=st.integers(0, 6))
def test_top_in_any_parts_is_header_and_lines(body: bytes, cuts: list[int], lines: int) -> None:
    head, taken = replies.Head(lines), b""
    for part in parts_of(body, cuts):
        if head.done:
            break
        taken += head.part(part)
    assert taken == top_by_lines(body, lines)


def test_top_finds_its_line_in_a_long_body() -> None:
    body = b"a: b\r\n\r\n" + b"0123456789\r\n" * 20_000
    head = replies.Head(12_345)
    assert head.part(body) == b"a: b\r\n\r\n" + b"0123456789\r\n" * 12_345
    assert head.done


@pytest.mark.rfc("1939", "5")
def test_a_listing_is_a_line_for_each_message() -> None:
    parts = replies.size_parts(array("Q", [120, 160, 200]), {1})
    assert b"".join(parts) == b"1 120\r\n3 200\r\n.\r\n"


@pytest.mark.rfc("1939", "7")
def test_unique_ids_have_one_form_for_ever() -> None:
    parts = replies.uid_parts(0x65A1, array("I", [1, 0xFFFFFFFF]), set())
    assert b"".join(parts) == b"1 000065a100000001\r\n2 000065a1ffffffff\r\n.\r\n"
    assert replies.unique_id(0x65A1, 0xFFFFFFFF) == b"000065a1ffffffff"


def test_a_long_listing_goes_out_in_parts() -> None:
    count = 2 * replies.LISTED_AT_ONCE + 1
    parts = list(replies.size_parts(array("Q", [7]) * count, set()))
    assert len(parts) == 4
    assert b"".join(parts).count(b"\r\n") == count + 1


@pytest.mark.rfc("3206", "4")
def test_every_reason_and_fault_has_an_error_text() -> None:
    assert set(replies.REASONS) == set(Reason)
    assert set(replies.FAULTS) == set(Fault)
    for text in (*replies.REASONS.values(), *replies.FAULTS.values()):
        assert not TEXTS[text].ok


@pytest.mark.rfc("6856", "3")
def test_every_text_is_there_in_every_language_and_takes_the_same_numbers() -> None:
    assert set(TEXTS) == set(Text)
    for row in TEXTS.values():
        assert len(row.wordings) == len(LANGUAGES)
        assert len({tuple(re.findall("%.", wording)) for wording in row.wordings}) == 1


@pytest.mark.rfc("1939", "3")
def test_every_line_is_a_status_line_within_the_bound() -> None:
    for lines in LINES.values():
        for line in lines.values():
            assert re.fullmatch(rb"(\+OK|-ERR) [^\r\n]+\r\n", line)
            assert len(line) <= 512
    assert all(line.isascii() for line in LINES["en"].values())


@pytest.mark.rfc("6856", "3.2")
@pytest.mark.parametrize(
    ("wanted", "tag"),
    [("de", "de"), ("DE-at", "de"), ("en-GB-oed", "en"), ("i-default", "en"), ("*", "fr"), ("sv", None), ("d", None)],
)
def test_a_language_is_looked_up(wanted: str, tag: str | None) -> None:
    assert lookup(wanted, "fr") == tag


@pytest.mark.rfc("6856", "5")
def test_which_headers_need_utf8_mode() -> None:
    assert replies.needs_utf8("Subject: Grüße\r\n".encode())
    assert not replies.needs_utf8("Subject: Grüße\r\n".encode("latin-1"))
    assert not replies.needs_utf8(b"Subject: plain\r\n")


@pytest.mark.parametrize(
    ("body", "header"),
    [(b"a: b\r\n\r\nc", b"a: b\r"), (b"\r\nc\r\n\r\n", b""), (b"\nc", b""), (b"a: b\r\n", b"a: b\r\n")],
)
def test_the_header_ends_at_the_first_empty_line(body: bytes, header: bytes) -> None:
    assert replies.header_of(body) == header
