"""An account's messages over all its mailboxes, and blobs that were uploaded: what JMAP is made of (RFC 8620, 8621).

A blob that nothing is made of yet is a dead content whose death lies ahead: it is found by its digest, is read like
every body, and goes as every dead body goes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar, cast

from services.common.domain import AccountId, BodyRef, Column, Columns, EmailDelta, MailboxId, Places
from services.common.errors import Reason, StoreError
from services.store.backends import BodyStore, Database, Location, Rule, Transaction
from services.store.backends.digests import digest_of
from services.store.mailstore import account, contents, mailboxes, messages

T = TypeVar("T")

BLOB_SECONDS: Final = 86_400
"""How long a blob is kept that nothing was made of (RFC 8620 section 6.1 asks for an hour)."""
MAX_BLOB_BYTES: Final = 1 << 30
"""Bytes of such blobs that an account may have."""
MAX_CONTENTS: Final = 10_000
MAX_DIGESTS: Final = 1_000
CHUNK: Final = 100
_OF_CONTENTS: Final = (
    Column.ENVELOPE | Column.BODYSTRUCTURE | Column.HEADERS | Column.LOCATION | Column.PREVIEW | Column.SENTDATE
)

_PLACES: Final = (
    "SELECT m.content_id, c.thread_id, m.mailbox_id, m.uid, m.flags, m.internaldate, m.size FROM messages m"
    " JOIN contents c ON c.account_id = m.account_id AND c.content_id = m.content_id"
    " WHERE m.account_id = $1 AND m.mailbox_id = $2 AND m.modseq > $3"
)
_GONE: Final = (
    "SELECT content_id, thread_id, mailbox_id, uid FROM expunged"
    " WHERE account_id = $1 AND mailbox_id = $2 AND modseq > $3"
)
_BLOB: Final = (
    'INSERT INTO dead_contents (account_id, content_id, segment, "offset", length, digest, died)'
    " VALUES ($1, $2, $3, $4, $5, $6, $7)"
)


class EmailRules:
    """Implements `services.common.store.Emails`."""

    def __init__(
        self, database: Database, bodies: BodyStore, clock: Callable[[], float], check_size: Callable[[int], None]
    ) -> None:
        self._database = database
        self._bodies = bodies
        self._clock = clock
        self._check_size = check_size

    async def sync(self, account_id: AccountId, since: int = 0) -> EmailDelta:
        """See `Emails.sync`."""
        return await self._read(lambda tx: _sync(tx, account_id, since))

    async def fetch(self, account_id: AccountId, content_ids: Sequence[int], columns: Column) -> Columns:
        """See `Emails.fetch`."""
        if columns & ~_OF_CONTENTS or len(content_ids) > MAX_CONTENTS:
            raise StoreError(Reason.INVALID_ARGUMENT)
        return await self._read(lambda tx: _fetch(tx, account_id, content_ids, columns))

    async def upload(self, account_id: AccountId, data: bytes) -> BodyRef:
        """See `Emails.upload`."""
        self._check_size(len(data))
        now = int(self._clock())
        await self._read(lambda tx: _check_room(tx, account_id, len(data), now))
        digest = digest_of(data)
        location = await self._bodies.put(data, digest)
        await self._database.write(lambda tx: _keep(tx, account_id, digest, location, now))
        return _ref(digest, location)

    async def find(self, account_id: AccountId, digests: Sequence[bytes]) -> Sequence[BodyRef]:
        """See `Emails.find`."""
        if len(digests) > MAX_DIGESTS or any(len(digest) != 32 for digest in digests):
            raise StoreError(Reason.INVALID_ARGUMENT)
        return await self._read(lambda tx: _find(tx, account_id, digests))

    async def _read(self, rule: Rule[T]) -> T:
        return await self._database.read(rule)


async def _sync(tx: Transaction, account_id: AccountId, since: int) -> EmailDelta:
    row: Any = await tx.fetch_row("SELECT modseq, next_id FROM accounts WHERE account_id = $1", account_id)
    if row is None:
        raise StoreError(Reason.ACCOUNT_NOT_FOUND)
    delta = EmailDelta(account_id, since, *row)
    if since > delta.modseq or (since and await _is_forgotten(tx, account_id, since)):
        delta.since = since = 0
    if since == delta.modseq:
        return delta
    if since:
        delta.gone_mailboxes = await _gone_mailboxes(tx, account_id, since)
        for mailbox_id in delta.gone_mailboxes:
            _extend(delta.gone, _GONE_COLUMNS, await tx.fetch(_GONE, account_id, mailbox_id, since))
    for box in await mailboxes.statuses(tx, account_id):
        if box.modseq > since:
            delta.mailboxes.append(box)
            _extend(delta.places, _PLACE_COLUMNS, await tx.fetch(_PLACES, account_id, box.mailbox_id, since))
            if since:
                _extend(delta.gone, _GONE_COLUMNS, await tx.fetch(_GONE, account_id, box.mailbox_id, since))
    return delta


_GONE_COLUMNS: Final = ("content_ids", "thread_ids", "mailbox_ids", "uids")
_PLACE_COLUMNS: Final = (*_GONE_COLUMNS, "flags", "internaldates", "sizes")


def _extend(places: Places, names: Sequence[str], rows: Sequence[Any]) -> None:
    if rows:
        for name, values in zip(names, zip(*rows, strict=True), strict=True):
            getattr(places, name).extend(values)


async def _is_forgotten(tx: Transaction, account_id: AccountId, since: int) -> bool:
    """Whether something went after that of which nothing is known any more, or never was."""
    questions = (
        "SELECT 1 FROM mailboxes WHERE account_id = $1 AND history_floor > $2 LIMIT 1",
        # Its messages went with it, without a word for each.
        "SELECT 1 FROM gone_mailboxes WHERE account_id = $1 AND modseq > $2 AND messages > 0 LIMIT 1",
        "SELECT 1 FROM mailboxes b JOIN expunged e USING (account_id, mailbox_id)"
        " WHERE b.account_id = $1 AND b.modseq > $2 AND e.modseq > $2 AND e.content_id = 0 LIMIT 1",
    )
    for question in questions:
        if await tx.fetch_row(question, account_id, since) is not None:
            return True
    return False


async def _gone_mailboxes(tx: Transaction, account_id: AccountId, since: int) -> list[MailboxId]:
    rows = await tx.fetch(
        "SELECT mailbox_id FROM gone_mailboxes WHERE account_id = $1 AND modseq > $2", account_id, since
    )
    return [mailbox_id for (mailbox_id,) in cast("list[tuple[MailboxId]]", rows)]


async def _fetch(tx: Transaction, account_id: AccountId, content_ids: Iterable[int], columns: Column) -> Columns:
    await account.require(tx, account_id)
    wanted = sorted({number for number in content_ids if 0 < number < 1 << 62})
    fillers = [messages.FILLERS[column] for column in messages.FILLERS if column in columns]
    names = ["c.content_id", "c.thread_id", *(sql for filler in fillers for sql in filler.sql)]
    places = ", ".join(f"${place + 2}" for place in range(CHUNK))
    sql = (
        f"SELECT {', '.join(names)} FROM contents c WHERE c.account_id = $1 AND c.content_id IN ({places})"
        " ORDER BY c.content_id"
    )
    rows: list[Any] = []
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        rows += await tx.fetch(sql, account_id, *chunk, *([0] * (CHUNK - len(chunk))))
    if not rows:
        return Columns()
    values: list[Sequence[Any]] = list(zip(*rows, strict=True))
    found = Columns(content_ids=array("Q", values[0]), thread_ids=array("Q", values[1]))
    at = 2
    for filler in fillers:
        filler.fill(found, values[at : at + len(filler.sql)])
        at += len(filler.sql)
    return found


async def _check_room(tx: Transaction, account_id: AccountId, size: int, now: int) -> None:
    await account.require(tx, account_id)
    row: Any = await tx.fetch_row(
        "SELECT COALESCE(SUM(length), 0) FROM dead_contents WHERE account_id = $1 AND died > $2", account_id, now
    )
    if row[0] + size > MAX_BLOB_BYTES:
        raise StoreError(Reason.OVER_QUOTA)


async def _keep(tx: Transaction, account_id: AccountId, digest: bytes, location: Location, now: int) -> None:
    _, content_id = await account.advance(tx, account_id, ids=1)
    await tx.execute(
        _BLOB, account_id, content_id, location.segment, location.offset, location.length, digest, now + BLOB_SECONDS
    )


async def _find(tx: Transaction, account_id: AccountId, digests: Sequence[bytes]) -> list[BodyRef]:
    await account.require(tx, account_id)
    found = []
    for digest in digests:
        location = await contents.locate(tx, account_id, digest)
        if location is not None:
            found.append(_ref(digest, location))
    return found


def _ref(digest: bytes, location: Location) -> BodyRef:
    return BodyRef(digest, location.length, location.segment, location.offset)
