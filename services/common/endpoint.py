"""The channel binding tls-server-end-point (RFC 5929 section 4): a hash of the server's certificate. No I/O."""

from __future__ import annotations

import hashlib
from typing import Final

from services.common.der import OBJECT_IDENTIFIER, SEQUENCE, fields_of, inside

_RSA: Final = "2a864886f70d0101"
_ECDSA: Final = "2a8648ce3d04"
_HASHES: Final[dict[str, str]] = {
    f"{_RSA}04": "sha256",
    f"{_RSA}05": "sha256",
    f"{_RSA}0b": "sha256",
    f"{_RSA}0c": "sha384",
    f"{_RSA}0d": "sha512",
    f"{_ECDSA}01": "sha256",
    f"{_ECDSA}0302": "sha256",
    f"{_ECDSA}0303": "sha384",
    f"{_ECDSA}0304": "sha512",
}
"""Algorithm of the signature (its identifier in DER, RFC 8017 and RFC 5758) -> hash; SHA-256 in place of MD5 and SHA-1.
Signatures without one hash of their own (Ed25519), or with it in parameters (RSA-PSS), give no binding.
"""


def endpoint(certificate: bytes) -> bytes | None:
    """The binding for a certificate (DER), None where it is not defined. Raises ValueError: it is none."""
    parts = list(fields_of(inside(certificate)))
    if len(parts) != 3 or parts[1][0] != SEQUENCE:
        raise ValueError("not a certificate")
    tag, identifier = next(fields_of(parts[1][1]), (0, b""))
    name = _HASHES.get(identifier.hex()) if tag == OBJECT_IDENTIFIER else None
    return None if name is None else hashlib.new(name, certificate).digest()
