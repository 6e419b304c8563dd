"""How many commands run at once (`maxthreads`).

A command holds a slot only while it works. What waits for the client (to read, to send), for a lock or for a delayed
answer does so inside `without_slot`, so that any number of waiting clients leaves every slot to those that work.
Commands that are answered at once take none: they are over before another one could run.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, get_running_loop
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")


class CommandSlots:
    """A counting gate with first come, first served, and a path without a wait while there is room.

    `limit` is asked at every turn, so that a reload holds at once; commands that run above a lowered limit finish.
    """

    __slots__ = ("_limit", "_waiters", "running")

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._waiters: deque[Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        """Commands that wait for a slot."""
        return len(self._waiters)

    def try_acquire(self) -> bool:
        """Take a slot if there is one and nobody waits for it."""
        if self._waiters or self.running >= self._limit():
            return False
        self.running += 1
        return True

    async def acquire(self) -> None:
        """Take a slot, in turn."""
        if self.try_acquire():
            return
        waiter: Future[None] = get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except CancelledError:
            self._forget(waiter)
            raise

    def release(self) -> None:
        """Give a slot back."""
        self.running -= 1
        self._hand_on()

    def _forget(self, waiter: Future[None]) -> None:
        if waiter.done() and not waiter.cancelled():
            self.release()
        else:
            self._waiters.remove(waiter)
            self._hand_on()

    def _hand_on(self) -> None:
        while self._waiters and self.running < self._limit():
            waiter = self._waiters.popleft()
            if not waiter.done():
                self.running += 1
                waiter.set_result(None)


_HELD: ContextVar[CommandSlots | None] = ContextVar("held_slots", default=None)


async def in_slot(slots: CommandSlots, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` with a slot held. To be the outermost coroutine of its own task."""
    try:
        if not slots.try_acquire():
            await slots.acquire()
    except CancelledError:
        work.close()
        raise
    _HELD.set(slots)
    try:
        return await work
    finally:
        slots.release()


@asynccontextmanager
async def without_slot() -> AsyncIterator[None]:
    """Give the running command's slot up for the block and take one again after it; nothing where none is held."""
    slots = _HELD.get()
    if slots is None:
        yield
        return
    token = _HELD.set(None)
    slots.release()
    try:
        yield
    finally:
        # Whoever leaves, also by an exception, goes on into code that gives a slot back.
        await slots.acquire()
        _HELD.reset(token)
