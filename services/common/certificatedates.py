"""When a certificate ends, read from its file without a library: `cryptography` costs a process 16 MB and 0.3 s.

Pure: octets in, a date out. RFC 5280 section 4.1: Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version
DEFAULT v1, serialNumber, signature, issuer, validity SEQUENCE { notBefore, notAfter }, ... }, ... }.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_BEFORE_VALIDITY: Final = 3
"""serialNumber, signature, issuer."""
_TIMES: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime and GeneralizedTime (RFC 5280 section 4.1.2.5). `%y` turns at 1969 and UTCTime at 1950; neither ends now."""


def expiry(pem: bytes) -> datetime:
    """When the first certificate of a PEM file ends; in a chain that is the server's own. Raises ValueError."""
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("no certificate")
    return _not_after(base64.b64decode(found[1]))


def _not_after(certificate: bytes) -> datetime:
    tbs = _inside(_inside(certificate))
    fields = list(_fields(tbs))
    if fields and fields[0][0] == _VERSION:
        fields.pop(0)
    if len(fields) <= _BEFORE_VALIDITY or fields[_BEFORE_VALIDITY][0] != _SEQUENCE:
        raise ValueError("no validity")
    times = list(_fields(fields[_BEFORE_VALIDITY][1]))
    if len(times) != 2 or times[1][0] not in _TIMES:
        raise ValueError("no end")
    tag, text = times[1]
    return datetime.strptime(text.decode("ascii"), _TIMES[tag]).replace(tzinfo=UTC)


def _inside(octets: bytes) -> bytes:
    """The contents of the sequence that begins here."""
    tag, contents = next(_fields(octets), (0, b""))
    if tag != _SEQUENCE:
        raise ValueError("no sequence")
    return contents


def _fields(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and contents of what stands one behind the other (X.690 section 8.1). Raises ValueError."""
    at = 0
    while at < len(octets):
        if at + 2 > len(octets):
            raise ValueError("cut short")
        tag, size = octets[at], octets[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(octets[at : at + count])
            at += count
        if at + size > len(octets):
            raise ValueError("cut short")
        yield tag, octets[at : at + size]
        at += size
