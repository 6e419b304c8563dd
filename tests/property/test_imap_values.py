"""Mailbox names, sequence sets, strings and patterns: out and in again."""

from __future__ import annotations

import re
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.mailboxnames import InvalidName, canonical, decode_utf7, encode_utf7
from services.imap import replies
from services.imap.commands.sequence import SAVED, STAR, SequenceSet
from services.imap.patterns import matcher
from services.imap.wire.lexer import BadSyntax, Lexer
from services.imap.wire.mailboxname import decode_name, encode_name
from services.imap.wire.sequence import format_numbers, format_set, parse_set

_names = st.text(min_size=1).filter(lambda name: "\0" not in name).map(canonical)
_ends = st.integers(1, (1 << 32) - 1) | st.just(STAR)
_sets = st.lists(st.tuples(_ends, _ends).map(lambda pair: (min(pair), max(pair))), min_size=1).map(
    lambda ranges: SequenceSet(tuple(ranges))
)


@pytest.mark.rfc("3501", "5.1.3")
@given(st.text())
def test_any_name_survives_modified_utf7(name: str) -> None:
    encoded = encode_utf7(name)
    assert encoded.isascii()
    assert all(" " <= character <= "~" for character in encoded)
    assert decode_utf7(encoded) == name


@given(st.text("&-+,/aA0Zé台=%"))
def test_modified_utf7_has_one_spelling(text: str) -> None:
    try:
        decoded = decode_utf7(text)
    except InvalidName:
        return
    assert encode_utf7(decoded) == text


@pytest.mark.rfc("9051", "5.1")
@given(_names, st.booleans())
def test_a_mailbox_name_is_read_as_it_was_written(name: str, utf8: bool) -> None:
    written = replies.mailbox(name, utf8=utf8)
    encoded = encode_name(name, utf8=utf8)
    assert decode_name(encoded, utf8=utf8) == name
    if not written.startswith(b"{"):
        assert Lexer(written, utf8=utf8).astring() == encoded


@given(_names)
def test_names_have_one_form(name: str) -> None:
    assert canonical(name) == name
    assert canonical(normalize("NFD", name)) == name or normalize("NFC", name) != name


@given(_sets)
def test_a_set_is_read_as_it_was_written(sequence_set: SequenceSet) -> None:
    assert parse_set(format_set(sequence_set)) == sequence_set
    assert parse_set(format_set(SAVED)) == SAVED


@given(st.binary(max_size=20) | st.text("0123456789:,*$", max_size=20).map(str.encode))
def test_any_bytes_are_a_set_or_not(text: bytes) -> None:
    try:
        parsed = parse_set(text)
    except BadSyntax:
        return
    assert parse_set(format_set(parsed)) == parsed


@given(st.lists(st.integers(1, 50)))
def test_numbers_keep_their_order(numbers: list[int]) -> None:
    written = format_numbers(numbers)
    spelled: list[int] = []
    for part in filter(None, written.split(b",")):
        first, _, last = part.partition(b":")
        spelled += range(int(first), int(last or first) + 1)
    assert spelled == numbers


@given(st.text("ab/%*I", max_size=12), st.text("ab/I", min_size=1, max_size=12))
def test_patterns_match_what_a_regular_expression_would(pattern: str, name: str) -> None:
    expression = "".join({"*": ".*", "%": "[^/]*"}.get(character, character) for character in pattern)
    assert matcher("", pattern)(name) == (re.fullmatch(expression, name) is not None)


@pytest.mark.rfc("9051", "4.3")
@given(st.text('a"\\ {}').map(str.encode), st.booleans())
def test_a_string_is_read_as_it_was_written(data: bytes, utf8: bool) -> None:
    assert Lexer(replies.string(data), utf8=utf8).string() == data
