"""Values as IMAP strings (RFC 9051 section 4.3): quoted where that can carry them, else a literal.

Octets above 127 always go in a literal: it is what both revisions of the protocol allow, whatever was enabled.
"""

from __future__ import annotations

import re
from typing import Final

NIL: Final = b"NIL"

_unquotable = re.compile(rb"[\x00\r\n\x80-\xff]").search
_special = re.compile(rb'["\\]').search


def string(value: bytes) -> bytes:
    """`"value"` or `{n}\\r\\nvalue`. A NUL, which no IMAP string may hold, becomes 0x80."""
    if _unquotable(value):
        return b"{%d}\r\n%b" % (len(value), value.replace(b"\0", b"\x80"))
    if _special(value):
        value = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%b"' % value


def nstring(value: bytes | None) -> bytes:
    """The same, NIL for None."""
    return NIL if value is None else string(value)
