"""Columns of a mailbox (sizes, envelopes, ...), fetched from the store when first asked for, in bulk, and kept.

A column is a list that runs parallel to the mailbox's UIDs, None where not loaded. One fetch takes some hundred
neighbours along, so that a client that walks through a mailbox, or hops about in it, soon asks the store nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from services.common.domain import BodyRef, Column, Columns

if TYPE_CHECKING:
    from services.common.store import Store
    from services.imap.cache import Cache
    from services.imap.sharedmailbox import SharedMailbox

READ_AHEAD: Final = 512
BATCH: Final = 4096
"""Rows of one call to the store."""
EVERYTHING: Final = (
    Column.INTERNALDATE
    | Column.SENTDATE
    | Column.SIZE
    | Column.ENVELOPE
    | Column.BODYSTRUCTURE
    | Column.HEADERS
    | Column.LOCATION
)
"""What a session may still ask of a message that another one is about to expunge."""

_VALUES: Final[dict[Column, Callable[[Columns], Sequence[Any]]]] = {
    Column.INTERNALDATE: lambda columns: columns.internaldates,
    Column.SIZE: lambda columns: columns.sizes,
    Column.ENVELOPE: lambda columns: columns.envelopes,
    Column.BODYSTRUCTURE: lambda columns: columns.bodystructures,
    Column.HEADERS: lambda columns: columns.headers,
    Column.LOCATION: lambda columns: list(zip(columns.locations, columns.header_sizes, strict=True)),
    Column.SAVEDATE: lambda columns: columns.savedates,
    Column.CONTENT: lambda columns: list(zip(columns.content_ids, columns.thread_ids, strict=True)),
    Column.PREVIEW: lambda columns: columns.previews,
    Column.SENTDATE: lambda columns: columns.sentdates,
}
_WEIGHTS: Final[dict[Column, int]] = {Column.LOCATION: 320, Column.CONTENT: 120}
"""Bytes of a value in memory, where it is not a number or a text."""
_NUMBER_BYTES: Final = 40
_TEXT_BYTES: Final = 41


class ColumnReader:
    """Loads columns into mailboxes, and counts their memory."""

    def __init__(self, store: Store, cache: Cache) -> None:
        self._store = store
        self._cache = cache

    def touch(self, shared: SharedMailbox, kinds: Iterable[Column]) -> None:
        """The columns were used."""
        for kind in kinds:
            self._cache.touch((shared, kind))

    async def load(self, shared: SharedMailbox, kinds: Column, uids: Sequence[int]) -> None:
        """Fetch what is missing for the messages, and for some after them. Messages that are gone stay without."""
        if shared.loading is None:
            shared.loading = asyncio.Lock()
        async with shared.loading:
            gone: set[int] = set()
            # Again, as long as something that was here is dropped while the rest is fetched.
            while wanted := self._missing(shared, kinds, [uid for uid in uids if uid not in gone]):
                for start in range(0, len(wanted), BATCH):
                    gone.update(await self._fetch(shared, kinds, wanted[start : start + BATCH]))
        # Not now: who waited for the columns must find all of them when it goes on.
        asyncio.get_running_loop().call_soon(self._cache.shrink)

    async def rescue(self, shared: SharedMailbox) -> None:
        """Load what other sessions may still ask of messages that are about to be expunged."""
        doomed, shared.doomed = shared.doomed, []
        if doomed and len(shared.views) > 1:
            await self.load(shared, EVERYTHING, sorted(doomed))

    def _missing(self, shared: SharedMailbox, kinds: Column, uids: Sequence[int]) -> list[int]:
        self.touch(shared, kinds)
        lists = [self._column(shared, kind) for kind in kinds]
        missing = _lacking(lists, [place for place in map(shared.index, uids) if place >= 0])
        if missing and len(missing) < READ_AHEAD:
            missing = self._widened(lists, missing, len(shared.uids))
        return [shared.uids[place] for place in missing]

    @staticmethod
    def _widened(lists: list[list[Any]], missing: list[int], count: int) -> list[int]:
        """The missing places and neighbours of the first, half a read-ahead to both sides where there are so many."""
        first = max(0, min(missing[0] - READ_AHEAD // 2, count - READ_AHEAD))
        return sorted({*missing, *_lacking(lists, range(first, min(count, first + READ_AHEAD)))})

    @staticmethod
    def _column(shared: SharedMailbox, kind: Column) -> list[Any]:
        column = shared.columns.get(kind)
        if column is None:
            column = shared.columns[kind] = [None] * len(shared.uids)
        return column

    async def _fetch(self, shared: SharedMailbox, kinds: Column, uids: Sequence[int]) -> set[int]:
        """Fetch and put in place; the messages that are no more."""
        columns = await self._store.fetch_columns(shared.account_id, shared.mailbox_id, kinds, uids)
        places = list(map(shared.index, columns.uids))
        for kind in kinds:
            values = _VALUES[kind](columns)
            column = self._column(shared, kind)
            for place, uid, value in zip(places, columns.uids, values, strict=True):
                if place >= 0:
                    column[place] = value
                elif uid in shared.ghosts:
                    shared.ghosts[uid].values[kind] = value
            self._count(shared, kind, _weight(kind, values))
        return set(uids).difference(columns.uids)

    def _count(self, shared: SharedMailbox, kind: Column, size: int) -> None:
        total = shared.weights[kind] = shared.weights.get(kind, 8 * len(shared.uids)) + size
        self._cache.hold((shared, kind), total, lambda: _drop(shared, kind))


def _lacking(lists: list[list[Any]], places: Iterable[int]) -> list[int]:
    """The places where one of the columns has no value."""
    if len(lists) == 1:
        (column,) = lists
        return [place for place in places if column[place] is None]
    return [place for place in places if any(column[place] is None for column in lists)]


def _drop(shared: SharedMailbox, kind: Column) -> None:
    shared.columns.pop(kind, None)
    shared.weights.pop(kind, None)


def _weight(kind: Column, values: Sequence[Any]) -> int:
    each = _WEIGHTS.get(kind)
    if each is not None:
        return each * len(values)
    if values and isinstance(values[0], (bytes, str)):
        return sum(map(len, values)) + _TEXT_BYTES * len(values)
    return _NUMBER_BYTES * len(values)


Located = tuple[BodyRef, int]
"""A value of the LOCATION column: where the message lies, and the length of its header."""
