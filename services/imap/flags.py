"""Flags as IMAP writes them (RFC 9051 section 2.3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.common.domain import KEYWORD_SHIFT, SYSTEM_FLAGS

SYSTEM_TEXT: Final = tuple((bit, name.encode()) for bit, name in SYSTEM_FLAGS.items())
MAX_TEXTS: Final = 4096


class FlagTexts(dict[int, bytes]):
    """Mask -> the list's inside, each made once. Mailboxes have few distinct masks and many messages."""

    __slots__ = ("_keywords", "_recent")

    def __init__(self, keywords: Sequence[str], *, recent: bool = False) -> None:
        super().__init__()
        self._keywords = tuple(keyword.encode() for keyword in keywords)
        self._recent = (b"\\Recent",) if recent else ()

    def __missing__(self, mask: int) -> bytes:
        words = [*self._recent, *(text for bit, text in SYSTEM_TEXT if mask & bit)]
        words += (word for bit, word in enumerate(self._keywords, KEYWORD_SHIFT) if mask >> bit & 1)
        text = b" ".join(words)
        if len(self) >= MAX_TEXTS:
            self.clear()
        self[mask] = text
        return text


def flag_list(keywords: Sequence[str]) -> bytes:
    """The FLAGS response of a mailbox (RFC 9051 section 7.3.5)."""
    return b"* FLAGS (%b)\r\n" % b" ".join(_applicable(keywords))


def permanent_flags(keywords: Sequence[str], *, read_only: bool, room: bool) -> bytes:
    """The PERMANENTFLAGS response (RFC 9051 section 7.1); `room`: new keywords can be made."""
    words = [] if read_only else [*_applicable(keywords), *([b"\\*"] if room else [])]
    return b"* OK [PERMANENTFLAGS (%b)] %b\r\n" % (b" ".join(words), b"No changes" if read_only else b"Kept")


def _applicable(keywords: Sequence[str]) -> list[bytes]:
    return [*(text for _, text in SYSTEM_TEXT), *(keyword.encode() for keyword in keywords)]
