"""A strict reader of IMAP's parenthesised lists, for what the MIME code writes (RFC 9051 section 9).

Strings are bytes, numbers int, NIL None, lists lists. Anything that the grammar does not allow fails a test.
"""

from __future__ import annotations

import re
from typing import TypeAlias

Value: TypeAlias = "bytes | int | list[Value] | None"

_quoted = re.compile(rb'"((?:[^"\\\x00\r\n\x80-\xff]|\\["\\])*)"').match
_literal = re.compile(rb"\{(\d+)\}\r\n").match
_number = re.compile(rb"\d+").match
_escape = re.compile(rb"\\(.)")


def read_list(text: bytes) -> Value:
    """The one value that `text` is."""
    value, end = _read(text, 0)
    assert end == len(text), f"{text[end : end + 40]!r} is left over"
    return value


def _read(text: bytes, at: int) -> tuple[Value, int]:
    if text[at : at + 1] == b"(":
        return _read_items(text, at + 1)
    if text[at : at + 3] == b"NIL":
        return None, at + 3
    if match := _quoted(text, at):
        return _escape.sub(rb"\1", match[1]), match.end()
    if match := _literal(text, at):
        end = match.end() + int(match[1])
        content = text[match.end() : end]
        assert len(content) == int(match[1])
        assert b"\0" not in content
        return content, end
    match = _number(text, at)
    assert match, f"no value at {text[at : at + 40]!r}"
    return int(match[0]), match.end()


def _read_items(text: bytes, at: int) -> tuple[Value, int]:
    """Items with one blank between them; lists may follow lists without one."""
    items: list[Value] = []
    while True:
        value, at = _read(text, at)
        items.append(value)
        if text[at : at + 1] == b")":
            return items, at + 1
        if text[at : at + 1] == b" ":
            at += 1
        else:
            assert text[at : at + 1] == b"(", f"no blank at {text[at : at + 40]!r}"
            assert isinstance(value, list)


def check_envelope(value: Value) -> None:
    """`envelope`: four nstrings and six address lists."""
    assert isinstance(value, list)
    assert len(value) == 10
    for place in (0, 1, 8, 9):
        _check_nstring(value[place])
    for place in range(2, 8):
        addresses = value[place]
        if addresses is not None:
            assert isinstance(addresses, list)
            for address in addresses:
                assert isinstance(address, list)
                assert len(address) == 4
                for item in address:
                    _check_nstring(item)


def check_body(value: Value, *, extended: bool) -> None:
    """`body`, with all extension data or without any."""
    assert isinstance(value, list)
    if isinstance(value[0], list):
        _check_multipart(value, extended=extended)
    else:
        _check_part(value, extended=extended)


def _check_multipart(value: list[Value], *, extended: bool) -> None:
    parts = [item for item in value if isinstance(item, list)]
    count = next(place for place, item in enumerate(value) if not isinstance(item, list))
    for part in parts[:count]:
        check_body(part, extended=extended)
    _check_string(value[count])
    rest = value[count + 1 :]
    assert len(rest) == (4 if extended else 0)
    if extended:
        _check_parameters(rest[0])
        _check_place(rest[1:])


def _check_part(value: list[Value], *, extended: bool) -> None:
    main, sub = value[:2]
    _check_string(main)
    _check_string(sub)
    _check_parameters(value[2])
    _check_nstring(value[3])
    _check_nstring(value[4])
    _check_string(value[5])
    assert isinstance(value[6], int)
    place = 7
    if main == b"MESSAGE" and sub in (b"RFC822", b"GLOBAL"):
        check_envelope(value[7])
        check_body(value[8], extended=extended)
        assert isinstance(value[9], int)
        place = 10
    elif main == b"TEXT":
        assert isinstance(value[7], int)
        place = 8
    assert len(value) == place + (4 if extended else 0)
    if extended:
        _check_nstring(value[place])
        _check_place(value[place + 1 :])


def _check_place(values: list[Value]) -> None:
    disposition, language, location = values
    if disposition is not None:
        assert isinstance(disposition, list)
        kind, parameters = disposition
        _check_string(kind)
        _check_parameters(parameters)
    for tag in language if isinstance(language, list) else [language]:
        _check_nstring(tag)
    _check_nstring(location)


def _check_parameters(value: Value) -> None:
    if value is not None:
        assert isinstance(value, list)
        assert len(value) % 2 == 0
        for item in value:
            _check_string(item)


def _check_string(value: Value) -> None:
    assert isinstance(value, bytes)


def _check_nstring(value: Value) -> None:
    assert value is None or isinstance(value, bytes)
