"""Header sections: where they end, their fields, and subsets of them (RFC 5322 section 2.2, RFC 9051 section 6.4.5.1).

A field is handled as its raw bytes, folds and line ends included; only a value that is read gets unfolded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Final

MAX_HEADER: Final = 1 << 20
"""Bytes of a header section that are interpreted; fields beyond are carried, but never looked at."""

COMMON_FIELDS: Final = frozenset(
    b"DATE FROM SENDER REPLY-TO TO CC BCC SUBJECT MESSAGE-ID IN-REPLY-TO REFERENCES NEWSGROUPS "
    b"MIME-VERSION CONTENT-TYPE CONTENT-TRANSFER-ENCODING CONTENT-DESCRIPTION CONTENT-DISPOSITION "
    b"LIST-ID LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE PRECEDENCE AUTO-SUBMITTED LINES "
    b"PRIORITY X-PRIORITY IMPORTANCE DISPOSITION-NOTIFICATION-TO X-LABEL X-ORIGINAL-TO X-TUID".split()
)
"""Fields that the clients' message lists ask for; a fetch of any subset is answered without the message.

Fields that delivery puts before a message (Return-Path, Delivered-To) can't be here: they are not in its body.
"""

_MAX_PATTERN_NAMES: Final = 32

split_fields: Final = re.compile(rb"\n(?![ \t])").split
"""The raw fields of a header section, each without its LF; the empty line and what follows it give b"\\r" or b""."""

_BLANKS = b" \t\r\n"


def header_length(message: bytes, start: int = 0, end: int | None = None) -> int:
    """Length of the header section that begins at `start`, the empty line included; all of it where there is none."""
    limit = len(message) if end is None else end
    if message.startswith((b"\r\n", b"\n"), start, limit):
        return 1 if message[start] == 10 else 2
    strict = message.find(b"\n\r\n", start, limit)
    bare = message.find(b"\n\n", start, limit if strict < 0 else strict + 1)
    if bare >= 0:
        return bare + 2 - start
    return (strict + 3 if strict >= 0 else limit) - start


def unfold(value: bytes) -> bytes:
    """A field's value on one line, without the blanks around it (RFC 5322 section 2.2.3)."""
    value = value.strip(_BLANKS)
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return value.replace(b"\r", b" ") if b"\r" in value else value


def interpreted(header: bytes) -> bytes:
    """The part of a header section whose fields are looked at (`MAX_HEADER`), cut at the end of a line."""
    if len(header) <= MAX_HEADER:
        return header
    return header[: header.rfind(b"\n", 0, MAX_HEADER) + 1]


def field_name(field: bytes) -> bytes:
    """The name of a raw field in upper case, b"" for a line that is no field. Blanks before the colon are obsolete
    syntax and let pass (RFC 5322 section 4.5).
    """
    name, colon, _ = field.partition(b":")
    return name.rstrip(b" \t").upper() if colon else b""


def select_fields(header: bytes, names: Collection[bytes], negate: bool = False) -> bytes:
    """HEADER.FIELDS and HEADER.FIELDS.NOT: the raw fields in their order, then an empty line.

    `header` is a header section with or without its empty line; `names` are in upper case. RFC 9051 section 6.4.5.1.
    """
    if header and not header.endswith(b"\n"):
        header += b"\r\n"
    if negate or len(names) > _MAX_PATTERN_NAMES:
        kept = _select_each(header, frozenset(names), negate)
    else:
        kept = _pattern(tuple(names))(b"\n" + header) if names else []
    return b"\n".join([*kept, b"\r\n"]) if kept else b"\r\n"


def _select_each(header: bytes, names: frozenset[bytes], negate: bool) -> list[bytes]:
    fields = split_fields(header)
    return [field for field in fields if field not in (b"", b"\r") and (field_name(field) in names) is not negate]


@lru_cache(maxsize=256)
def _pattern(names: tuple[bytes, ...]) -> Callable[[bytes], list[bytes]]:
    """The lookup of a set of names, compiled once: message lists ask for the same set thousands of times."""
    alternatives = b"|".join(re.escape(name) for name in names)
    return re.compile(rb"\n((?:%b)[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+)" % alternatives, re.IGNORECASE).findall
