"""ENVELOPE and the address lists in it."""

from __future__ import annotations

import pytest

from services.common.mime.addresses import GROUP_END, MAX_ADDRESSES, Address, parse
from services.common.mime.analysis import analyse
from services.common.mime.envelope import envelope
from services.common.mime.nstring import nstring, string
from tests.support.imaplist import read_list


def envelope_of(header: bytes) -> bytes:
    return analyse(header.replace(b"\n", b"\r\n") + b"\r\n").envelope


@pytest.mark.rfc("9051", "8")
def test_the_session_of_the_rfc() -> None:
    header = b"""\
Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)
From: Terry Gray <gray@cac.washington.edu>
Subject: IMAP4rev2 WG mtg summary and minutes
To: imap@cac.washington.edu
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>
Message-Id: <B27397-0100000@cac.washington.ed>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII
"""
    gray = b'(("Terry Gray" NIL "gray" "cac.washington.edu"))'
    assert envelope_of(header) == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" '
        + b" ".join([gray] * 3)
        + b' ((NIL NIL "imap" "cac.washington.edu"))'
        b' ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU"))'
        b' NIL NIL "<B27397-0100000@cac.washington.ed>")'
    )


@pytest.mark.rfc("9051", "7.5.2")
def test_nothing_is_nil_and_empty_is_empty() -> None:
    assert envelope({}) == b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
    empty = dict.fromkeys((b"DATE", b"SUBJECT", b"FROM", b"TO", b"CC", b"BCC", b"IN-REPLY-TO", b"MESSAGE-ID"), b" \r")
    assert envelope(empty) == b'("" "" NIL NIL NIL NIL NIL NIL "" "")'


@pytest.mark.rfc("9051", "7.5.2")
def test_sender_and_reply_to_are_from_where_missing_or_empty() -> None:
    author = b'((NIL NIL "a" "x"))'
    for more in (b"", b"Sender:\nReply-To: \n"):
        assert envelope_of(b"From: a@x\n" + more) == b"(NIL NIL " + b" ".join([author] * 3) + b" NIL NIL NIL NIL NIL)"
    given = envelope_of(b"From: a@x\nSender: b@x\nReply-To: c@x\n")
    assert given == b'(NIL NIL ((NIL NIL "a" "x")) ((NIL NIL "b" "x")) ((NIL NIL "c" "x")) NIL NIL NIL NIL NIL)'


def test_folds_are_undone_and_blanks_kept() -> None:
    assert envelope_of(b"Subject: one\n  two\n\tthree\n").startswith(b'(NIL "one  two\tthree" ')


def test_repeated_fields() -> None:
    """Of a text the first counts; all of an address list do."""
    text = envelope_of(b"Subject: one\nTo: a@x\nSubject: two\nTo: b@x\n")
    assert b'"one"' in text
    assert b"two" not in text
    assert b'((NIL NIL "a" "x")(NIL NIL "b" "x"))' in text


@pytest.mark.rfc("9051", "4.3")
def test_strings_are_quoted_where_possible_and_else_literals() -> None:
    assert string(rb'a "b" \c') == rb'"a \"b\" \\c"'
    assert string(b"\xe4\xf6") == b"{2}\r\n\xe4\xf6"
    assert string("ä".encode()) == b"{2}\r\n\xc3\xa4"
    assert string(b"a\0b") == b"{3}\r\na\x80b"
    assert string(b"") == b'""'
    assert nstring(None) == b"NIL"
    assert envelope_of(b"Subject: caf\xe9\n").startswith(b"(NIL {4}\r\ncaf\xe9 NIL")


@pytest.mark.rfc("5322", "3.4")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@x.example", [Address(None, None, b"a", b"x.example")]),
        (b"<a@x>", [Address(None, None, b"a", b"x")]),
        (b"A B <a@x>", [Address(b"A B", None, b"a", b"x")]),
        (b"A  B\r\n <a@x>", [Address(b"A B", None, b"a", b"x")]),
        (b'"B, A" <a@x>', [Address(b"B, A", None, b"a", b"x")]),
        (rb'"A \"Bob\" C" <a@x>', [Address(b'A "Bob" C', None, b"a", b"x")]),
        (b'A "B" C <a@x>', [Address(b"A B C", None, b"a", b"x")]),
        (b"J. R. Ewing <a@x>", [Address(b"J. R. Ewing", None, b"a", b"x")]),
        (b"=?utf-8?q?=C3=A4?= <a@x>", [Address(b"=?utf-8?q?=C3=A4?=", None, b"a", b"x")]),
        (b"J\xf6rg <a@x>", [Address(b"J\xf6rg", None, b"a", b"x")]),
        (b"a@x, b@y", [Address(None, None, b"a", b"x"), Address(None, None, b"b", b"y")]),
        (b"a@x,, ,b@y,", [Address(None, None, b"a", b"x"), Address(None, None, b"b", b"y")]),
        (b"a@x (A (nested) B)", [Address(b"A (nested) B", None, b"a", b"x")]),
        (b"A (not the name) <a@x>", [Address(b"A", None, b"a", b"x")]),
        (b"a . b @ x . y", [Address(None, None, b"a.b", b"x.y")]),
        (b'"two words"@x', [Address(None, None, b"two words", b"x")]),
        (b"a@[192.0.2.1]", [Address(None, None, b"a", b"[192.0.2.1]")]),
        (b"A <@r,@s:a@x>", [Address(b"A", b"@r,@s", b"a", b"x")]),
        (b"list:;", [Address(None, None, b"list", None), GROUP_END]),
        (
            b"A B: a@x, C <c@y>; , d@z",
            [
                Address(None, None, b"A B", None),
                Address(None, None, b"a", b"x"),
                Address(b"C", None, b"c", b"y"),
                GROUP_END,
                Address(None, None, b"d", b"z"),
            ],
        ),
        (b"open: a@x", [Address(None, None, b"open", None), Address(None, None, b"a", b"x"), GROUP_END]),
        (b"", []),
        (b" , ,", []),
    ],
)
def test_address_lists(value: bytes, expected: list[Address]) -> None:
    assert parse(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"somebody", [Address(None, None, b"somebody", b"")]),
        (b"some body", [Address(None, None, b"some body", b"")]),
        (b"<somebody>", [Address(None, None, b"somebody", b"")]),
        (b"A <>", [Address(b"A", None, b"", b"")]),
        (b"@x", [Address(None, None, b"", b"x")]),
        (b"a@", [Address(None, None, b"a", b"")]),
        (b"a@b@c", [Address(None, None, b"a@b", b"c")]),
        (b"A <a@x", [Address(b"A", None, b"a", b"x")]),
        (b"<a@x, b@y", [Address(None, None, b"a", b"x"), Address(None, None, b"b", b"y")]),
        (b"a@x (never closed", [Address(None, None, b"a", b"x never closed".replace(b" ", b""))]),
        (b'"never closed <a@x>', [Address(b'"never closed', None, b"a", b"x")]),
    ],
)
def test_broken_address_lists_give_what_they_can(value: bytes, expected: list[Address]) -> None:
    """A missing domain is the empty string: NIL would mean a group (RFC 9051 section 7.5.2)."""
    assert parse(value) == expected


def test_a_list_is_cut_at_its_bound() -> None:
    assert len(parse(b"a@x," * (MAX_ADDRESSES + 5))) == MAX_ADDRESSES


def test_bytes_from_anywhere_stay_readable() -> None:
    value = read_list(envelope_of(b"From: \x00\xff\x01 <\x80@\x81>\nSubject: a\rb\n"))
    assert isinstance(value, list)
    assert value[1] == b"a b"
