"""What little of DER (X.690) is read without a library: `cryptography` costs a process 16 MB and 0.3 s. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

SEQUENCE: Final = 0x30
OBJECT_IDENTIFIER: Final = 0x06


def inside(octets: bytes) -> bytes:
    """The contents of the sequence that begins here."""
    tag, contents = next(fields_of(octets), (0, b""))
    if tag != SEQUENCE:
        raise ValueError("no sequence")
    return contents


def fields_of(octets: bytes) -> Iterator[tuple[int, bytes]]:
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
