"""What the store's rules need of an engine: transactions over one SQL schema, and immutable bodies.

The rules (`services.store.mailstore`) are coroutines over `Transaction`, written once in the SQL that SQLite and
PostgreSQL share (`$1` parameters, `RETURNING`, `ON CONFLICT`). An engine runs them as it likes: SQLite drives the
coroutine to its end in its writer thread, where nothing ever suspends; an engine behind a network awaits for real.
A rule must therefore await nothing but its transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Value = int | str | bytes | None
Row = tuple[Value, ...]
T = TypeVar("T")


class Transaction(Protocol):
    """One transaction: all of it or nothing."""

    async def fetch(self, sql: str, *parameters: Value) -> list[Row]:
        """All rows of a query (or of RETURNING)."""

    async def fetch_row(self, sql: str, *parameters: Value) -> Row | None:
        """The first row or None."""

    async def execute(self, sql: str, *parameters: Value) -> int:
        """Run a statement; returns how many rows it changed."""

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        """Run a statement for each row of parameters."""

    def recall(self, key: Hashable) -> Any:
        """What an earlier rule kept, where nothing was written since but by rules that keep what they change. None
        otherwise: an engine may keep nothing.
        """

    def keep(self, key: Hashable, value: Any) -> None:
        """Keep what a rule knows for the rules after it. A rule that writes calls `recall` before and this after all
        its statements, and promises that whatever is kept is true then.
        """


Rule = Callable[[Transaction], Awaitable[T]]


class Database(Protocol):
    """An engine. `write` returns only after the commit is durable; concurrent writes share one commit (group commit).

    A rule that raises is rolled back alone, its exception reaches its caller, and the rest of the group commits.
    Raises StoreError STORAGE_FULL, STORAGE_CORRUPT, RESOURCE_EXHAUSTED (queue full), INTERNAL.
    """

    async def read(self, rule: Rule[T]) -> T:
        """Run a rule that only reads, on a consistent snapshot, beside other reads and writes."""

    async def write(self, rule: Rule[T], *, committed: Callable[[T], None] | None = None) -> T:
        """Run a rule. `committed` is called in the event loop after the commit, in commit order, before the awaiting
        caller resumes: the change feed hangs on it.
        """

    async def close(self) -> None:
        """Finish what is queued, then release files and threads."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a body lies. `segment` 0 means that it cannot be read by reference (for example in memory)."""

    segment: int
    offset: int
    length: int


class BodyStore(Protocol):
    """Immutable bodies. A body is durable when `put` returns; concurrent puts share one flush."""

    async def put(self, body: bytes, digest: bytes) -> Location:
        """Keep a body (`digest`: its BLAKE2b-256). Raises STORAGE_FULL."""

    def begin(self, body: bytes, digest: bytes) -> asyncio.Future[Location]:
        """As `put`, for a caller that has other work while the body is written. Raises for want of room."""

    async def read(self, location: Location, digest: bytes, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a body; the digest is verified when the whole is read. Raises STORAGE_CORRUPT, MESSAGE_NOT_FOUND."""

    def read_now(self, location: Location, digest: bytes) -> bytes | None:
        """A whole body where it can be had at once, None where `read` must be asked. Its digest was verified now or
        when it was last read from there.
        """

    async def close(self) -> None:
        """Flush and close."""
