"""Parsed pieces that come again and again, so that a hot line is looked up, not parsed."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Cache(dict[K, V], Generic[K, V]):
    """A dictionary of at most `size` entries, which starts anew when it is full.

    Starting anew costs less, on average, than keeping an order of use on every hit would.
    """

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def keep(self, key: K, value: V) -> None:
        """Add an entry."""
        if len(self) >= self._size:
            self.clear()
        self[key] = value
