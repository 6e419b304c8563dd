"""Text search: exact substrings of decoded, folded text (RFC 9051 section 6.4.4).

Texts are searched in SQL, narrowed by the engine's index as far as that goes; messages whose text is not made are
read. What a message says never changes, so an answer is kept and only ever extended: the next search for the same
looks at messages that came since, and leaves out those that went.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from services.common.domain import AccountId, BodyRef, MailboxId, TextField, TextKey
from services.common.errors import Reason, StoreError
from services.common.mime.text import fold
from services.store.backends import Database, Transaction, Value
from services.store.mailstore.history import expunged_since
from services.store.mailstore.indexing import TextMaker
from services.store.mailstore.messages import LOCATION
from services.store.textindex import COLUMNS, State, TextIndex, Texts, storable

KEPT_UIDS: Final = 4_000_000
"""UIDs of answers that are kept (4 bytes each); an answer counts as a few more than it has."""
_ANSWER_COST: Final = 64
SMALL: Final = 200
"""In a mailbox of so few messages each text is looked at: cheaper than asking an index over the account."""
AT_ONCE: Final = 2
"""Searches that an engine runs at once: whatever people search for, a thread is left for what others only look up."""
_READ_BYTES: Final = 4 << 20
_READ_COUNT: Final = 32

_FIELDS: Final[dict[TextField, tuple[str, ...]]] = {
    TextField.SUBJECT: ("subject_text",),
    TextField.FROM: ("from_text",),
    TextField.TO: ("to_text",),
    TextField.CC: ("cc_text",),
    TextField.BCC: ("bcc_text",),
    TextField.HEADER: ("header_text",),
    TextField.BODY: ("body_text",),
    TextField.TEXT: ("header_text", "body_text"),
}
_PLACE: Final = {column: place for place, column in enumerate(COLUMNS)}
_TEXTS: Final = "t.account_id = m.account_id AND t.content_id = m.content_id"
_MAILBOX: Final = "m.account_id = $1 AND m.mailbox_id = $2 AND m.uid >= $3"
_UNMADE: Final = (
    f"SELECT m.uid, {LOCATION} FROM text_queue q CROSS JOIN messages m CROSS JOIN contents c"
    f" WHERE q.state IN ({State.WAITING:d}, {State.UNKEPT:d}) AND q.account_id = $1 AND m.content_id = q.content_id"
    f" AND {_MAILBOX} AND c.account_id = m.account_id AND c.content_id = m.content_id"
)
_UNINDEXED: Final = (
    "text_queue q",
    f"q.state IN ({State.MADE:d}, {State.LONG:d}) AND q.account_id = $1 AND m.content_id = q.content_id",
    (),
)
"""The same as what `TextIndex.narrow` gives: the texts that are kept and not indexed."""


Narrowing = tuple[str, str, Sequence[Value]]


@dataclass(frozen=True, slots=True)
class Probe:
    """A key made ready: folded, and with `name` where it asks for a header field of that name."""

    field: TextField
    needle: str
    name: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Where it looks."""
        return _FIELDS[self.field]

    @property
    def everywhere(self) -> bool:
        """Whether every message has what it asks for."""
        return not self.needle and not self.name

    def in_header(self, header: str) -> bool:
        """For a header field: whether one of its lines in a header's text holds the needle.

        In linear time, which a regular expression would not take: everybody may send a header, and search it.
        """
        field, at = f"{self.name}: ", 0
        while (at := _line_start(header, field, at)) >= 0:
            at += len(field)
            end = header.find("\n", at)
            end = len(header) if end < 0 else end
            if header.find(self.needle, at, end) >= 0:
                return True
            at = end
        return False

    def matches(self, texts: Texts) -> bool:
        """Whether a text holds it."""
        if self.name:
            return self.in_header(texts[_PLACE["header_text"]])
        return any(self.needle in texts[_PLACE[column]] for column in self.columns)


def _line_start(text: str, start: str, position: int) -> int:
    """Where the first line that begins so is, at or after a position; -1 for none."""
    if position == 0 and text.startswith(start):
        return 0
    found = text.find("\n" + start, position)
    return found + 1 if found >= 0 else -1


def probe(key: TextKey) -> Probe:
    """A key made ready. An empty needle asks whether the field is there."""
    needle = storable(fold(key.needle))
    if key.field is TextField.HEADER:
        return Probe(key.field, needle, storable(fold(key.header.strip())))
    if not needle and key.field not in (TextField.BODY, TextField.TEXT):
        return Probe(TextField.HEADER, "", key.field.name.lower())
    return Probe(key.field, needle)


@dataclass(frozen=True, slots=True)
class _Answer:
    """UIDs that match, of those below `uidnext`, as the mailbox was at `modseq`."""

    modseq: int
    uidnext: int
    uids: array[int]


@dataclass(frozen=True, slots=True)
class _Found:
    """What SQL knows: the mailbox, matching UIDs of each probe, and the messages that are to be read.

    `asked` is the search without the kept answers that were too old.
    """

    asked: _Asked
    modseq: int
    uidnext: int
    uids: list[set[int]]
    unmade: list[tuple[int, BodyRef]]


