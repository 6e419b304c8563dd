"""FETCH (RFC 9051 section 6.4.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from services.imap.commands.sequence import SequenceSet


class Item(Enum):
    """FETCH attributes without arguments; the value is the name in the answer."""

    UID = b"UID"
    FLAGS = b"FLAGS"
    INTERNALDATE = b"INTERNALDATE"
    SIZE = b"RFC822.SIZE"
    ENVELOPE = b"ENVELOPE"
    BODYSTRUCTURE = b"BODYSTRUCTURE"
    BODY = b"BODY"
    MODSEQ = b"MODSEQ"


class SectionText(Enum):
    """What of a message or part is meant (RFC 9051 section 6.4.5.1)."""

    ALL = b""
    HEADER = b"HEADER"
    HEADER_FIELDS = b"HEADER.FIELDS"
    HEADER_FIELDS_NOT = b"HEADER.FIELDS.NOT"
    TEXT = b"TEXT"
    MIME = b"MIME"


@dataclass(frozen=True, slots=True)
class Partial:
    """`<offset.length>` after a section."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Section:
    """BODY[..], BODY.PEEK[..], and RFC822, RFC822.HEADER, RFC822.TEXT, which differ in `label` alone.

    `label` is the name in the answer, ready to send, with `<offset>` where `partial` is set. `part` is the section
    path (() is the message itself). `fields` are in lower case.
    """

    label: bytes
    part: tuple[int, ...] = ()
    text: SectionText = SectionText.ALL
    fields: tuple[bytes, ...] = ()
    partial: Partial | None = None
    peek: bool = False


@dataclass(frozen=True, slots=True)
class Binary:
    """BINARY[..] and BINARY.PEEK[..]; `label` as in `Section`."""

    label: bytes
    part: tuple[int, ...] = ()
    partial: Partial | None = None
    peek: bool = False


@dataclass(frozen=True, slots=True)
class BinarySize:
    """BINARY.SIZE[..]; `label` as in `Section`."""

    label: bytes
    part: tuple[int, ...] = ()


Attribute = Item | Section | Binary | BinarySize


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a FETCH asks for, macros expanded, doubles left out, in the order sent.

    `key` is one text for equal lists (its hash is computed once), to keep prepared work under. Instances are shared
    between commands and sessions. `sets_seen`: some item without PEEK sets \\Seen.
    """

    items: tuple[Attribute, ...]
    key: bytes = field(compare=False, repr=False)
    sets_seen: bool = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Fetch:
    """FETCH and UID FETCH. `changed_since` and `vanished` are modifiers of RFC 7162."""

    messages: SequenceSet
    attributes: Attributes
    uid: bool = False
    changed_since: int | None = None
    vanished: bool = False
