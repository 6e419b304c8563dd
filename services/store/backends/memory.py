"""The store in memory, for tests: the same SQL engine without a file, and bodies in a list."""

from __future__ import annotations

import asyncio

from services.common.errors import Reason, StoreError
from services.store.backends import Location
from services.store.backends.digests import matches
from services.store.backends.sqlite import SqliteDatabase


class MemoryBodyStore:
    """`BodyStore` in memory. Its locations have segment 0: there is nothing to read by reference."""

    def __init__(self) -> None:
        self._bodies: list[bytes] = []
        self._closed = False

    async def put(self, body: bytes, digest: bytes) -> Location:
        """Keep a body; `offset` is its number."""
        return await self.begin(body, digest)

    def begin(self, body: bytes, digest: bytes) -> asyncio.Future[Location]:
        """See `put`."""
        if self._closed:
            raise StoreError(Reason.UNAVAILABLE)
        self._bodies.append(bytes(body))
        placed: asyncio.Future[Location] = asyncio.get_running_loop().create_future()
        placed.set_result(Location(0, len(self._bodies) - 1, len(body)))
        return placed

    async def read(self, location: Location, digest: bytes, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a body. Raises MESSAGE_NOT_FOUND, STORAGE_CORRUPT."""
        if location.segment != 0 or not 0 <= location.offset < len(self._bodies):
            raise StoreError(Reason.MESSAGE_NOT_FOUND)
        body = self._bodies[location.offset]
        end = location.length if length is None else min(offset + length, location.length)
        if offset == 0 and end == location.length and not matches(body, digest):
            raise StoreError(Reason.STORAGE_CORRUPT)
        return body[offset:end]

    def read_now(self, location: Location, digest: bytes) -> bytes | None:
        """A whole body."""
        known = location.segment == 0 and 0 <= location.offset < len(self._bodies)
        body = self._bodies[location.offset] if known else None
        return body if body is not None and matches(body, digest) else None

    async def close(self) -> None:
        """Take no more bodies."""
        self._closed = True


async def open_memory() -> tuple[SqliteDatabase, MemoryBodyStore]:
    """An empty store in memory, ready for rules."""
    return await SqliteDatabase.open_memory(), MemoryBodyStore()
