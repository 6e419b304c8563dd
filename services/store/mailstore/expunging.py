"""EXPUNGE, and what else takes messages out of a mailbox (RFC 9051 section 6.4.3, RFC 7162 section 3.2.7)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final

from services.common.domain import AccountId, ExpungeResult, MailboxId
from services.common.errors import Reason, StoreError
from services.store.backends import Transaction
from services.store.mailstore import account, box, contents, uidranges
from services.store.mailstore.box import Box, Counters
from services.store.mailstore.outcome import Outcome, change

_SELECT: Final = (
    "SELECT m.uid, m.content_id, m.flags, m.size FROM messages m WHERE m.account_id = $1 AND m.mailbox_id = $2"
)
_DELETED: Final = " AND (m.flags & 8) <> 0"
# Only the columns of the index messages_deleted, spelt as there: an engine then reads nothing but the index.
_ALL_DELETED: Final = (
    "SELECT m.uid FROM messages m WHERE m.account_id = $1 AND m.mailbox_id = $2 AND (m.flags & 8) <> 0"
)
RECORD: Final = (
    "INSERT INTO expunged (account_id, mailbox_id, uid, modseq, content_id, thread_id)"
    " SELECT m.account_id, m.mailbox_id, m.uid, $3, m.content_id, c.thread_id FROM messages m"
    " JOIN contents c ON c.account_id = m.account_id AND c.content_id = m.content_id"
    " WHERE m.account_id = $1 AND m.mailbox_id = $2"
)
"""Notes that messages went, and which; to be run before they do."""
_DELETE: Final = "DELETE FROM messages WHERE account_id = $1 AND mailbox_id = $2 AND uid BETWEEN $3 AND $4"

Doomed = Sequence[tuple[int, int, int, int]]
"""(uid, content id, flags, size), ascending."""


async def expunge(
    tx: Transaction,
    account_id: AccountId,
    mailbox_id: MailboxId,
    uids: Sequence[int] | None,
    now: int,
    regardless: bool = False,
) -> Outcome[ExpungeResult]:
    """`Store.expunge`."""
    found = await box.by_id(tx, account_id, mailbox_id)
    if regardless:
        if uids is None:
            raise StoreError(Reason.INVALID_ARGUMENT)
        return await remove(tx, account_id, found, await doomed(tx, account_id, mailbox_id, uids), now)
    rows: Doomed = []
    if found.deleted:
        wanted = await _all_deleted(tx, account_id, mailbox_id) if uids is None else uids
        rows = await uidranges.select(tx, _SELECT + _DELETED, (account_id, mailbox_id), wanted)
    return await remove(tx, account_id, found, rows, now)


async def _all_deleted(tx: Transaction, account_id: AccountId, mailbox_id: MailboxId) -> list[int]:
    rows: Any = await tx.fetch(_ALL_DELETED, account_id, mailbox_id)
    return [uid for (uid,) in rows]


async def doomed(tx: Transaction, account_id: AccountId, mailbox_id: MailboxId, uids: Sequence[int]) -> Doomed:
    """Messages to remove whatever their flags."""
    return await uidranges.select(tx, _SELECT, (account_id, mailbox_id), uids)


async def remove(tx: Transaction, account_id: AccountId, found: Box, rows: Doomed, now: int) -> Outcome[ExpungeResult]:
    """Take messages out of their mailbox and let go of their contents."""
    previous = found.modseq
    gone = [row[0] for row in rows]
    if rows:
        counters = removal(rows)
        modseq, _ = await account.advance(tx, account_id, size=counters.size, messages=counters.messages)
        await forget(tx, account_id, found, gone, modseq)
        await contents.release(tx, account_id, [row[1] for row in rows], now)
        await box.count(tx, account_id, found, modseq, counters)
    changes = [change(account_id, found, previous, expunged=gone)] if rows else []
    return Outcome(ExpungeResult(found.status(), previous, array("I", gone)), changes)


def removal(rows: Doomed) -> Counters:
    """What the mailbox loses."""
    counters = Counters()
    for _, _, flags, size in rows:
        counters.remove(flags, size)
    return counters


async def forget(tx: Transaction, account_id: AccountId, found: Box, uids: Sequence[int], modseq: int) -> None:
    """Delete rows of messages (ascending UIDs that exist) and note that they went."""
    key = (account_id, found.mailbox_id)
    bounds = uidranges.ranges(uids)
    await tx.execute_many(f"{RECORD} AND m.uid BETWEEN $4 AND $5", [(*key, modseq, *each) for each in bounds])
    await tx.execute_many(_DELETE, [(*key, *each) for each in bounds])
