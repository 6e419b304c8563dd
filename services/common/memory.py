"""What was found is remembered for a while, and who asks for the same at the same time waits for one answer."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memory(Generic[Key, Value]):
    """At most `size` values, each until its time; the least lately used one goes first."""

    def __init__(self, size: int, clock: Callable[[], float] = monotonic) -> None:
        self._size = size
        self._clock = clock
        self._held: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """The value, None where there is none (any more)."""
        held = self._held.get(key)
        if held is None:
            return None
        if held[0] <= self._clock():
            del self._held[key]
            return None
        self._held.move_to_end(key)
        return held[1]

    def put(self, key: Key, value: Value, seconds: float) -> None:
        """Remember; nothing where `seconds` is 0."""
        if seconds <= 0:
            return
        self._held[key] = (self._clock() + seconds, value)
        self._held.move_to_end(key)
        if len(self._held) > self._size:
            self._held.popitem(last=False)

    def forget(self) -> None:
        """Everything."""
        self._held.clear()


class Once(Generic[Key, Value]):
    """Runs what is asked for under a key once for all who ask while it runs. Who goes stops no other."""

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Task[Value]] = {}

    async def run(self, key: Key, make: Callable[[], Awaitable[Value]]) -> Value:
        """Its value, or what it raises."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._await(make))
            self._running[key] = task
            task.add_done_callback(lambda done: self._over(key, done))
        return await asyncio.shield(task)

    async def _await(self, make: Callable[[], Awaitable[Value]]) -> Value:
        return await make()

    def _over(self, key: Key, task: asyncio.Task[Value]) -> None:
        del self._running[key]
        if not task.cancelled():
            # Who asked may be gone; a failure that nobody hears is none.
            task.exception()
