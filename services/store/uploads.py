"""Room for messages that arrive in chunks: bounded for all of them together, and each before its first octet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from services.common.errors import Reason, StoreError

ROOM: Final = 256 << 20
"""Bytes of uploads that arrive at once; others wait. One that is larger arrives alone."""


class UploadRoom:
    """Hands out room in the order in which it is asked for. `largest` gives the most octets of one message now."""

    def __init__(self, largest: Callable[[], int], room: int = ROOM) -> None:
        self._largest = largest
        self._room = room
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, sizes: Sequence[int]) -> AsyncIterator[None]:
        """Room for these messages, as long as the block runs. Raises MESSAGE_TOO_LARGE."""
        largest = self._largest()
        if any(size > largest for size in sizes):
            raise StoreError(Reason.MESSAGE_TOO_LARGE, {"limit": str(largest)})
        wanted = min(sum(sizes), self._room)
        await self._acquire(wanted)
        try:
            yield
        finally:
            self._used -= wanted
            self._admit()

    async def _acquire(self, wanted: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, future))
        self._admit()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._used -= wanted
            self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and (self._waiting[0][1].done() or self._used + self._waiting[0][0] <= self._room):
            wanted, future = self._waiting.popleft()
            if not future.done():
                self._used += wanted
                future.set_result(None)


@asynccontextmanager
async def read_out(requests: AsyncIterator[object]) -> AsyncIterator[None]:
    """Where the block refuses an upload, drop what still comes of it first.

    A call that ends while its caller is writing may reach the caller as a broken write instead of the refusal.
    """
    try:
        yield
    except StoreError:
        async for _ in requests:
            pass
        raise


async def gather(sizes: Sequence[int], chunks: AsyncIterator[bytes]) -> list[bytes]:
    """The bodies whose octets the chunks carry one after another. Raises INVALID_ARGUMENT for too few or too many."""
    left = sum(sizes)
    octets = bytearray()
    async for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise StoreError(Reason.INVALID_ARGUMENT)
        octets += chunk
    if left:
        raise StoreError(Reason.INVALID_ARGUMENT)
    view, bodies, start = memoryview(octets), [], 0
    for size in sizes:
        bodies.append(bytes(view[start : start + size]))
        start += size
    return bodies
