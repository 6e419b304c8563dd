"""The latest changes of a mailbox, by position, for the views that have not told them yet."""

from __future__ import annotations

from array import array
from typing import Final

LIMIT: Final = 4096


class ChangeLog:
    """UIDs that changed, each with its modification sequence, oldest first.

    A reader keeps a position and asks for what came after it. Only the last few thousand are kept: a reader that fell
    behind is told so, and compares the arrays instead, so that one silent session costs no memory.
    """

    __slots__ = ("_base", "_modseqs", "_uids")

    def __init__(self) -> None:
        self._base = 0
        self._uids = array("I")
        self._modseqs = array("Q")

    @property
    def end(self) -> int:
        """The position after the last entry."""
        return self._base + len(self._uids)

    def add(self, uid: int, modseq: int) -> None:
        """One change more."""
        self._uids.append(uid)
        self._modseqs.append(modseq)
        if len(self._uids) > 2 * LIMIT:
            del self._uids[:LIMIT]
            del self._modseqs[:LIMIT]
            self._base += LIMIT

    def since(self, position: int) -> list[tuple[int, int]] | None:
        """(uid, modseq) of each change from `position` on, or None when some of them are forgotten."""
        start = position - self._base
        if start < 0:
            return None
        return list(zip(self._uids[start:], self._modseqs[start:], strict=True))
