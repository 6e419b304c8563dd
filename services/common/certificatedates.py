"""When a certificate ends, read from its file without a library: `cryptography` costs a process 16 MB and 0.3 s.

Pure: octets in, a date out. RFC 5280 section 4.1: Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version
DEFAULT v1, serialNumber, signature, issuer, validity SEQUENCE { notBefore, notAfter }, ... }, ... }.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Final

from services.common.der import SEQUENCE, fields_of, inside

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)
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
    tbs = inside(inside(certificate))
    fields = list(fields_of(tbs))
    if fields and fields[0][0] == _VERSION:
        fields.pop(0)
    if len(fields) <= _BEFORE_VALIDITY or fields[_BEFORE_VALIDITY][0] != SEQUENCE:
        raise ValueError("no validity")
    times = list(fields_of(fields[_BEFORE_VALIDITY][1]))
    if len(times) != 2 or times[1][0] not in _TIMES:
        raise ValueError("no end")
    tag, text = times[1]
    return datetime.strptime(text.decode("ascii"), _TIMES[tag]).replace(tzinfo=UTC)
