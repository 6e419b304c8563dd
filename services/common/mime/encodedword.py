"""Encoded words of header fields (RFC 2047), read tolerantly."""

from __future__ import annotations

import re

from services.common.mime.charsets import codec_of, decode
from services.common.mime.transfer import from_base64

_word = re.compile(rb"=\?([!-<>@-~]++)\?([bBqQ])\?([^?\r\n]*+)\?=")
_blank = re.compile(rb"[ \t\r\n]*+").fullmatch
_hex = re.compile(rb"=([0-9A-Fa-f]{2})")


def decode_header(value: bytes) -> str:
    """An unfolded field value as text: encoded words decoded, bare 8-bit taken as UTF-8 or else Windows-1252.

    Blanks between two encoded words go (RFC 2047 section 6.2). Words of one charset that follow each other are decoded
    together, since senders cut characters in two.
    """
    if b"=?" not in value:
        return value.decode("ascii") if value.isascii() else decode(value)
    return "".join(decode(data, charset) for charset, data in _runs(value))


def _runs(value: bytes) -> list[tuple[str, bytes]]:
    """Charsets and bytes in order; bare text has charset ""."""
    pieces: list[tuple[str, list[bytes]]] = []
    position = 0
    for match in _word.finditer(value):
        charset = match[1].decode("ascii").partition("*")[0].lower()
        if codec_of(charset) is None and charset != "us-ascii":
            continue
        between = value[position : match.start()]
        position = match.end()
        if between and not (pieces and pieces[-1][0] and _blank(between)):
            pieces.append(("", [between]))
        data = _content(match[2], match[3])
        if pieces and pieces[-1][0] == charset:
            pieces[-1][1].append(data)
        else:
            pieces.append((charset, [data]))
    if position < len(value):
        pieces.append(("", [value[position:]]))
    return [(charset, b"".join(data)) for charset, data in pieces]


def _content(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"bB":
        return from_base64(text)
    return _hex.sub(_byte, text.replace(b"_", b" "))


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode("ascii"))
