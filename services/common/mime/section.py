"""BODY[section] and BINARY[section] of a message (RFC 9051 section 6.4.5.1, RFC 3516)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum

from services.common.mime.contenttype import encoding
from services.common.mime.headers import header_length, select_fields
from services.common.mime.structure import Part, locate, parse
from services.common.mime.transfer import DECODERS


class Kind(Enum):
    """What follows the part numbers of a section."""

    WHOLE = ""
    HEADER = "HEADER"
    HEADER_FIELDS = "HEADER.FIELDS"
    HEADER_FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"


class UnknownEncodingError(Exception):
    """The part's transfer encoding can't be undone: `NO [UNKNOWN-CTE]`."""


def find(
    message: bytes,
    path: Sequence[int],
    kind: Kind = Kind.WHOLE,
    fields: Collection[bytes] = (),
    structure: Part | None = None,
) -> bytes | memoryview | None:
    """The bytes of a section, None where the message has no such part. `fields` are names in upper case.

    A `memoryview` shares the message's memory. `structure` is the message as `parse` gives it, for a caller that wants
    more sections of it; without, the message is read only as far as the part goes.
    """
    if not path:
        return message if kind is Kind.WHOLE else _of_message(message, 0, len(message), kind, fields)
    part = locate(structure or parse(message, path), path)
    if part is None:
        return None
    if kind is Kind.WHOLE:
        return memoryview(message)[part.body : part.end]
    if kind is Kind.MIME:
        return memoryview(message)[part.start : part.body]
    if not part.is_message:
        return None
    return _of_message(message, part.body, part.end, kind, fields)


def _of_message(
    message: bytes, start: int, end: int, kind: Kind, fields: Collection[bytes]
) -> bytes | memoryview | None:
    """HEADER, its subsets, and TEXT of the message at [start, end)."""
    body = start + header_length(message, start, end)
    if kind is Kind.TEXT:
        return memoryview(message)[body:end]
    if kind is Kind.HEADER:
        return memoryview(message)[start:body]
    if kind is Kind.MIME:
        return None
    return select_fields(message[start:body], fields, kind is Kind.HEADER_FIELDS_NOT)


def find_binary(message: bytes, path: Sequence[int], structure: Part | None = None) -> bytes | memoryview | None:
    """BINARY[path]: the part's body with its transfer encoding undone, None where there is no such part.

    `structure` as in `find`. Without a path it is the whole message. A multipart and a message are given as they are,
    like the parts inside them. Raises UnknownEncodingError.
    """
    if not path:
        return message
    part = locate(structure or parse(message, path), path)
    return None if part is None else _decoded(message, part)


def _decoded(message: bytes, part: Part) -> bytes | memoryview:
    if part.is_multipart or part.is_message:
        return memoryview(message)[part.body : part.end]
    decoder = DECODERS.get(encoding(part.fields.get(b"CONTENT-TRANSFER-ENCODING")))
    if decoder is None:
        raise UnknownEncodingError
    return decoder(message[part.body : part.end])
