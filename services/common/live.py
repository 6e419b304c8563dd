"""A value that a reload may replace while others use it.

Whoever reads `value` at the moment of use has the newest one and needs nothing more; who must act on a change
subscribes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
Part = TypeVar("Part")


class Live(Generic[T]):
    """Holds the present value. Only the event loop's thread replaces it."""

    __slots__ = ("_listeners", "value")

    def __init__(self, value: T) -> None:
        self.value = value
        self._listeners: list[Callable[[T], None]] = []

    def replace(self, value: T) -> None:
        """Take a new value and tell the subscribers, in the order in which they came; nothing where it is equal."""
        if value == self.value:
            return
        self.value = value
        for listener in self._listeners:
            listener(value)

    def subscribe(self, listener: Callable[[T], None]) -> None:
        """Call `listener` with every later value."""
        self._listeners.append(listener)

    def part(self, select: Callable[[T], Part]) -> Live[Part]:
        """One part of the value as a live value of its own, such as one service's options."""
        part = Live(select(self.value))
        self.subscribe(lambda value: part.replace(select(value)))
        return part
