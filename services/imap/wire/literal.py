"""A literal as it comes in, in pieces of any size."""

from __future__ import annotations

from typing import Final

_SMALL: Final = 16_384
_BLOCK: Final = 65_536


class Literal:
    """Pieces to bytes, at one copy for large pieces and two for small ones.

    Small pieces are put together, so that a client which sends single bytes costs no list entry for each.
    """

    __slots__ = ("_blocks", "_tail", "announcement", "remaining", "size")

    def __init__(self, size: int, announcement: int) -> None:
        self.size = size
        self.remaining = size
        self.announcement = announcement
        """Where the brace is in the command's text."""
        self._blocks: list[bytes] = []
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        """The next piece, no longer than `remaining`."""
        self.remaining -= len(data)
        if len(data) >= _SMALL or not self.remaining:
            self._flush()
            self._blocks.append(data)
            return
        self._tail += data
        if len(self._tail) >= _BLOCK:
            self._flush()

    def finish(self) -> bytes:
        """All of it."""
        self._flush()
        return self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)

    def _flush(self) -> None:
        if self._tail:
            self._blocks.append(bytes(self._tail))
            self._tail.clear()