class Searcher:
    """Answers searches, and remembers the answers."""

    def __init__(self, database: Database, maker: TextMaker, index: TextIndex) -> None:
        self._database = database
        self._maker = maker
        self._index = index
        self._kept: OrderedDict[tuple[AccountId, MailboxId, Probe], _Answer] = OrderedDict()
        self._size = 0
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def search(
        self, account_id: AccountId, mailbox_id: MailboxId, keys: Sequence[TextKey], uid_from: int
    ) -> list[array[int]]:
        """`Store.search_text`."""
        probes = [probe(key) for key in keys]
        known = [self._kept.get((account_id, mailbox_id, each)) for each in probes]
        asked = _Asked(account_id, mailbox_id, probes, known, uid_from)
        async with self._turn:
            found = await self._database.read(lambda tx: _find(tx, self._index, asked))
        asked = found.asked
        await self._read(found)
        answers = [array("I", sorted(uids)) for uids in found.uids]
        for place, uids in enumerate(answers):
            if asked.known[place] is not None or uid_from <= 1:
                self._keep((account_id, mailbox_id, probes[place]), _Answer(found.modseq, found.uidnext, uids))
        return [array("I", (uid for uid in uids if uid >= uid_from)) if uid_from > 1 else uids for uids in answers]

    def forget(self) -> None:
        """Keep no answer."""
        self._kept.clear()
        self._size = 0

    async def _read(self, found: _Found) -> None:
        """Add matches among the messages whose text is not made yet."""
        asked = found.asked
        for chunk in _chunks(found.unmade):
            texts = await self._maker.make(asked.account_id, [ref for _, ref in chunk])
            for (uid, _), text in zip(chunk, texts, strict=True):
                if text is None:
                    continue
                for place, each in enumerate(asked.probes):
                    if uid >= asked.start(place) and each.matches(text):
                        found.uids[place].add(uid)

    def _keep(self, key: tuple[AccountId, MailboxId, Probe], answer: _Answer) -> None:
        self._drop(key)
        self._kept[key] = answer
        self._size += len(answer.uids) + _ANSWER_COST
        while self._size > KEPT_UIDS:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[AccountId, MailboxId, Probe]) -> None:
        answer = self._kept.pop(key, None)
        if answer is not None:
            self._size -= len(answer.uids) + _ANSWER_COST


@dataclass(frozen=True, slots=True)
class _Asked:
    """One search. `known` are kept answers to its probes."""

    account_id: AccountId
    mailbox_id: MailboxId
    probes: list[Probe]
    known: list[_Answer | None]
    uid_from: int

    def start(self, place: int) -> int:
        """The UID from which a probe's answer is open."""
        answer = self.known[place]
        return self.uid_from if answer is None else answer.uidnext


async def _find(tx: Transaction, index: TextIndex, asked: _Asked) -> _Found:
    key = (asked.account_id, asked.mailbox_id)
    row = await tx.fetch_row(
        "SELECT modseq, uidnext, messages FROM mailboxes WHERE account_id = $1 AND mailbox_id = $2", *key
    )
    if row is None:
        raise StoreError(Reason.MAILBOX_NOT_FOUND)
    modseq, uidnext, messages = cast("tuple[int, int, int]", row)
    left = [None if answer is None else await _left(tx, key, answer, modseq) for answer in asked.known]
    asked = replace(
        asked,
        known=[None if uids is None else answer for uids, answer in zip(left, asked.known, strict=True)],
    )
    found = _Found(asked, modseq, uidnext, [uids or set() for uids in left], [])
    for place, each in enumerate(asked.probes):
        if asked.start(place) < uidnext:
            narrowing = None if messages <= SMALL else index.narrow(asked.account_id, each.needle, 4)
            for part in (None,) if narrowing is None else (narrowing, _UNINDEXED):
                found.uids[place].update(await _matches(tx, index, (*key, asked.start(place)), each, part))
    first = min((asked.start(place) for place in range(len(asked.probes))), default=uidnext)
    if first < uidnext and not all(each.everywhere for each in asked.probes):
        rows_unmade: Any = await tx.fetch(_UNMADE, *key, first)
        found.unmade.extend((uid, BodyRef(*place)) for uid, *place in rows_unmade)
    return found


async def _left(tx: Transaction, key: tuple[AccountId, MailboxId], answer: _Answer, modseq: int) -> set[int] | None:
    """What is there still of an earlier answer; None where it is no longer known what went since."""
    uids = set(answer.uids)
    if answer.modseq < modseq:
        gone = await expunged_since(tx, *key, answer.modseq)
        if gone is None:
            return None
        uids.difference_update(gone)
    return uids


async def _matches(
    tx: Transaction,
    index: TextIndex,
    key: tuple[AccountId, MailboxId, int],
    wanted: Probe,
    narrowing: Narrowing | None,
) -> Iterable[int]:
    """UIDs of messages whose stored text matches."""
    if wanted.everywhere:
        rows: Any = await tx.fetch(f"SELECT m.uid FROM messages m WHERE {_MAILBOX}", *key)
        return [uid for (uid,) in rows]
    table, condition, parameters = narrowing or ("", "", ())
    sources = " CROSS JOIN ".join(filter(None, (table, "messages m", "texts t")))
    conditions = [*filter(None, (condition,)), _MAILBOX, _TEXTS]
    given: list[Value] = [*key, *parameters]
    if wanted.needle:
        given.append(wanted.needle)
        conditions.append(" OR ".join(index.contains(column, len(given)) for column in wanted.columns))
    what = "m.uid, t.header_text" if wanted.name else "m.uid"
    where = " AND ".join(f"({each})" for each in conditions)
    rows = await tx.fetch(f"SELECT {what} FROM {sources} WHERE {where}", *given)
    if not wanted.name:
        return [uid for (uid,) in rows]
    return [uid for uid, header in rows if wanted.in_header(header)]


def _chunks(unmade: Sequence[tuple[int, BodyRef]]) -> Iterable[list[tuple[int, BodyRef]]]:
    """Messages to read at once, bounded by their bytes."""
    chunk: list[tuple[int, BodyRef]] = []
    size = 0
    for uid, ref in unmade:
        if chunk and (size + ref.length > _READ_BYTES or len(chunk) >= _READ_COUNT):
            yield chunk
            chunk, size = [], 0
        chunk.append((uid, ref))
        size += ref.length
    if chunk:
        yield chunk
