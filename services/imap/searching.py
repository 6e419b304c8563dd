"""SEARCH: a boolean program over columns (RFC 9051 section 6.4.4).

A set of messages is a number with one byte per message of the view, 0 or 1, so that AND, OR and NOT of whole mailboxes
are single operations. Flags, dates and sizes become such numbers column-wise; text keys are answered by the store, once
per key and mailbox, and only new mail is asked about after that. What a program needs is loaded first; then it is
evaluated on one state of the mailbox.
"""

from __future__ import annotations

import sys
from array import array
from asyncio import get_running_loop
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import compress
from operator import and_, or_
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from services.common.domain import KEYWORD_SHIFT, Column, TextKey
from services.imap.chunk import Chunk
from services.imap.commands.search import (
    All,
    And,
    Date,
    DateField,
    DateOrder,
    Flag,
    Keyword,
    Larger,
    Messages,
    Not,
    Or,
    Recent,
    SearchKey,
    Smaller,
    Text,
)
from services.imap.view import View

if TYPE_CHECKING:
    from services.common.store import Store
    from services.imap.cache import Cache
    from services.imap.columns import ColumnReader
    from services.imap.sharedmailbox import SharedMailbox

Mask: TypeAlias = int
DAY: Final = 86_400
NO_DATE: Final = -1
NO_COLUMNS: Final = Column(0)
MAX_RESULTS: Final = 64
"""Programs, and text keys, whose answers a mailbox keeps."""
AT_ONCE: Final = 500_000
"""Messages times keys that are looked at without letting others run, some 50 ms at most."""
FLAG_BYTES: Final = 8
_BITS: Final = [bytes(byte >> bit & 1 for byte in range(256)) for bit in range(8)]
"""Translation tables: a byte to one of its bits."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: places in the view, and texts made of them, each once."""

    stamp: tuple[Any, ...]
    places: list[int]
    texts: dict[Any, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Hits:
    """Answers of the store to one text key: the matching UIDs up to `upto`."""

    upto: int
    uids: array[int]


@dataclass(slots=True)
class Needs:
    """What a program looks at."""

    columns: Column = NO_COLUMNS
    texts: list[TextKey] = field(default_factory=list)
    keys: int = 0
    flags: bool = False
    recent: bool = False
    saved: bool = False


class Searches:
    """Runs programs, and keeps their results until the mailbox changes."""

    def __init__(self, store: Store, columns: ColumnReader, cache: Cache) -> None:
        self._store = store
        self._columns = columns
        self._cache = cache

    def known(self, view: View, key: SearchKey) -> Found | None:
        """The result, where the same was searched for and nothing changed since."""
        found: Found | None = view.shared.searches.get(key)
        if found is None or not view.current or found.stamp != _stamp(view, needs_of(key)):
            return None
        self._cache.touch((view.shared, "searches"))
        return found

    async def run(self, view: View, key: SearchKey) -> Found:
        """Search. Raises StoreError, and OutOfRangeError for sequence numbers that no message has."""
        needs = needs_of(key)
        everything = Chunk(view, range(view.count))
        if not everything.take(needs.columns):
            await self._columns.load(view.shared, needs.columns, everything.uids)
            everything.take(needs.columns)
        hits = await self._hits(view.shared, needs.texts)
        found = Found(_stamp(view, needs), await self._places(Evaluation(view, everything, hits, needs), key, needs))
        if view.current and not needs.saved:
            self._keep(view.shared, key, found)
        return found

    @staticmethod
    async def _places(evaluation: Evaluation, key: SearchKey, needs: Needs) -> list[int]:
        """At once, or in a thread where that would hold the others up."""
        if needs.keys * evaluation.count <= AT_ONCE:
            return evaluation.places(key)
        return await get_running_loop().run_in_executor(None, evaluation.places, key)

    async def _hits(self, shared: SharedMailbox, keys: Sequence[TextKey]) -> dict[TextKey, Hits]:
        """Ask the store for what is not known: keys never asked, and new mail for the others."""
        top = shared.top
        hits = {key: shared.hits.get(key) or Hits(0, array("I")) for key in keys}
        for upto in {known.upto for known in hits.values() if known.upto < top}:
            behind = [key for key, known in hits.items() if known.upto == upto]
            answers = await self._store.search_text(shared.account_id, shared.mailbox_id, behind, upto + 1)
            for key, uids in zip(behind, answers, strict=True):
                new = uids[: bisect_left(uids, top + 1)]
                hits[key] = Hits(top, hits[key].uids + new)
        for key, known in hits.items():
            self._keep_hits(shared, key, known)
        return hits

    def _keep(self, shared: SharedMailbox, key: SearchKey, found: Found) -> None:
        if len(shared.searches) >= MAX_RESULTS:
            shared.searches.clear()
        shared.searches[key] = found
        self._count(shared)

    def _keep_hits(self, shared: SharedMailbox, key: TextKey, hits: Hits) -> None:
        older = shared.hits.get(key)
        if older is not None and older.upto >= hits.upto:
            return
        if len(shared.hits) >= MAX_RESULTS:
            shared.hits.clear()
        shared.hits[key] = hits
        self._count(shared)

    def _count(self, shared: SharedMailbox) -> None:
        size = sum(40 * len(found.places) + 512 for found in shared.searches.values())
        size += sum(4 * len(hits.uids) + 512 for hits in shared.hits.values())
        self._cache.keep((shared, "searches"), size, partial(_drop, shared))


def _drop(shared: SharedMailbox) -> None:
    shared.searches.clear()
    shared.hits.clear()


def _stamp(view: View, needs: Needs) -> tuple[Any, ...]:
    shared = view.shared
    flags = shared.flags_version if needs.flags else 0
    return shared.generation, view.count, flags, view.recent_from if needs.recent else 0, needs.saved


# ---- what a program needs
def needs_of(key: SearchKey) -> Needs:
    """Everything that the keys of a program look at."""
    needs = Needs()
    for part in _keys(key):
        needs.keys += 1
        if isinstance(part, Text):
            needs.texts.append(part.key)
        elif isinstance(part, Messages):
            needs.saved = needs.saved or part.messages.saved
        elif isinstance(part, (Flag, Keyword)):
            needs.flags = True
        elif isinstance(part, Recent):
            needs.recent = True
        elif isinstance(part, Date):
            needs.columns |= _DATE_COLUMNS[part.field]
        elif isinstance(part, (Larger, Smaller)):
            needs.columns |= Column.SIZE
    return needs


def _keys(key: SearchKey) -> Iterator[SearchKey]:
    """The program's keys, combinations included."""
    pending = [key]
    while pending:
        part = pending.pop()
        yield part
        if isinstance(part, (And, Or)):
            pending.extend(part.keys)
        elif isinstance(part, Not):
            pending.append(part.key)


_DATE_COLUMNS: Final = {DateField.INTERNAL: Column.INTERNALDATE, DateField.SENT: Column.SENTDATE}


# ---- evaluation
class Evaluation:
    """One program on one state of a view: what may change meanwhile is taken at the start."""

    def __init__(self, view: View, everything: Chunk, hits: dict[TextKey, Hits], needs: Needs) -> None:
        self._view = view
        self._all = everything
        self._flags = everything.flags if needs.flags else ()
        self._keywords = view.shared.keywords
        self._hits = hits
        self.count = len(everything)
        """How many messages are looked at."""
        self._full = int.from_bytes(b"\1" * self.count, "little")

    def places(self, key: SearchKey) -> list[int]:
        """Where the messages that match are in the view."""
        if not self.count:
            return []
        mask = self.mask(key).to_bytes(self.count, "little")
        return list(compress(range(self.count), mask))

    def mask(self, key: SearchKey) -> Mask:
        """The messages that match."""
        return _MASKS[type(key)](self, key)

    def everything(self, key: All) -> Mask:
        return self._full

    def conjunction(self, key: And) -> Mask:
        return reduce(and_, map(self.mask, key.keys), self._full)

    def disjunction(self, key: Or) -> Mask:
        return reduce(or_, map(self.mask, key.keys), 0)

    def negation(self, key: Not) -> Mask:
        return self._full ^ self.mask(key.key)

    def messages(self, key: Messages) -> Mask:
        return self._of_spans(self._view.spans(key.messages, uid=key.uid))

    def flag(self, key: Flag) -> Mask:
        return self._flag_bit(key.bit.bit_length() - 1)

    def keyword(self, key: Keyword) -> Mask:
        wanted = key.keyword.lower()
        for bit, keyword in enumerate(self._keywords, KEYWORD_SHIFT):
            if keyword.lower() == wanted:
                return self._flag_bit(bit)
        return 0

    def recent(self, key: Recent) -> Mask:
        view = self._view
        return self._of_spans([(view.count - view.recent, view.count)])

    def date(self, key: Date) -> Mask:
        values = self._all.values[_DATE_COLUMNS[key.field]]
        unit = DAY if key.field is DateField.INTERNAL else 1
        start, end = key.day * unit, (key.day + 1) * unit
        mask = self._where(_DATE_TESTS[key.order](start, end), values)
        if key.field is DateField.SENT:
            mask &= self._full ^ self._where(NO_DATE.__eq__, values)
        return mask

    def larger(self, key: Larger) -> Mask:
        return self._where(key.size.__lt__, self._all.values[Column.SIZE])

    def smaller(self, key: Smaller) -> Mask:
        return self._where(key.size.__gt__, self._all.values[Column.SIZE])

    def text(self, key: Text) -> Mask:
        mask = bytearray(self.count)
        for place in map(self._view.place, self._hits[key.key].uids):
            if place >= 0:
                mask[place] = 1
        return int.from_bytes(mask, "little")

    def _flag_bit(self, bit: int) -> Mask:
        """The flags' memory, every eighth byte of it, and one bit of that."""
        flags = self._flags
        packed = flags if isinstance(flags, array) else array("Q", flags)
        byte = bit // 8 if sys.byteorder == "little" else FLAG_BYTES - 1 - bit // 8
        return int.from_bytes(packed.tobytes()[byte::FLAG_BYTES].translate(_BITS[bit % 8]), "little")

    def _of_spans(self, spans: Sequence[tuple[int, int]]) -> Mask:
        mask = bytearray(self.count)
        for start, stop in spans:
            mask[start:stop] = b"\1" * (stop - start)
        return int.from_bytes(mask, "little")

    def _where(self, test: Callable[[Any], bool], values: Sequence[Any]) -> Mask:
        """The messages whose value passes; a value that cannot be known any more does not."""
        if None in values:
            return int.from_bytes(bytes(value is not None and test(value) for value in values), "little")
        return int.from_bytes(bytes(map(test, values)), "little")


def _on(start: int, end: int) -> Callable[[int], bool]:
    return lambda value: start <= value < end


_DATE_TESTS: Final[dict[DateOrder, Callable[[int, int], Callable[[Any], bool]]]] = {
    DateOrder.BEFORE: lambda start, end: start.__gt__,
    DateOrder.ON: _on,
    DateOrder.SINCE: lambda start, end: start.__le__,
}
_MASKS: Final[dict[type[Any], Callable[[Evaluation, Any], Mask]]] = {
    All: Evaluation.everything,
    And: Evaluation.conjunction,
    Or: Evaluation.disjunction,
    Not: Evaluation.negation,
    Messages: Evaluation.messages,
    Flag: Evaluation.flag,
    Keyword: Evaluation.keyword,
    Recent: Evaluation.recent,
    Date: Evaluation.date,
    Larger: Evaluation.larger,
    Smaller: Evaluation.smaller,
    Text: Evaluation.text,
}
