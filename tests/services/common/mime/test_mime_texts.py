"""Text as people read it: charsets, encoded words, search texts, previews, dates."""

from __future__ import annotations

import pytest

from services.common.mime.analysis import MAX_MESSAGE_IDS, analyse
from services.common.mime.charsets import codec_of, decode
from services.common.mime.dates import sent_date
from services.common.mime.encodedword import decode_header
from services.common.mime.preview import PREVIEW_LENGTH
from services.common.mime.text import fold, html_text, search_text


@pytest.mark.rfc("2047", "8")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
        (b"=?ISO-8859-1?Q?Andr=E9?= Pirard", "André Pirard"),
        (
            b"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n "
            b"=?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
            "If you can read this you understand the example.",
        ),
        (b"(=?ISO-8859-1?Q?a?=)", "(a)"),
        (b"(=?ISO-8859-1?Q?a?= b)", "(a b)"),
        (b"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"),
        (b"(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
        (b"(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"),
        (b"=?iso-8859-8*he?b?7eXs+SDv4SDp7Oj08A==?=", "םולש ןב ילטפנ"),
    ],
)
def test_encoded_words(value: bytes, text: str) -> None:
    assert decode_header(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"=?utf-8?b?4pw=?= =?utf-8?b?kw==?=", "✓"),
        (b"=?utf-8?q?=E2=9C?==?utf-8?q?=93?=", "✓"),
        (b"=?no-such-charset?q?a?=", "=?no-such-charset?q?a?="),
        (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
        (b"=?utf-8?q?two words?=", "two words"),
        (b"caf\xe9", "café"),
        ("café".encode(), "café"),
        (b"=?utf-8?q?=ZZ?=", "=ZZ"),
    ],
)
def test_broken_words_give_what_they_can(value: bytes, text: str) -> None:
    assert decode_header(value) == text


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("ISO-8859-1", b"\x80\xe4", "€ä"),
        ("ks_c_5601-1987", b"\xb0\xa1", "가"),
        ("x-gbk", b"\xc4\xe3", "你"),
        ("gb2312", b"\xc4\xe3", "你"),
        ("cp-850", b"\x84", "ä"),
        ("iso-8859-8-i", b"\xf9", "ש"),
        ("unicode-1-1-utf-7", b"+AOQ-", "ä"),
        ("x-mac-cyrillic", b"\x81", "Б"),
        ("macintosh", b"\x8a", "ä"),
        ("windows-1251", b"\xcf", "П"),
        ("iso-2022-jp", b"\x1b$B$3\x1b(B", "こ"),
        ("Shift_JIS", b"\x82\xb1", "こ"),
        ("hz-gb-2312", b"~{Dc~}", "你"),
        (" 'UTF-8' ", "ä".encode(), "ä"),
        ("utf-8", b"a\xffb", "a\ufffdb"),
        ("us-ascii", "ä".encode(), "ä"),
        ("us-ascii", b"\xe4", "ä"),
        ("no such thing", b"\xe4", "ä"),
        ("base64", b"YQ==", "YQ=="),
        ("unicode_escape", b"\\x41", "\\x41"),
        ("utf-7", b"+2AA-", "\ufffd"),
    ],
)
def test_charsets(name: str, data: bytes, text: str) -> None:
    assert decode(data, name) == text


def test_names_that_are_no_charsets() -> None:
    for name in ("zlib", "rot13", "idna", "punycode", "undefined", "x" * 1000, "\0", ""):
        assert codec_of(name) is None


def test_folding() -> None:
    assert fold("Straße ﬁn \uff21\uff22\uff23") == "strasse fin abc"
    assert fold("A\u0308") == fold("ä")
    assert fold("ΣΊΣΥΦΟΣ") == fold("σίσυφος")


def test_html_becomes_text() -> None:
    page = (
        "<html><head><title>no</title><style>p { x }</style></head><body><p>One &amp; t<b>w</b>o</p>"
        "<!-- <p>no</p> --><script>if (a < b) no()</script>a < b<br>three<img alt='>'></body>"
    )
    lines = [line for line in html_text(page).split("\n") if line]
    assert lines == ["One & two", "a < b", "three'>"]
    assert html_text("<p>never closed <script>no") == "\nnever closed "


@pytest.mark.parametrize("digits", [63, 64, 4_300, 4_301, 100_000])
def test_a_character_reference_of_any_length_is_one_character(digits: int) -> None:
    assert html_text(f"a&#{'1' * digits};b") == "a\ufffdb"
    page = b"Content-Type: text/html\r\n\r\na&#" + b"1" * digits + b";b"
    assert analyse(page).preview.startswith("a")
    assert search_text(page).body == "a\ufffdb"


