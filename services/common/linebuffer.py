"""Lines out of bytes as they arrive, in bounded memory and without I/O.

Rules:
- A line may be `limit` bytes long, its end included. A longer one raises `LineTooLongError` once; the rest of it is
  dropped as it arrives, so that a protocol which goes on finds the next line.
- The end is LF, and a CR before it goes too; with `strict` only CRLF ends a line (RFC 5321 section 2.3.8 wants that
  of LMTP, since two parties that disagree on line ends can be made to see different commands).
- Taking a line out of a segment of many copies that line and nothing else.
"""

from __future__ import annotations


class LineTooLongError(Exception):
    """The peer sent a line above the limit."""


class LineBuffer:
    """Bytes in by `feed`, lines out by `next_line`, uncounted bytes (a chunk of known size) by `take`.

    `limit` may be set at any time, for example while a longer authentication response is awaited.
    """

    __slots__ = ("_data", "_dropping", "_end", "_position", "_scanned", "limit")

    def __init__(self, limit: int, *, strict: bool = False) -> None:
        self.limit = limit
        self._end = b"\r\n" if strict else b"\n"
        self._data = b""
        self._position = 0
        self._scanned = 0
        self._dropping = False

    def __len__(self) -> int:
        """Bytes held that were not given out yet."""
        return len(self._data) - self._position

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        if self._position >= len(self._data):
            self._data, self._scanned = data, 0
        else:
            self._scanned = max(self._scanned - self._position, 0)
            self._data = self._data[self._position :] + data
        self._position = 0

    def next_line(self) -> bytes | None:
        """The next line without its end; None until it is complete. Raises LineTooLongError."""
        if self._dropping and not self._drop_to_end():
            return None
        data, start, scanned = self._data, self._position, self._scanned
        found = data.find(self._end, scanned if scanned > start else start)
        if found < 0:
            self._check_rest()
            return None
        after = found + len(self._end)
        self._position = after
        if after - start > self.limit:
            raise LineTooLongError
        if found > start and data[found - 1] == 13 and len(self._end) == 1:
            found -= 1
        return data[start:found]

    def take(self, size: int) -> bytes:
        """Up to `size` bytes as they are, whatever they hold."""
        start = self._position
        if start == 0 and size >= len(self._data):
            taken, self._data = self._data, b""
            self._scanned = 0
            return taken
        taken = self._data[start : start + size]
        self._position = start + len(taken)
        return taken

    def clear(self) -> None:
        """Forget everything: what came before a TLS handshake must not count after it (RFC 2595 section 2.4)."""
        self._data, self._position, self._scanned, self._dropping = b"", 0, 0, False

    def _check_rest(self) -> None:
        size = len(self._data)
        if size == self._position:
            return
        # The last byte may be the CR of a CRLF that is cut in two.
        self._scanned = max(size - len(self._end) + 1, self._position)
        if size - self._position < self.limit:
            return
        self._dropping = True
        self._drop_to_end()
        raise LineTooLongError

    def _drop_to_end(self) -> bool:
        found = self._data.find(self._end, max(self._position, self._scanned))
        if found < 0:
            kept = len(self._end) - 1
            self._data = self._data[-kept:] if kept else b""
            self._position = self._scanned = 0
            return False
        self._position = found + len(self._end)
        self._dropping = False
        return True
