"""FETCH's attributes (RFC 9051 sections 6.4.5 and 9: `fetch-att`, `section`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from services.imap.commands.fetch import (
    Attribute,
    Attributes,
    Binary,
    BinarySize,
    Fetch,
    Item,
    Partial,
    Section,
    SectionText,
)
from services.imap.wire.cache import Cache
from services.imap.wire.lexer import OPEN, BadSyntax, Lexer
from services.imap.wire.sequence import parse_set, read_set

MAX_ATTRIBUTES: Final = 256
MAX_FIELDS: Final = 256
MAX_PART_DEPTH: Final = 128
_MAX_KEPT: Final = 512

_NAME: Final = re.compile(rb"[A-Za-z0-9.]+")
_FIELD_NAME: Final = re.compile(rb"[!-9;-~]+")
_NEEDS_QUOTES: Final = re.compile(rb'[(){%*"\\\]]')
_PART: Final = re.compile(rb"[1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,8})*")
_OPEN_BRACKET: Final = 0x5B
_CLOSE_BRACKET: Final = 0x5D

_FAST: Final = (Item.FLAGS, Item.INTERNALDATE, Item.SIZE)
MACROS: Final[dict[bytes, tuple[Attribute, ...]]] = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, Item.ENVELOPE),
    b"FULL": (*_FAST, Item.ENVELOPE, Item.BODY),
}
"""RFC 9051 section 6.4.5: what a macro, which must stand alone, is short for."""

WHOLE: Final[dict[bytes, Attribute]] = {
    b"UID": Item.UID,
    b"FLAGS": Item.FLAGS,
    b"INTERNALDATE": Item.INTERNALDATE,
    b"RFC822.SIZE": Item.SIZE,
    b"ENVELOPE": Item.ENVELOPE,
    b"BODYSTRUCTURE": Item.BODYSTRUCTURE,
    b"BODY": Item.BODY,
    b"RFC822": Section(b"RFC822"),
    b"RFC822.HEADER": Section(b"RFC822.HEADER", text=SectionText.HEADER, peek=True),
    b"RFC822.TEXT": Section(b"RFC822.TEXT", text=SectionText.TEXT),
}
"""Attributes without a section; the RFC822 ones are RFC 3501 section 6.4.5."""

_known: Final[Cache[bytes, Attributes]] = Cache(2048)


def parse_fetch(lexer: Lexer, *, uid: bool = False) -> Fetch:
    """`fetch`, after its name."""
    lexer.space()
    messages = read_set(lexer)
    lexer.space()
    start = lexer.position
    attributes = read_attributes(lexer)
    lexer.end()
    if lexer.plain and len(lexer.text) - start <= _MAX_KEPT:
        _known.keep(lexer.text[start:], attributes)
    return Fetch(messages, attributes, uid)


def quick_fetch(arguments: bytes) -> Fetch | None:
    """The same for a line whose attributes were seen before; None for any other."""
    text, _, rest = arguments.partition(b" ")
    attributes = _known.get(rest)
    return None if attributes is None else Fetch(parse_set(text), attributes)


def quick_uid_fetch(arguments: bytes) -> Fetch | None:
    """As `quick_fetch`, for UID FETCH."""
    text, _, rest = arguments.partition(b" ")
    attributes = _known.get(rest)
    return None if attributes is None else Fetch(parse_set(text), attributes, True)


def read_attributes(lexer: Lexer) -> Attributes:
    """A macro, one attribute, or a list of them."""
    if lexer.peek() == OPEN:
        return _attributes(lexer.parenthesised(_attribute, at_most=MAX_ATTRIBUTES))
    match = _NAME.match(lexer.text, lexer.position)
    macro = MACROS.get(match.group().upper()) if match else None
    if match is None or macro is None:
        return _attributes((_attribute(lexer),))
    lexer.position = match.end()
    return _attributes(macro)


def _attributes(items: tuple[Attribute, ...]) -> Attributes:
    items = tuple(dict.fromkeys(items))
    return Attributes(
        items,
        key=b" ".join([_key(item) for item in items]),
        sets_seen=any(isinstance(item, (Section, Binary)) and not item.peek for item in items),
    )


def _key(item: Attribute) -> bytes:
    if isinstance(item, Item):
        return item.value
    if isinstance(item, BinarySize):
        return item.label
    partial = b"" if item.partial is None else b".%d" % item.partial.length
    return item.label + partial + (b"-" if item.peek else b"+")


def _attribute(lexer: Lexer) -> Attribute:
    name = lexer.pattern(_NAME, "Expected a FETCH attribute").group().upper()
    sectioned = SECTIONED.get(name)
    if sectioned is not None and lexer.peek() == _OPEN_BRACKET:
        return sectioned(lexer)
    whole = WHOLE.get(name)
    if whole is None:
        raise BadSyntax("Unknown FETCH attribute")
    return whole


def _body(lexer: Lexer, *, peek: bool = False) -> Section:
    lexer.take(b"[")
    part = _part(lexer)
    text, sent = SectionText.ALL, tuple[bytes, ...]()
    if lexer.peek() != _CLOSE_BRACKET:
        if part:
            lexer.take(b".")
        text = _section_text(lexer, part)
        sent = _fields(lexer, text)
    lexer.take(b"]")
    partial = _partial(lexer)
    fields = tuple(dict.fromkeys([name.lower() for name in sent]))
    return Section(_label(b"BODY", _spelled(part, text, sent), partial), part, text, fields, partial, peek)


def _body_peek(lexer: Lexer) -> Section:
    return _body(lexer, peek=True)


def _binary(lexer: Lexer, *, peek: bool = False) -> Binary:
    part = _binary_part(lexer)
    partial = _partial(lexer)
    return Binary(_label(b"BINARY", _dotted(part), partial), part, partial, peek)


def _binary_peek(lexer: Lexer) -> Binary:
    return _binary(lexer, peek=True)


def _binary_size(lexer: Lexer) -> BinarySize:
    part = _binary_part(lexer)
    return BinarySize(_label(b"BINARY.SIZE", _dotted(part), None), part)


SECTIONED: Final[dict[bytes, Callable[[Lexer], Attribute]]] = {
    b"BODY": _body,
    b"BODY.PEEK": _body_peek,
    b"BINARY": _binary,
    b"BINARY.PEEK": _binary_peek,
    b"BINARY.SIZE": _binary_size,
}
"""Attributes that are followed by a section in brackets."""

_TEXTS: Final = {text.value: text for text in SectionText if text.value}


def _section_text(lexer: Lexer, part: tuple[int, ...]) -> SectionText:
    text = _TEXTS.get(lexer.pattern(_NAME, "Expected a section").group().upper())
    if text is None or (text is SectionText.MIME and not part):
        raise BadSyntax("Unknown section")
    return text


def _fields(lexer: Lexer, text: SectionText) -> tuple[bytes, ...]:
    """`header-list`, where the section has one."""
    if text not in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
        return ()
    lexer.space()
    return lexer.parenthesised(_field_name, at_most=MAX_FIELDS)


def _part(lexer: Lexer) -> tuple[int, ...]:
    """`section-part`, () where there is none; the dot before a `section-text` is left."""
    match = _PART.match(lexer.text, lexer.position)
    if match is None:
        return ()
    lexer.position = match.end()
    numbers = match.group().split(b".")
    if len(numbers) > MAX_PART_DEPTH:
        raise BadSyntax("The section path is too long", "LIMIT", "NO")
    return tuple([int(number) for number in numbers])


def _binary_part(lexer: Lexer) -> tuple[int, ...]:
    lexer.take(b"[")
    part = _part(lexer)
    lexer.take(b"]")
    return part


def _partial(lexer: Lexer) -> Partial | None:
    if not lexer.skip(b"<"):
        return None
    offset = lexer.number64()
    lexer.take(b".")
    length = lexer.nz_number64()
    lexer.take(b">")
    return Partial(offset, length)


def _field_name(lexer: Lexer) -> bytes:
    """`header-fld-name`: what RFC 5322 section 2.2 allows as one, so that it can be sent back."""
    name = lexer.astring()
    if _FIELD_NAME.fullmatch(name) is None:
        raise BadSyntax("Not a header field name")
    return name


def _astring(name: bytes) -> bytes:
    if _NEEDS_QUOTES.search(name) is None:
        return name
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _spelled(part: tuple[int, ...], text: SectionText, fields: tuple[bytes, ...]) -> bytes:
    """`section-spec` as the answer has it: fields as they were sent."""
    path = b".".join([_dotted(part), text.value]) if part and text.value else _dotted(part) + text.value
    return b"%b (%b)" % (path, b" ".join([_astring(name) for name in fields])) if fields else path


def _dotted(part: tuple[int, ...]) -> bytes:
    return b".".join([b"%d" % number for number in part])


def _label(name: bytes, section: bytes, partial: Partial | None) -> bytes:
    origin = b"" if partial is None else b"<%d>" % partial.offset
    return b"%b[%b]%b" % (name, section, origin)
