"""Values of the Content-* fields: types, parameters, encodings (RFC 2045 section 5.1, RFC 2183, RFC 2231)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from services.common.mime.headers import unfold

MAX_PARAMETERS: Final = 128
"""Parameters of one field that are read; the rest are left out."""
MAX_VALUE: Final = 65_536
"""Bytes of one field's value that are read."""

_CACHED_LENGTH: Final = 160

Parameters = tuple[tuple[bytes, bytes], ...]
"""Names in upper case and values without their quotes, in order; RFC 2231's continuations are joined."""


class Valued(NamedTuple):
    """A value with parameters, as Content-Disposition is."""

    value: bytes
    parameters: Parameters


class ContentType(NamedTuple):
    """A media type in upper case with its parameters."""

    maintype: bytes
    subtype: bytes
    parameters: Parameters

    def parameter(self, name: bytes) -> bytes | None:
        """The first value of a parameter named in upper case, its RFC 2231 form decoded to bytes."""
        for key, value in self.parameters:
            if key == name:
                return value
            if key == name + b"*":
                return unquote_to_bytes(value.rpartition(b"'")[2])
        return None


PLAIN: Final = ContentType(b"TEXT", b"PLAIN", ((b"CHARSET", b"us-ascii"),))
"""What a part without Content-Type is, or with one that makes no sense (RFC 2045 section 5.2)."""
RFC822: Final = ContentType(b"MESSAGE", b"RFC822", ())
"""What a part of multipart/digest without Content-Type is (RFC 2046 section 5.1.5)."""
OPAQUE: Final = ContentType(b"APPLICATION", b"OCTET-STREAM", ())

_type = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z{}-]++)[ \t]*+/[ \t]*+([!#$%&'*+.^_`|~0-9A-Za-z{}-]++)").match
_parameter = re.compile(
    rb';[ \t]*+([^\s=;"]++)[ \t]*+=[ \t]*+(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"?+|([^;]*+))', re.DOTALL
).finditer
_section = re.compile(rb"([^*]++)\*(0|[1-9]\d{0,2})(\*?)").fullmatch
_comment_token = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+|[()]|[^"()\\]++|\\.?+', re.DOTALL).finditer
_quoted_pair = re.compile(rb"\\(.)", re.DOTALL)


def content_type(value: bytes, default: ContentType = PLAIN) -> ContentType:
    """A Content-Type field's value; `default` where it is no media type."""
    return _cached_type(value, default) if len(value) <= _CACHED_LENGTH else _content_type(value, default)


def _content_type(value: bytes, default: ContentType) -> ContentType:
    value = _clean(value)
    match = _type(value)
    if match is None:
        return default
    parameters = _parameters(value, match.end())
    maintype, subtype = match[1].upper(), match[2].upper()
    if maintype == b"TEXT" and subtype == b"PLAIN" and not _has_charset(parameters):
        parameters = (*parameters, *PLAIN.parameters)
    return ContentType(maintype, subtype, parameters)


_cached_type = lru_cache(maxsize=1024)(_content_type)


def _has_charset(parameters: Parameters) -> bool:
    return any(name in (b"CHARSET", b"CHARSET*") for name, _ in parameters)


def disposition(value: bytes) -> Valued | None:
    """A Content-Disposition field's value, its type in upper case; None where there is no type."""
    value = _clean(value)
    kind = value.partition(b";")[0].strip().upper()
    return Valued(kind, _parameters(value, len(kind))) if kind else None


def encoding(value: bytes | None) -> bytes:
    """A Content-Transfer-Encoding in upper case; 7BIT where there is none (RFC 2045 section 6.1)."""
    if value is None:
        return b"7BIT"
    words = _clean(value).replace(b";", b" ").split(None, 1)
    return words[0].upper() if words else b"7BIT"


def languages(value: bytes) -> list[bytes]:
    """The tags of a Content-Language field (RFC 3282)."""
    tags = (tag.strip() for tag in _clean(value).split(b",")[:MAX_PARAMETERS])
    return [tag for tag in tags if tag]


def _clean(value: bytes) -> bytes:
    """Unfolded and without comments (RFC 2045 section 5.1: `charset=us-ascii (Plain text)`)."""
    value = unfold(value[:MAX_VALUE])
    return _without_comments(value) if b"(" in value else value


def _without_comments(value: bytes) -> bytes:
    kept: list[bytes] = []
    depth = 0
    for match in _comment_token(value):
        token = match[0]
        if token == b"(":
            depth += 1
        elif token == b")" and depth:
            depth -= 1
        elif not depth:
            kept.append(token)
    return b"".join(kept)


def _parameters(value: bytes, start: int) -> Parameters:
    found: list[tuple[bytes, bytes]] = []
    for match in _parameter(value, start):
        name, quoted, plain = match.groups()
        found.append((name.upper(), plain.strip() if quoted is None else _quoted_pair.sub(rb"\1", quoted)))
        if len(found) == MAX_PARAMETERS:
            break
    return _joined(found) if any(b"*" in name for name, _ in found) else tuple(found)


def _joined(parameters: list[tuple[bytes, bytes]]) -> Parameters:
    """Continuations `NAME*0`, `NAME*1*` put together at the first one's place (RFC 2231 sections 3 and 4.1).

    The whole is `NAME*`, percent-encoded as it was, where any piece is; its charset is at its beginning then.
    """
    whole: dict[bytes, list[tuple[int, bytes, bool]]] = {}
    order: list[tuple[bytes, bytes | None]] = []
    for name, value in parameters:
        section = _section(name)
        if section is None:
            order.append((name, value))
            continue
        if section[1] not in whole:
            order.append((section[1], None))
        whole.setdefault(section[1], []).append((int(section[2]), value, bool(section[3])))
    return tuple((name, value) if value is not None else _whole(name, sorted(whole[name])) for name, value in order)


def _whole(name: bytes, pieces: list[tuple[int, bytes, bool]]) -> tuple[bytes, bytes]:
    if not any(encoded for _, _, encoded in pieces):
        return name, b"".join(value for _, value, _ in pieces)
    charset = b"" if pieces[0][2] else b"''"
    return name + b"*", charset + b"".join(
        value if encoded else quote_from_bytes(value, safe="!#$&+-.^_`{|}~").encode() for _, value, encoded in pieces
    )
