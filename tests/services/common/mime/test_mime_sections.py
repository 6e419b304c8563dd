"""BODY[section], BINARY[section] and header fields."""

from __future__ import annotations

import pytest

from services.common.mime.headers import COMMON_FIELDS, field_name, header_length, select_fields
from services.common.mime.section import Kind, UnknownEncodingError, find, find_binary

MESSAGE = b"""\
From: a@x
Subject: outer
Content-Type: multipart/mixed; boundary=b1

preamble
--b1
Content-Type: text/plain

one
--b1
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAEC/w==
--b1
Content-Type: message/rfc822

Subject: inner
To: c@x
Content-Type: multipart/mixed; boundary=b2

--b2

three one
--b2
Content-Type: text/html

three two
--b2--
--b1
Content-Type: multipart/mixed; boundary=b3

--b3
Content-Type: image/gif
Content-Description: picture

GIF
--b3
Content-Type: message/rfc822

Subject: deepest

four two one
--b3--
--b1--
epilogue
""".replace(b"\n", b"\r\n")


def section(*path: int, kind: Kind = Kind.WHOLE, fields: tuple[bytes, ...] = ()) -> bytes | None:
    found = find(MESSAGE, path, kind, fields)
    return None if found is None else bytes(found)


@pytest.mark.rfc("9051", "6.4.5.1")
def test_the_numbering_of_parts() -> None:
    assert section() == MESSAGE
    assert section(1) == b"one"
    assert section(2) == b"AAEC/w=="
    assert section(3, 1) == b"three one"
    assert section(3, 2) == b"three two"
    assert section(4, 1) == b"GIF"
    assert section(4, 2, 1) == b"four two one"
    for path in ((0,), (5,), (1, 1), (2, 1), (3, 3), (4, 1, 1), (4, 2, 2), (4, 2, 1, 1), (2**40,)):
        assert section(*path) is None


@pytest.mark.rfc("9051", "6.4.5.1")
def test_headers_and_texts() -> None:
    header = MESSAGE[: MESSAGE.index(b"preamble")]
    assert section(kind=Kind.HEADER) == header
    assert section(kind=Kind.TEXT) == MESSAGE[len(header) :]
    inner = b"Subject: inner\r\nTo: c@x\r\nContent-Type: multipart/mixed; boundary=b2\r\n\r\n"
    assert section(3, kind=Kind.HEADER) == inner
    assert section(3, kind=Kind.TEXT) == (section(3) or b"")[len(inner) :]
    assert section(4, 2, kind=Kind.HEADER) == b"Subject: deepest\r\n\r\n"
    assert section(4, 2, kind=Kind.TEXT) == b"four two one"
    for path in ((1,), (2,), (4,), (3, 1)):
        assert section(*path, kind=Kind.HEADER) is None
        assert section(*path, kind=Kind.TEXT) is None


@pytest.mark.rfc("9051", "6.4.5.1")
def test_mime_headers() -> None:
    assert section(1, kind=Kind.MIME) == b"Content-Type: text/plain\r\n\r\n"
    assert section(3, 1, kind=Kind.MIME) == b"\r\n"
    assert section(4, 1, kind=Kind.MIME) == b"Content-Type: image/gif\r\nContent-Description: picture\r\n\r\n"
    assert section(kind=Kind.MIME) is None


@pytest.mark.rfc("9051", "6.4.5.1")
def test_header_fields() -> None:
    assert section(kind=Kind.HEADER_FIELDS, fields=(b"SUBJECT", b"X-NONE")) == b"Subject: outer\r\n\r\n"
    rest = b"From: a@x\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n"
    assert section(kind=Kind.HEADER_FIELDS_NOT, fields=(b"SUBJECT",)) == rest
    assert section(3, kind=Kind.HEADER_FIELDS, fields=(b"TO",)) == b"To: c@x\r\n\r\n"
    assert section(3, kind=Kind.HEADER_FIELDS_NOT, fields=(b"TO", b"CONTENT-TYPE")) == b"Subject: inner\r\n\r\n"
    assert section(1, kind=Kind.HEADER_FIELDS, fields=(b"TO",)) is None


