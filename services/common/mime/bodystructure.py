"""BODYSTRUCTURE as ready IMAP text, and BODY made from it (RFC 9051 section 7.5.2)."""

from __future__ import annotations

import re
from typing import Final

from services.common.mime.contenttype import ContentType, Parameters, disposition, encoding, languages
from services.common.mime.envelope import envelope
from services.common.mime.headers import unfold
from services.common.mime.nstring import NIL, nstring, string
from services.common.mime.structure import Part

_token = re.compile(rb'[()]|"[^"\\]*+(?:\\.[^"\\]*+)*+"|\{(\d++)\}\r\n|[^ ()"{]++|[ ]', re.DOTALL).match
_NESTED: Final = (b'"MESSAGE" "RFC822"', b'"MESSAGE" "GLOBAL"')


def bodystructure(message: bytes, part: Part) -> bytes:
    """A part with all below it, extension data included."""
    if part.is_multipart:
        children = b"".join([bodystructure(message, child) for child in part.children])
        kind = part.type
        return b"(%b %b %b %b)" % (children, string(kind.subtype), _parameters(kind.parameters), _place(part))
    return b"(%b%b %b %b)" % (_basic(part), _extra(message, part), _field(part, b"CONTENT-MD5"), _place(part))


def _basic(part: Part) -> bytes:
    """`body-fields` with the media type before them."""
    fields = part.fields
    return b"%b %b %b %b %d" % (
        _type(part.type),
        nstring(_value(fields.get(b"CONTENT-ID"))),
        nstring(_value(fields.get(b"CONTENT-DESCRIPTION"))),
        string(encoding(fields.get(b"CONTENT-TRANSFER-ENCODING"))),
        part.end - part.body,
    )


def _type(kind: ContentType) -> bytes:
    return b"%b %b %b" % (string(kind.maintype), string(kind.subtype), _parameters(kind.parameters))


def _extra(message: bytes, part: Part) -> bytes:
    """What text and messages say beyond: lines, and a message's envelope and structure."""
    if part.is_message:
        inner = part.children[0]
        lines = message.count(b"\n", part.body, part.end)
        return b" %b %b %d" % (envelope(inner.fields), bodystructure(message, inner), lines)
    if part.type.maintype == b"TEXT":
        return b" %d" % message.count(b"\n", part.body, part.end)
    return b""


def _place(part: Part) -> bytes:
    """Disposition, language and location, the end of both kinds of extension data."""
    fields = part.fields
    if not (b"CONTENT-DISPOSITION" in fields or b"CONTENT-LANGUAGE" in fields or b"CONTENT-LOCATION" in fields):
        return b"NIL NIL NIL"
    return b"%b %b %b" % (
        _disposition(fields.get(b"CONTENT-DISPOSITION")),
        _languages(fields.get(b"CONTENT-LANGUAGE")),
        _field(part, b"CONTENT-LOCATION"),
    )


def _disposition(value: bytes | None) -> bytes:
    read = disposition(value) if value is not None else None
    return b"(%b %b)" % (string(read.value), _parameters(read.parameters)) if read else NIL


def _languages(value: bytes | None) -> bytes:
    tags = [string(tag) for tag in languages(value)] if value is not None else []
    if len(tags) > 1:
        return b"(%b)" % b" ".join(tags)
    return tags[0] if tags else NIL


def _parameters(parameters: Parameters) -> bytes:
    if not parameters:
        return NIL
    return b"(%b)" % b" ".join([b"%b %b" % (string(name), string(value)) for name, value in parameters])


def _field(part: Part, name: bytes) -> bytes:
    return nstring(_value(part.fields.get(name)))


def _value(value: bytes | None) -> bytes | None:
    return None if value is None else unfold(value)


class _Node:
    """A parenthesised list, or an atom or string, at [start, end) of a BODYSTRUCTURE's text."""

    __slots__ = ("end", "items", "start")

    def __init__(self, start: int, end: int = 0) -> None:
        self.start = start
        self.end = end
        self.items: list[_Node] = []


# What BODY keeps of a part that is no multipart: media type and subtype, parameters, id, description, encoding and
# size; then lines for text; or envelope, structure and lines for a message.
_BASIC_ITEMS: Final = 7
_TEXT_ITEMS: Final = 8
_STRUCTURE_PLACE: Final = 8


def strip_extension(text: bytes) -> bytes:
    """BODY, the form without extension data, of a BODYSTRUCTURE that this module made."""
    return _without_extension(text, _tree(text))


def _tree(text: bytes) -> _Node:
    top = _Node(0)
    chain = [top]
    position = 0
    while match := _token(text, position):
        start, position = match.span()
        if text[start] == 0x28:
            node = _Node(start)
            chain[-1].items.append(node)
            chain.append(node)
        elif text[start] == 0x29:
            chain.pop().end = position
        elif text[start] != 0x20:
            position += int(match[1] or 0)
            chain[-1].items.append(_Node(start, position))
    return top.items[0]


def _without_extension(text: bytes, node: _Node) -> bytes:
    items = node.items
    if items[0].items:
        place = next(place for place, item in enumerate(items) if not item.items)
        children = b"".join([_without_extension(text, item) for item in items[:place]])
        return b"(%b %b)" % (children, text[items[place].start : items[place].end])
    kind = text[items[0].start : items[1].end]
    if kind in _NESTED:
        inner, lines = items[_STRUCTURE_PLACE : _STRUCTURE_PLACE + 2]
        head = text[node.start : inner.start]
        return b"%b%b %b)" % (head, _without_extension(text, inner), text[lines.start : lines.end])
    last = items[(_TEXT_ITEMS if kind.startswith(b'"TEXT" ') else _BASIC_ITEMS) - 1]
    return text[node.start : last.end] + b")"