def test_search_texts_by_field() -> None:
    message = b"""\
From: =?utf-8?q?J=C3=B6rg?= <J@Example.org>
To: "Doe, Jane" <jane@x>
Cc: g: a@x;
Bcc: b@x
Subject: =?utf-8?q?GR=C3=9CSSE?=
 =?utf-8?q?_AUS?=
X-Other: Value
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Caf=E9 one=
word
--b
Content-Type: text/html
Content-Transfer-Encoding: base64

PGI+Qm9sZDwvYj4=
--b
Content-Type: image/png

PICTURE
--b
Content-Type: message/rfc822

Subject: Inner

Inner text
--b--
""".replace(b"\n", b"\r\n")
    text = search_text(message)
    assert "jörg <j@example.org>" in text.from_
    assert "doe, jane <jane@x>" in text.to
    assert "a@x" in text.cc
    assert "b@x" in text.bcc
    assert text.subject == "grüsse aus"
    assert "x-other: value" in text.header.split("\n")
    assert "subject: grüsse aus" in text.header.split("\n")
    for words in ("café oneword", "bold", "inner", "inner text"):
        assert words in text.body
    assert "picture" not in text.body
    assert "<b>" not in text.body


@pytest.mark.rfc("8970", "3.2")
def test_previews() -> None:
    assert analyse(b"\r\n  Hello,\r\n\r\n  world \t\r\n").preview == "Hello, world"
    assert len(analyse(b"\r\n" + b"word " * 500).preview) <= PREVIEW_LENGTH
    assert analyse(b"Content-Type: text/html\r\n\r\n<style>p {}</style><p>Hi <b>you</b></p>").preview == "Hi you"
    head = b"Content-Type: multipart/alternative; boundary=b\r\n\r\n"
    both = head + b"--b\r\nContent-Type: text/html\r\n\r\nhtml\r\n--b\r\n\r\nplain\r\n--b--"
    assert analyse(both).preview == "plain"
    assert analyse(b"Content-Type: image/png\r\n\r\nx").preview == ""
    assert analyse(b"\r\n" + b" " * 5_000 + b"late").preview == "late"
    assert analyse(b"Content-Transfer-Encoding: base64\r\n\r\n" + b"aGVsbG8g" * 300).preview.startswith("hello hello")


@pytest.mark.rfc("5322", "3.3")
@pytest.mark.rfc("5322", "4.3")
@pytest.mark.parametrize(
    ("value", "days"),
    [
        (b"Fri, 21 Nov 1997 09:55:06 -0600", 10186),
        (b"21 Nov 97 09:55:06 GMT", 10186),
        (b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 10186),
        (b" Fri, 21(comment) Nov\r\n 1997 23:59:59 -1200", 10186),
        (b"1 Jan 1970 00:00 +0000", 0),
        (b"1 Jan 100 00:00 +0000", 10957),
        (b"Mon, 3-Feb-2025 10:11:12", 20122),
        (b"Monday, 3 February 2025", 20122),
        (b"Mon Feb  3 10:11:12 CET 2025", 20122),
        (b"2025-02-03T10:11:12Z", 20122),
        (b"31 Feb 2025 00:00 +0000", -1),
        (b"Wed, 31 Dec 1969 19:00:00 -0500", -1),
        (b"yesterday", -1),
        (b"", -1),
    ],
)
def test_sent_dates(value: bytes, days: int) -> None:
    assert sent_date(value) == days


def test_message_ids_in_order_and_bounded() -> None:
    header = b"References: <a@x> <b@x>\r\n <c@x>\r\nIn-Reply-To: <c@x>\r\nMessage-ID: <d@x>\r\n\r\n"
    assert analyse(header).message_ids == (b"<d@x>", b"<c@x>", b"<a@x>", b"<b@x>")
    long = b"Message-ID: <own@x>\r\nReferences: " + b" ".join(b"<%d@x>" % n for n in range(5_000)) + b"\r\n\r\n"
    ids = analyse(long).message_ids
    assert ids[0] == b"<own@x>"
    assert ids[-1] == b"<4999@x>"
    assert len(ids) <= MAX_MESSAGE_IDS


def test_common_fields_are_kept_as_they_came() -> None:
    message = b"Received: x\r\nSubject: a\r\n b\r\nX-Tuid: 1\r\nto: c@x\r\n\r\nSubject: not this\r\n"
    assert analyse(message).headers == b"Subject: a\r\n b\r\nX-Tuid: 1\r\nto: c@x\r\n"
    assert analyse(b"Subject: unfinished").headers == b"Subject: unfinished\r\n"
