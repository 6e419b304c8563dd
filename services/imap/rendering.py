"""FETCH answers, made column-wise.

A list of attributes becomes a `Plan` once: one template for a message (`* %d FETCH (UID %d FLAGS (%b))`) and, for each
gap in it, a function that gives the values of a whole chunk. The template times the number of messages is then filled
by one formatting operation, so thousands of messages cost a few calls into C and not one of Python per message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any, Final, TypeAlias

from services.common.domain import Column
from services.common.mime import section
from services.common.mime.bodystructure import strip_extension
from services.common.mime.headers import COMMON_FIELDS, select_fields
from services.imap.chunk import Chunk
from services.imap.commands.fetch import Attribute, Attributes, Binary, BinarySize, Item, Partial, Section, SectionText
from services.imap.wire.cache import Cache
from services.imap.wire.dates import format_date_time

NO_COLUMNS: Final = Column(0)
Values: TypeAlias = Callable[[Chunk], Sequence[Any]]
Data: TypeAlias = bytes | memoryview
NIL: Final = b"NIL"
PLANS: Final = 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """One attribute of a plan: its text with gaps, what fills them, and what that needs.

    `weight` is about how many bytes it makes of a message, the message itself apart.
    """

    text: bytes
    values: tuple[Values, ...]
    columns: Column = NO_COLUMNS
    bodies: bool = False
    flags: bool = False
    weight: int = 16

    def render(self, chunk: Chunk) -> bytes:
        """The attribute of the chunk's only message."""
        return self.text % tuple([values(chunk)[0] for values in self.values])


@dataclass(frozen=True, slots=True)
class Plan:
    """How to answer one list of attributes.

    `sections`: how many of them are made of the message itself, so how often an answer may hold it; `texts`: columns of
    any length, as often as they are used.
    `flags`: the answer changes with flags. `whole`: it is the messages themselves, so that a large one can be sent
    piece by piece: `head` comes before it (with gaps for the message number, UID and length), then the message, `)`.
    """

    key: bytes
    uid: bool
    template: bytes
    values: tuple[Values, ...]
    columns: Column
    kinds: tuple[Column, ...]
    """`columns`, one by one."""
    pieces: tuple[Piece, ...]
    texts: tuple[Column, ...]
    sections: int
    bodies: bool
    flags: bool
    rows: int
    head: bytes = b""

    def size(self, chunk: Chunk) -> int:
        """About how many bytes the chunk's answer may have, at most, beside what is always small."""
        size = sum(map(len, chunk.bodies)) * self.sections
        for kind in self.texts:
            size += sum(map(len, chunk.values[kind]))
        return size

    def render(self, chunk: Chunk) -> bytes:
        """The untagged FETCH responses of the chunk's messages. Raises UnknownEncodingError."""
        text = self._filled(chunk)
        if chunk.undecodable:
            raise section.UnknownEncodingError
        return text

    def _filled(self, chunk: Chunk) -> bytes:
        count = len(chunk)
        if count == 1:
            return self.template % (chunk.places[0] + 1, *[values(chunk)[0] for values in self.values])
        width = len(self.values) + 1
        cells: list[Any] = [None] * (count * width)
        cells[0::width] = chunk.numbers
        for place, values in enumerate(self.values, 1):
            cells[place::width] = values(chunk)
        return (self.template * count) % tuple(cells)


_TEXTS: Final = frozenset({Column.ENVELOPE, Column.BODYSTRUCTURE, Column.HEADERS})
PIECE_BYTES: Final = 262_144
MAX_ROWS: Final = 8192

_plans: Final[Cache[tuple[bytes, bool], Plan]] = Cache(PLANS)


def plan_for(attributes: Attributes, *, uid: bool, flags: bool = False) -> Plan:
    """The plan of a FETCH; `uid`: UID is told whether asked for or not (RFC 9051 section 6.4.9), `flags`: FLAGS too."""
    key = attributes.key + (b"+" if flags else b"")
    plan = _plans.get((key, uid))
    if plan is None:
        plan = _compiled(key, uid, _items(attributes, uid, flags))
        _plans.keep((key, uid), plan)
    return plan


