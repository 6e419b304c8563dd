"""A bound on the memory of what can be made again: rendered answers, columns, mailboxes that nobody looks at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable


class Cache:
    """Least recently used goes first, counted in bytes. It holds no values: owners keep them and let go when told.

    What was just kept is never the one to go, so its owner may use it at once however large it is.
    """

    __slots__ = ("_entries", "_limit", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._entries: OrderedDict[Hashable, tuple[int, Callable[[], None]]] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes kept now."""
        return self._size

    def resize(self, limit: int) -> None:
        """Take a new limit (`imap.cachebytes`), at once."""
        self._limit = limit
        self.shrink()

    def admits(self, size: int) -> bool:
        """Whether one thing of this size is worth keeping: no single one may push out most of the others."""
        return size <= self._limit // 8

    def keep(self, key: Hashable, size: int, drop: Callable[[], None]) -> None:
        """Count `size` bytes under `key`; `drop` is called when they have to go. A key kept before is recounted."""
        self.hold(key, size, drop)
        self.shrink()

    def hold(self, key: Hashable, size: int, drop: Callable[[], None]) -> None:
        """`keep`, but nothing goes before `shrink`: for several things that are wanted together."""
        self.forget(key)
        self._entries[key] = (size, drop)
        self._size += size

    def shrink(self) -> None:
        """Let the least recently used go until the limit holds."""
        while self._size > self._limit and len(self._entries) > 1:
            _, (size, drop) = self._entries.popitem(last=False)
            self._size -= size
            drop()

    def touch(self, key: Hashable) -> None:
        """The key was used; no matter if it is gone."""
        if key in self._entries:
            self._entries.move_to_end(key)

    def forget(self, key: Hashable) -> None:
        """The owner let go by itself; no matter if it is gone."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= entry[0]
