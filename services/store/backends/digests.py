"""The name of a body: BLAKE2b-256 of its bytes."""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import Final

DIGEST_SIZE: Final = 32


def digest_of(body: bytes) -> bytes:
    """The digest under which a body is kept."""
    return blake2b(body, digest_size=DIGEST_SIZE).digest()


def matches(body: bytes, digest: bytes) -> bool:
    """Whether the bytes are those that the digest names."""
    return hmac.compare_digest(digest_of(body), digest)
