"""BODYSTRUCTURE and BODY."""

from __future__ import annotations

import pytest

from services.common.mime.analysis import analyse
from services.common.mime.bodystructure import strip_extension
from services.common.mime.structure import MAX_LEVELS, MAX_PARTS, Part, parse


def crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


def structure_of(text: bytes) -> bytes:
    return analyse(crlf(text)).bodystructure


def body_of(text: bytes) -> bytes:
    return strip_extension(structure_of(text))


def count(part: Part) -> int:
    return 1 + sum(count(child) for child in part.children)


def levels(part: Part) -> int:
    deep = 1
    while part.children:
        part = part.children[0]
        deep += 1
    return deep


PLAIN = b'("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" %d %d NIL NIL NIL NIL)'


@pytest.mark.rfc("9051", "7.5.2")
def test_a_text_of_48_lines() -> None:
    """The RFC's example: 2279 octets in 48 lines of US-ASCII."""
    text = b"x" * (2279 - 48 * 2) + b"\r\n" * 48
    message = b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n" + text
    assert strip_extension(analyse(message).bodystructure) == (
        b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 2279 48)'
    )


@pytest.mark.rfc("9051", "7.5.2")
def test_a_text_with_a_base64_attachment() -> None:
    message = b"""\
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain; charset=us-ascii

some text
--x
Content-Type: text/plain; charset=us-ascii; name="cc.diff"
Content-ID: <960723163407.20117h@cac.washington.edu>
Content-Description: Compiler diff
Content-Transfer-Encoding: base64

c29tZSBkaWZm
--x--
"""
    assert body_of(message) == (
        b'(("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 9 0)'
        b'("TEXT" "PLAIN" ("CHARSET" "us-ascii" "NAME" "cc.diff")'
        b' "<960723163407.20117h@cac.washington.edu>" "Compiler diff" "BASE64" 12 0) "MIXED")'
    )


@pytest.mark.rfc("9051", "7.5.2")
def test_all_extension_data() -> None:
    message = b"""\
Content-Type: multipart/related; boundary=x; start="<a>"
Content-Language: en
Content-Location: http://example.org/

--x
Content-Type: image/png
Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==
Content-Disposition: inline; filename="a \\"b\\".png"; size=3
Content-Language: de, fr
Content-Location: a.png

abc
--x--
"""
    assert structure_of(message) == (
        b'(("IMAGE" "PNG" NIL NIL NIL "7BIT" 3 "Q2hlY2sgSW50ZWdyaXR5IQ=="'
        b' ("INLINE" ("FILENAME" "a \\"b\\".png" "SIZE" "3")) ("de" "fr") "a.png")'
        b' "RELATED" ("BOUNDARY" "x" "START" "<a>") NIL "en" "http://example.org/")'
    )
    assert body_of(message) == b'(("IMAGE" "PNG" NIL NIL NIL "7BIT" 3) "RELATED")'


@pytest.mark.rfc("9051", "7.5.2")
@pytest.mark.parametrize("subtype", [b"rfc822", b"GLOBAL"])
def test_a_message_inside(subtype: bytes) -> None:
    message = b"Content-Type: message/%b\n\nSubject: in\nFrom: a@x\n\ntext\n" % subtype
    author = b'((NIL NIL "a" "x"))'
    inner = b'(NIL "in" ' + b" ".join([author] * 3) + b" NIL NIL NIL NIL NIL) " + PLAIN % (6, 1)
    head = b'("MESSAGE" "%b" NIL NIL NIL "7BIT" 32 ' % subtype.upper()
    assert structure_of(message) == head + inner + b" 4 NIL NIL NIL NIL)"
    short = b'("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 6 1)'
    assert body_of(message) == head + inner.replace(PLAIN % (6, 1), short) + b" 4)"


@pytest.mark.rfc("2045", "5.2")
def test_what_says_nothing_is_plain_text() -> None:
    assert structure_of(b"") == PLAIN % (0, 0)
    assert structure_of(b"Subject: x\n\nabc\n") == PLAIN % (5, 1)
    for kind in (b"", b"text", b"/plain", b"a b/c", b"multipart/mixed", b'multipart/mixed; boundary=""'):
        assert structure_of(b"Content-Type: " + kind + b"\n\nabc\n") == PLAIN % (5, 1)


@pytest.mark.rfc("2046", "4.1.2")
def test_plain_text_without_charset_is_ascii_and_other_text_says_nothing() -> None:
    assert b'("FORMAT" "flowed" "CHARSET" "us-ascii")' in structure_of(b"Content-Type: text/plain; format=flowed\n\n")
    assert structure_of(b"Content-Type: text/html\n\n").startswith(b'("TEXT" "HTML" NIL ')


@pytest.mark.rfc("2046", "5.1.5")
def test_a_digest_holds_messages() -> None:
    message = (
        b"Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: a\n\none\n"
        b"--x\nContent-Type: text/plain\n\ntwo\n--x--\n"
    )
    text = body_of(message)
    assert text.startswith(b'(("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 17 (NIL "a" ')
    assert text.endswith(b'("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 3 0) "DIGEST")')


