"""Memory for messages that are arriving, bounded over all sessions of the process (`inflightbytes`)."""

from __future__ import annotations

from asyncio import CancelledError, Future, get_running_loop, timeout
from collections import deque
from collections.abc import Callable


class Inflight:
    """First come, first served. One message is always let in when nothing else is, however large the store takes it."""

    __slots__ = ("_limit", "_waiters", "held")

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._waiters: deque[tuple[int, Future[None]]] = deque()
        self.held = 0

    def try_reserve(self, size: int) -> bool:
        """Take memory, if it is there and nobody waits for it."""
        if self._waiters or not self._fits(size):
            return False
        self.held += size
        return True

    def try_grow(self, held: int, more: int) -> bool:
        """Take more memory for a message that holds some: one that turns out longer than it said it was.

        It does not wait for others, which might wait for it.
        """
        if self.held > held and self.held + more > self._limit():
            return False
        self.held += more
        return True

    async def reserve(self, size: int, seconds: float) -> bool:
        """Wait for memory; False where none came in time."""
        waiter: Future[None] = get_running_loop().create_future()
        entry = (size, waiter)
        self._waiters.append(entry)
        self._hand_out()
        try:
            async with timeout(seconds):
                await waiter
        except TimeoutError:
            # Both may come in one turn of the loop: what was handed out is the caller's.
            return _handed_out(waiter)
        except CancelledError:
            if _handed_out(waiter):
                self.release(size)
            raise
        else:
            return True
        finally:
            if entry in self._waiters:
                self._waiters.remove(entry)
                self._hand_out()

    def release(self, size: int) -> None:
        """Give memory back."""
        self.held -= size
        self._hand_out()

    def _fits(self, size: int) -> bool:
        return not self.held or self.held + size <= self._limit()

    def _hand_out(self) -> None:
        while self._waiters and self._fits(self._waiters[0][0]):
            size, waiter = self._waiters.popleft()
            if not waiter.done():
                self.held += size
                waiter.set_result(None)


def _handed_out(waiter: Future[None]) -> bool:
    return waiter.done() and not waiter.cancelled()
