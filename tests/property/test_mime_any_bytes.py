"""Whatever bytes a message is made of: nothing raises, offsets fit, and what is written for IMAP is IMAP."""

from __future__ import annotations

import re
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.mime.analysis import Analysis, analyse
from services.common.mime.bodystructure import strip_extension
from services.common.mime.dates import sent_date
from services.common.mime.encodedword import decode_header
from services.common.mime.headers import COMMON_FIELDS, header_length, select_fields
from services.common.mime.preview import PREVIEW_LENGTH
from services.common.mime.section import Kind, UnknownEncodingError, find, find_binary
from services.common.mime.structure import Part, locate, parse
from services.common.mime.text import SearchText, fold, search_text
from services.common.samplemail import sample_mails
from tests.support.awkward import Awkward, awkward_messages
from tests.support.imaplist import check_body, check_envelope, read_list

PIECES = (
    *(bytes((octet,)) for octet in b'\0\r\n \t.:;,"\\()<>@\xff'),
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"--b",
        b"--bb",
        b"--b--",
        b"--",
        b"=\r\n",
        "\xfc".encode(),
        b"=?utf-8?q?=E4?=",
        b"=?utf-8?b?4p?=",
    ),
    *(
        b"a@b.example",
        b"Name <a@b.example>",
        b"From: ",
        b"To: ",
        b"Subject: ",
        b"Message-ID: <a@b>\r\n",
        b"Content-Type: ",
    ),
    *(b"Date: Mon, 3 Feb 2025 10:11:12 +0100\r\n", b"Content-ID: <c>\r\n", b"Content-Language: en, de\r\n"),
    *(b"multipart/mixed; boundary=b\r\n\r\n--b\r\n", b"multipart/digest; boundary=bb\r\n\r\n--bb\r\n"),
    *(b"message/rfc822\r\n\r\n", b"text/html; charset=utf-7\r\n\r\n", b"text/plain; x*0=a; x*1*=%20b"),
    *(b"<p>", b"<script>", b"<!--", b"&#xD800;", b"Content-Disposition: attachment; filename=a\r\n"),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n"),
)
MESSAGES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=60).map(b"".join),
)


def check(message: bytes) -> None:
    """All that must hold for any message."""
    analysis = analyse(message)
    check_written(analysis)
    assert 0 <= analysis.header_size <= len(message)
    assert len(analysis.preview) <= PREVIEW_LENGTH
    analysis.preview.encode()
    check_texts(search_text(message))
    root = parse(message)
    check_offsets(root, len(message))
    check_sections(message, (), root)


def check_written(analysis: Analysis) -> None:
    """The stored texts are legal IMAP, and BODY is BODYSTRUCTURE without the end."""
    check_envelope(read_list(analysis.envelope))
    check_body(read_list(analysis.bodystructure), extended=True)
    check_body(read_list(strip_extension(analysis.bodystructure)), extended=False)
    if analysis.headers:
        assert analysis.headers.endswith(b"\n")
        assert select_fields(analysis.headers, COMMON_FIELDS) == analysis.headers + b"\r\n"


def check_texts(text: SearchText) -> None:
    """Texts can be stored by any engine and are folded."""
    for name in SearchText.__slots__:
        value = getattr(text, name)
        value.encode()
        assert "\0" not in value


def check_offsets(part: Part, limit: int) -> None:
    """A part lies within its parent, its children in order."""
    assert 0 <= part.start <= part.body <= part.end <= limit
    position = part.body
    for child in part.children:
        assert child.start >= position
        check_offsets(child, part.end)
        position = child.end


def check_sections(message: bytes, path: tuple[int, ...], part: Part) -> None:
    """Header and text put together are the message; a part that is found early is the part found late."""
    header = find(message, path, Kind.HEADER)
    if not path or part.is_message:
        whole = find(message, path)
        text = find(message, path, Kind.TEXT)
        assert whole is not None
        assert header is not None
        assert text is not None
        assert bytes(header) + bytes(text) == bytes(whole)
    else:
        assert header is None
        assert bytes(find(message, path) or b"") == message[part.body : part.end]
        assert bytes(find(message, path, Kind.MIME) or b"") == message[part.start : part.body]
    try:
        assert find_binary(message, path) is not None
    except UnknownEncodingError:
        assert not part.children
    for number in (1, 2, 3):
        child = locate(parse(message), (*path, number))
        if child is None:
            assert find(message, (*path, number)) is None
        elif len(path) < 3:
            check_sections(message, (*path, number), child)


@given(MESSAGES)
@settings(max_examples=250, deadline=None)
def test_any_bytes_are_a_message(message: bytes) -> None:
    check(message)


@pytest.mark.parametrize("kind", list(awkward_messages(400)), ids=lambda kind: kind.name)
def test_awkward_messages_are_read(kind: Awkward) -> None:
    message = kind.body
    check_written(analyse(message))
    check_offsets(parse(message), len(message))
    if len(message) < 100_000:
        check(message)


def test_sample_mails_are_read() -> None:
    for message in islice(sample_mails(3), 60):
        check(message)
        envelope = read_list(analyse(message).envelope)
        assert isinstance(envelope, list)
        assert all(envelope[place] for place in (0, 1, 2, 3, 4, 5, 9))


@given(MESSAGES, st.lists(st.sampled_from([b"FROM", b"SUBJECT", b"X-A", b"CONTENT-TYPE"]), max_size=3))
@settings(deadline=None)
def test_fields_are_selected_or_not(message: bytes, names: list[bytes]) -> None:
    """Each field is in HEADER.FIELDS or in HEADER.FIELDS.NOT, byte for byte."""
    header = message[: header_length(message)]
    chosen = select_fields(header, names)
    others = select_fields(header, names, negate=True)
    assert chosen.endswith(b"\r\n")
    assert others.endswith(b"\r\n")
    fields = re.sub(rb"\r?\n\Z", b"", header) if re.search(rb"(?:\A|\n)\r?\n\Z", header) else header
    expected = len(fields) + (2 if fields and not fields.endswith(b"\n") else 0)
    assert len(chosen) + len(others) - 4 == expected


@given(MESSAGES, st.integers(0, 40))
@settings(deadline=None)
def test_many_names_select_like_few(message: bytes, more: int) -> None:
    names = [b"FROM", b"SUBJECT", *(b"X-%d" % number for number in range(more))]
    assert select_fields(message, names) == select_fields(message, names[:2])


@given(st.text())
def test_folding_is_done_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(MESSAGES)
def test_any_header_value_decodes(value: bytes) -> None:
    decode_header(value).encode()
    assert isinstance(sent_date(value), int)
