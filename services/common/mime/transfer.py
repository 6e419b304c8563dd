"""Content transfer encodings undone (RFC 2045 section 6), as much of them as can be."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, a2b_qp
from collections.abc import Callable
from typing import Final

_NOT_BASE64: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
_trailing_blanks = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)")


def from_base64(data: bytes) -> bytes:
    """Characters outside the alphabet are ignored (RFC 2045 section 6.8), and so is a broken end."""
    try:
        return a2b_base64(data)
    except Error:
        letters = data.partition(b"=")[0].translate(None, _NOT_BASE64)
        if len(letters) % 4 == 1:
            letters = letters[:-1]
        return a2b_base64(letters + b"=" * (-len(letters) % 4))


def from_quoted_printable(data: bytes) -> bytes:
    """Blanks at the ends of lines were added on the way and go (RFC 2045 section 6.7, rule 3)."""
    if b" \r\n" in data or b"\t\r\n" in data or b" \n" in data or b"\t\n" in data:
        data = _trailing_blanks.sub(b"", data)
    return a2b_qp(data)


def _same(data: bytes) -> bytes:
    return data


DECODERS: Final[dict[bytes, Callable[[bytes], bytes]]] = {
    b"7BIT": _same,
    b"8BIT": _same,
    b"BINARY": _same,
    b"BASE64": from_base64,
    b"QUOTED-PRINTABLE": from_quoted_printable,
}
"""By encoding in upper case; another one cannot be undone (UNKNOWN-CTE of RFC 3516)."""