def _items(attributes: Attributes, uid: bool, flags: bool) -> list[Attribute]:
    items = list(attributes.items)
    if flags and Item.FLAGS not in items:
        items.insert(0, Item.FLAGS)
    if uid and Item.UID not in items:
        items.insert(0, Item.UID)
    return items


def _compiled(key: bytes, uid: bool, items: list[Attribute]) -> Plan:
    several = sum(not isinstance(item, Item) for item in items) > 1
    pieces = [_PIECES[item] if isinstance(item, Item) else _MAKERS[type(item)](item, several) for item in items]
    columns = NO_COLUMNS
    for piece in pieces:
        columns |= piece.columns
    sections = sum(piece.bodies for piece in pieces)
    if sections:
        columns |= Column.LOCATION
    weight = 24 + sum(piece.weight for piece in pieces)
    template = b"* %%d FETCH (%b)\r\n" % b" ".join([piece.text for piece in pieces])
    return Plan(
        key=key,
        uid=uid,
        template=template,
        values=tuple(values for piece in pieces for values in piece.values),
        columns=columns,
        kinds=tuple(columns),
        pieces=tuple(pieces),
        texts=tuple(piece.columns for piece in pieces if piece.columns in _TEXTS),
        sections=sections,
        bodies=sections > 0,
        flags=any(piece.flags for piece in pieces),
        rows=min(MAX_ROWS, PIECE_BYTES // weight),
        head=_head(items, template),
    )


def _head(items: list[Attribute], template: bytes) -> bytes:
    """The template up to the message, where nothing but UID and FLAGS comes before it and nothing after it."""
    *before, last = items
    whole = isinstance(last, Section) and last.text is SectionText.ALL and not last.part and last.partial is None
    if whole and all(item in (Item.UID, Item.FLAGS) for item in before):
        return template.removesuffix(b"%b)\r\n")
    return b""


# ---- attributes without arguments
def _internaldates(chunk: Chunk) -> list[bytes]:
    return list(map(format_date_time, chunk.values[Column.INTERNALDATE]))


def _bodies_without_extension(chunk: Chunk) -> list[bytes]:
    return list(map(strip_extension, chunk.values[Column.BODYSTRUCTURE]))


def _column(kind: Column) -> Values:
    return lambda chunk: chunk.values[kind]


_PIECES: Final[dict[Item, Piece]] = {
    Item.UID: Piece(b"UID %d", (lambda chunk: chunk.uids,)),
    Item.FLAGS: Piece(b"FLAGS (%b)", (lambda chunk: chunk.flag_texts,), flags=True),
    Item.MODSEQ: Piece(b"MODSEQ (%d)", (lambda chunk: chunk.modseqs,), flags=True),
    Item.INTERNALDATE: Piece(b"INTERNALDATE %b", (_internaldates,), Column.INTERNALDATE, weight=44),
    Item.SIZE: Piece(b"RFC822.SIZE %d", (_column(Column.SIZE),), Column.SIZE),
    Item.ENVELOPE: Piece(b"ENVELOPE %b", (_column(Column.ENVELOPE),), Column.ENVELOPE, weight=480),
    Item.BODYSTRUCTURE: Piece(b"BODYSTRUCTURE %b", (_column(Column.BODYSTRUCTURE),), Column.BODYSTRUCTURE, weight=480),
    Item.BODY: Piece(b"BODY %b", (_bodies_without_extension,), Column.BODYSTRUCTURE, weight=360),
}


# ---- sections
def text_literal(data: bytes | memoryview) -> bytes:
    """A literal; NUL cannot stand in one and goes as 0x80, at the same length (RFC 9051 section 4.3)."""
    text = bytes(data)
    return b"{%d}\r\n%b" % (len(text), text.replace(b"\0", b"\x80"))


def binary_literal(data: bytes | memoryview) -> bytes:
    """A literal, or with NULs in it a literal8 (RFC 9051 section 4.3)."""
    content = bytes(data)
    return b"%b{%d}\r\n%b" % (b"~" if b"\0" in content else b"", len(content), content)


def _cut(data: bytes | memoryview, wanted: Partial | None) -> bytes | memoryview:
    return data if wanted is None else data[wanted.offset : wanted.offset + wanted.length]


def _label(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")


_KINDS: Final[dict[SectionText, section.Kind]] = {
    SectionText.ALL: section.Kind.WHOLE,
    SectionText.HEADER: section.Kind.HEADER,
    SectionText.HEADER_FIELDS: section.Kind.HEADER_FIELDS,
    SectionText.HEADER_FIELDS_NOT: section.Kind.HEADER_FIELDS_NOT,
    SectionText.TEXT: section.Kind.TEXT,
    SectionText.MIME: section.Kind.MIME,
}


def _section(item: Section, several: bool) -> Piece:
    """`several`: more of the message is asked for, so its parts are found once."""
    names = tuple(name.upper() for name in item.fields)
    if item.text is SectionText.HEADER_FIELDS and not item.part and COMMON_FIELDS.issuperset(names):
        values = partial(_common_fields, names=names, wanted=item.partial)
        return Piece(_label(item.label) + b" %b", (values,), Column.HEADERS, weight=240)
    if item.text is SectionText.ALL and not item.part and item.partial is None:
        return Piece(_label(item.label) + b" {%d}\r\n%b", (_lengths, _messages), bodies=True)
    sought = (item.part, _KINDS[item.text], names)
    values = partial(_sections, sought=sought, several=several and bool(item.part), wanted=item.partial)
    return Piece(_label(item.label) + b" %b", (values,), bodies=True)


def _common_fields(chunk: Chunk, *, names: tuple[bytes, ...], wanted: Partial | None) -> list[bytes]:
    found = [select_fields(header, names) for header in chunk.values[Column.HEADERS]]
    if wanted is None:
        return [b"{%d}\r\n%b" % (len(text), text.replace(b"\0", b"\x80")) for text in found]
    return [text_literal(_cut(text, wanted)) for text in found]


def _lengths(chunk: Chunk) -> list[int]:
    return list(map(len, chunk.bodies))


def _messages(chunk: Chunk) -> list[bytes]:
    return [body.replace(b"\0", b"\x80") for body in chunk.bodies]


def _sections(
    chunk: Chunk,
    *,
    sought: tuple[tuple[int, ...], section.Kind, tuple[bytes, ...]],
    several: bool,
    wanted: Partial | None,
) -> list[bytes]:
    find, (path, kind, names) = section.find, sought
    if several:
        read = zip(chunk.bodies, chunk.structures, strict=True)
        found = [find(body, path, kind, names, structure) for body, structure in read]
    else:
        found = [find(body, path, kind, names) for body in chunk.bodies]
    return [NIL if text is None else text_literal(_cut(text, wanted)) for text in found]


def _decoded(chunk: Chunk, path: tuple[int, ...], *, several: bool) -> Iterator[Data | None]:
    """None, too, where the encoding is not known; the chunk remembers that there was such a part."""
    structures = chunk.structures if several and path else repeat(None)
    for body, structure in zip(chunk.bodies, structures, strict=False):
        try:
            yield section.find_binary(body, path, structure)
        except section.UnknownEncodingError:
            chunk.undecodable = True
            yield None


def _binary(item: Binary, several: bool) -> Piece:
    def values(chunk: Chunk) -> list[bytes]:
        found = _decoded(chunk, item.part, several=several)
        return [NIL if data is None else binary_literal(_cut(data, item.partial)) for data in found]

    return Piece(_label(item.label) + b" %b", (values,), bodies=True)


def _binary_size(item: BinarySize, several: bool) -> Piece:
    def values(chunk: Chunk) -> list[int]:
        found = _decoded(chunk, item.part, several=several)
        return [0 if data is None else len(data) for data in found]

    return Piece(_label(item.label) + b" %d", (values,), bodies=True)


_MAKERS: Final[dict[type[Any], Callable[[Any, bool], Piece]]] = {
    Section: _section,
    Binary: _binary,
    BinarySize: _binary_size,
}