@pytest.mark.rfc("9051", "6.4.5.1")
def test_a_message_that_is_no_multipart_is_its_own_part_one() -> None:
    message = b"Subject: x\r\n\r\ntext\r\n"
    assert find(message, (1,)) == b"text\r\n"
    assert find(message, (1,), Kind.MIME) == b"Subject: x\r\n\r\n"
    assert find(message, (2,)) is None
    assert find(message, (1, 1)) is None
    assert find(message, (1,), Kind.TEXT) is None


@pytest.mark.rfc("9051", "6.4.5.1")
def test_a_message_that_is_a_message() -> None:
    message = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ntext\r\n"
    assert find(message, (1,), Kind.HEADER) == b"Subject: in\r\n\r\n"
    assert find(message, (1,), Kind.TEXT) == b"text\r\n"
    assert find(message, (1, 1)) == b"text\r\n"


@pytest.mark.rfc("3516", "4.2")
def test_binary() -> None:
    assert find_binary(MESSAGE, (2,)) == b"\x00\x01\x02\xff"
    assert find_binary(MESSAGE, (1,)) == b"one"
    assert find_binary(MESSAGE, (4, 2, 1)) == b"four two one"
    assert find_binary(MESSAGE, (3,)) == section(3)
    assert find_binary(MESSAGE, ()) == MESSAGE
    assert find_binary(MESSAGE, (9,)) is None


@pytest.mark.rfc("2045", "6.7")
@pytest.mark.parametrize(
    ("encoding", "content", "expected"),
    [
        (b"quoted-printable", b"Now's the time =\r\nfor all\r\n", b"Now's the time for all\r\n"),
        (b"Quoted-Printable", b"caf=E9 \t\r\n=3D=\r\n", b"caf\xe9\r\n="),
        (b"quoted-printable", b"=ZZ= x", b"=ZZ= x"),
        (b"base64", b"aGVs\r\nbG8=\r\n", b"hello"),
        (b"BASE64", b"aGVsbG8", b"hello"),
        (b"base64", b"aGV\x00s*bG8=", b"hello"),
        (b"base64", b"a", b""),
        (b"8bit", b"\xff\r\n", b"\xff\r\n"),
        (b"binary", b"\0\r", b"\0\r"),
        (b"", b"x", b"x"),
        (b"7bit (comment)", b"x", b"x"),
    ],
)
def test_encodings_undone(encoding: bytes, content: bytes, expected: bytes) -> None:
    message = b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + content
    assert bytes(find_binary(message, (1,)) or b"") == expected


@pytest.mark.rfc("3516", "4.3")
def test_an_unknown_encoding_is_told() -> None:
    with pytest.raises(UnknownEncodingError):
        find_binary(b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin", (1,))


def test_select_fields_keeps_the_bytes() -> None:
    header = b"To: a\r\nSUBJECT : one\r\n two\r\n\tthree\r\nsubject: four\nX-To: b\r\n"
    assert select_fields(header, [b"SUBJECT"]) == b"SUBJECT : one\r\n two\r\n\tthree\r\nsubject: four\n\r\n"
    assert select_fields(header, []) == b"\r\n"
    assert select_fields(header, [], negate=True) == header + b"\r\n"
    assert select_fields(b"To: unfinished", [b"TO"]) == b"To: unfinished\r\n\r\n"
    assert select_fields(b"no field\r\nTo: a\r\n", [b"TO"], negate=True) == b"no field\r\n\r\n"
    assert select_fields(b"a.c: 1\r\nabc: 2\r\n", [b"A.C"]) == b"a.c: 1\r\n\r\n"


def test_where_headers_end() -> None:
    for message, length in {
        b"": 0,
        b"\r\nbody": 2,
        b"\nbody": 1,
        b"A: b\r\n\r\nbody": 8,
        b"A: b\n\nbody\r\n\r\n": 6,
        b"A: b\r\n\nbody": 7,
        b"A: b\n\r\nbody": 7,
        b"A: b\r\n \r\nC: d": 13,
        b"A: b\r\r\n": 7,
    }.items():
        assert header_length(message) == length, message
    assert header_length(MESSAGE, MESSAGE.index(b"Subject: inner")) == len(section(3, kind=Kind.HEADER) or b"")


def test_the_names_of_fields() -> None:
    assert field_name(b"Subject \t: x") == b"SUBJECT"
    assert field_name(b"Subject") == b""
    assert all(name == name.upper() for name in COMMON_FIELDS)
