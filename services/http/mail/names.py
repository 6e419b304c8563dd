"""Numbers of the store as JMAP's ids, and back (RFC 8620 section 1.2). No I/O.

A = account, F = mailbox, M = email, T = thread, B = blob of an email (and of its parts), U = blob that was uploaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NUMBER: Final = re.compile(r"([AFMT])([1-9][0-9]{0,17})\Z", re.ASCII)
_BLOB: Final = re.compile(r"B([1-9][0-9]{0,17})(?:-([1-9][0-9]{0,4}(?:_[1-9][0-9]{0,4}){0,70}))?\Z", re.ASCII)
_UPLOAD: Final = re.compile(r"U([0-9a-f]{64})\Z", re.ASCII)


def account(number: int) -> str:
    """An account's id."""
    return f"A{number}"


def mailbox(number: int) -> str:
    """A mailbox's."""
    return f"F{number}"


def email(number: int) -> str:
    """An email's: the number of its content."""
    return f"M{number}"


def thread(number: int) -> str:
    """A thread's."""
    return f"T{number}"


def number_of(kind: str, text: str) -> int | None:
    """The number in an id of that kind; None for any other text."""
    match = _NUMBER.match(text)
    return int(match[2]) if match is not None and match[1] == kind else None


@dataclass(frozen=True, slots=True)
class BlobName:
    """A blob: the message of a content, a part of it (the numbers of a section), or what was uploaded (by digest)."""

    content_id: int = 0
    path: tuple[int, ...] = ()
    digest: bytes = b""

    def __str__(self) -> str:
        if self.digest:
            return f"U{self.digest.hex()}"
        return f"B{self.content_id}" + ("-" + "_".join(map(str, self.path)) if self.path else "")


def read_blob(text: str) -> BlobName | None:
    """None for what no blob is named."""
    uploaded = _UPLOAD.match(text)
    if uploaded is not None:
        return BlobName(digest=bytes.fromhex(uploaded[1]))
    match = _BLOB.match(text)
    if match is None:
        return None
    path = tuple(map(int, match[2].split("_"))) if match[2] else ()
    return BlobName(int(match[1]), path)
