"""Clearing what deleted mailboxes and accounts leave behind, a few rows at a time.

DELETE of a mailbox takes its row away and leaves a note in `meta`; the rows of its messages go here, in transactions
that are small enough for others to come in between. The notes survive a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from services.common.domain import AccountId, MailboxId
from services.store.backends import Transaction, Value
from services.store.mailstore import contents, history

BATCH: Final = 250
_PREFIX: Final = "reap/"

_AFTER_MAILBOX: Final = {"keywords": ("bit",)}
_AFTER_ACCOUNT: Final = {
    "expunged": ("mailbox_id", "uid"),
    "keywords": ("mailbox_id", "bit"),
    "gone_mailboxes": ("mailbox_id",),
    "threads": ("message_id_digest",),
    "requests": ("request_id",),
}
"""Tables without counterpart elsewhere, with the rest of their key."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What is to be cleared: a mailbox, or with `mailbox_id` None an account."""

    account_id: AccountId
    mailbox_id: MailboxId | None

    @property
    def note(self) -> str:
        """Its key in `meta`."""
        mailbox = "" if self.mailbox_id is None else f"/{self.mailbox_id}"
        return f"{_PREFIX}{self.account_id}{mailbox}"

    @property
    def where(self) -> tuple[str, tuple[Value, ...]]:
        """The condition that its rows meet, and the parameters of that."""
        if self.mailbox_id is None:
            return "account_id = $1", (self.account_id,)
        return "account_id = $1 AND mailbox_id = $2", (self.account_id, self.mailbox_id)


async def enqueue(tx: Transaction, account_id: AccountId, mailbox_id: MailboxId | None) -> None:
    """Note what is to be cleared, in the transaction that deletes it."""
    await tx.execute("INSERT INTO meta (key, value) VALUES ($1, '')", Remains(account_id, mailbox_id).note)


async def noted(tx: Transaction) -> Remains | None:
    """Something to clear."""
    row = await tx.fetch_row(
        "SELECT key FROM meta WHERE key >= $1 AND key < $2 ORDER BY key LIMIT 1", _PREFIX, _PREFIX[:-1] + "0"
    )
    if row is None:
        return None
    ids = [int(part) for part in str(row[0]).removeprefix(_PREFIX).split("/")]
    return Remains(AccountId(ids[0]), MailboxId(ids[1]) if len(ids) > 1 else None)


async def clear(tx: Transaction, remains: Remains, now: int) -> bool:
    """One batch; True once nothing is left."""
    if await _clear_messages(tx, remains, now):
        return False
    tables = _AFTER_ACCOUNT if remains.mailbox_id is None else _AFTER_MAILBOX
    for table, key in tables.items():
        if await _clear_table(tx, remains, table, key):
            return False
    await tx.execute("DELETE FROM meta WHERE key = $1", remains.note)
    if remains.mailbox_id is not None:
        await history.forget_mailboxes(tx, remains.account_id)
    if remains.mailbox_id is None:
        await tx.execute("DELETE FROM meta WHERE key = $1", history.threads_note(remains.account_id))
    return True


async def _clear_messages(tx: Transaction, remains: Remains, now: int) -> bool:
    condition, parameters = remains.where
    found = await tx.fetch(
        f"SELECT account_id, mailbox_id, uid, content_id FROM messages WHERE {condition} LIMIT {BATCH}",
        *parameters,
    )
    rows = cast("list[tuple[AccountId, MailboxId, int, int]]", found)
    await tx.execute_many(
        "DELETE FROM messages WHERE account_id = $1 AND mailbox_id = $2 AND uid = $3", [row[:3] for row in rows]
    )
    await contents.release(tx, remains.account_id, [row[3] for row in rows], now)
    return bool(rows)


async def _clear_table(tx: Transaction, remains: Remains, table: str, key: Sequence[str]) -> bool:
    """Delete some rows of a table; False where it has none."""
    condition, parameters = remains.where
    rows: list[Any] = await tx.fetch(
        f"SELECT {', '.join(key)} FROM {table} WHERE {condition} LIMIT {4 * BATCH}",
        *parameters,
    )
    place = len(parameters) + 1
    same = " AND ".join(f"{column} = ${place + at}" for at, column in enumerate(key))
    await tx.execute_many(
        f"DELETE FROM {table} WHERE {condition} AND {same}",
        [(*parameters, *row) for row in rows],
    )
    return bool(rows)


async def purge_requests(tx: Transaction, before: int) -> int:
    """Forget outcomes of requests that nobody repeats any more; returns how many."""
    rows: list[Any] = await tx.fetch(
        f"SELECT account_id, request_id FROM requests WHERE made < $1 LIMIT {4 * BATCH}", before
    )
    await tx.execute_many("DELETE FROM requests WHERE account_id = $1 AND request_id = $2", rows)
    return len(rows)