@pytest.mark.rfc("2045", "5.1")
def test_comments_and_quotes_in_a_type() -> None:
    forms = (
        b'text/plain; charset="us-ascii"',
        b"text/plain; charset=us-ascii (Plain text)",
        b"(a)TEXT(b)/(c)plain (d (e)) ;\n charset = us-ascii",
    )
    assert len({structure_of(b"Content-Type: " + form + b"\n\nx") for form in forms}) == 1


@pytest.mark.rfc("2231", "3")
@pytest.mark.rfc("2231", "4.1")
def test_continued_parameters_are_joined() -> None:
    start = b"Content-Type: message/external-body; access-type=URL;\n "
    joined = structure_of(start + b'URL*0="ftp://";\n URL*1="cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"\n\n')
    assert b'"URL" "ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"' in joined
    title = (
        b"Content-Type: application/x-stuff\n    title*0*=us-ascii'en'This%20is%20even%20more%20;\n"
        b'    title*1*=%2A%2A%2Afun%2A%2A%2A%20;\n    title*2="isn\'t it!"\n\n'
    ).replace(b"x-stuff\n", b"x-stuff;\n")
    value = b"us-ascii'en'This%20is%20even%20more%20%2A%2A%2Afun%2A%2A%2A%20isn%27t%20it!"
    assert b'("TITLE*" "' + value + b'")' in structure_of(title)
    single = structure_of(b"Content-Type: a/b; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A\n\n")
    assert b'("TITLE*" "us-ascii\'en-us\'This%20is%20%2A%2A%2Afun%2A%2A%2A")' in single


def test_pieces_of_a_parameter_in_any_order() -> None:
    text = structure_of(b"Content-Type: a/b; n*1=two; other=x; n*0=one\n\n")
    assert b'("N" "onetwo" "OTHER" "x")' in text


def test_eight_bit_parameters_are_literals() -> None:
    assert b"{1}\r\n\xe4" in structure_of(b"Content-Type: a/b; name=\xe4\n\n")


def test_multiparts_without_parts_have_an_empty_one() -> None:
    assert body_of(b"Content-Type: multipart/mixed; boundary=x\n\nnothing\n") == (
        b'(("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 0 0) "MIXED")'
    )


@pytest.mark.rfc("2046", "5.1.1")
@pytest.mark.parametrize(
    ("body", "sizes"),
    [
        (b"preamble\n--x\n\none\n--x\n\ntwo\n\n--x--\nepilogue\n", [3, 5]),
        (b"--x\n\none\n--x \t\n\ntwo", [3, 3]),
        (b"--x\n\none\n--xtra\n\ntwo\n--x--", [3, 3]),
        (b"--x\n\none\n--x--\n--x\n\ntwo\n", [3]),
        (b"--x\n--x\n\n--x--\n", [0, 0]),
        (b"--x\n\none\n -- x\n--y\n\ntwo\n--x--\n", [22]),
    ],
)
def test_delimiters(body: bytes, sizes: list[int]) -> None:
    """The line break before a delimiter is its own; text after it is let pass."""
    message = crlf(b"Content-Type: multipart/mixed; boundary=x\n\n" + body)
    assert [child.end - child.body for child in parse(message).children] == sizes


@pytest.mark.rfc("2046", "5.1.2")
def test_an_outer_delimiter_ends_all_inside() -> None:
    message = crlf(
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\n"
        b"Content-Type: multipart/mixed; boundary=y\n\n--y\n\none\n--x\n\ntwo\n--y--\n--x--\n"
    )
    outer = parse(message)
    assert [child.type.maintype for child in outer.children] == [b"MULTIPART", b"TEXT"]
    assert message[outer.children[1].body : outer.children[1].end] == b"two\r\n--y--"


def test_too_deep_is_opaque() -> None:
    level = b"Content-Type: multipart/mixed; boundary=%04d\r\n\r\n--%04d\r\n"
    message = b"".join(level % (number, number) for number in range(100))
    assert levels(parse(message)) == MAX_LEVELS + 1
    assert b'("APPLICATION" "OCTET-STREAM" ' in analyse(message).bodystructure
    nested = b"Content-Type: message/rfc822\r\n\r\n" * 100
    assert levels(parse(nested)) == MAX_LEVELS + 1
    assert strip_extension(analyse(nested).bodystructure).count(b'"MESSAGE" "RFC822"') == MAX_LEVELS


def test_too_many_parts_are_one() -> None:
    message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\nabc\r\n" * (MAX_PARTS + 500)
    root = parse(message)
    assert count(root) == MAX_PARTS
    assert root.children[-1].end == len(message)
    assert root.children[-1].end - root.children[-1].body > 500 * 10


def test_fields_far_down_are_not_looked_at() -> None:
    message = b"X: y\r\n" * 200_000 + b"Content-Type: text/html\r\n\r\nbody\r\n"
    analysis = analyse(message)
    assert analysis.bodystructure == PLAIN % (6, 1)
    assert analysis.header_size == len(message) - 6


def test_bare_lf_lines_count_too() -> None:
    message = b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\ntwo\n--x--\n"
    assert strip_extension(analyse(message).bodystructure) == (
        b'(("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 7 1) "MIXED")'
    )
