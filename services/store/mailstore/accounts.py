"""Accounts: made with their first folders, and taken away with all they hold."""

from __future__ import annotations

from typing import Final, cast

from services.common.domain import INBOX, SPECIAL_USES, Account, AccountId, MailboxId
from services.common.errors import Reason, StoreError
from services.store.backends import Transaction
from services.store.changes import Change
from services.store.mailstore import account, box, mailboxes, names, reaping
from services.store.mailstore.outcome import Outcome, Watched, change

_UIDVALIDITY_FLOOR: Final = "uidvalidity_floor"
"""Above every UIDVALIDITY of accounts that were deleted: whoever comes back under an old name must not repeat one."""


async def create(tx: Transaction, name: str, now: int) -> Account:
    """The account of that name, made where there is none. Raises INVALID_ARGUMENT."""
    names.checked_account(name)
    floor = await tx.fetch_row("SELECT value FROM meta WHERE key = $1", _UIDVALIDITY_FLOOR)
    row = await tx.fetch_row(
        "INSERT INTO accounts (name, next_uidvalidity, created) VALUES ($1, $2, $3)"
        " ON CONFLICT (name) DO NOTHING RETURNING account_id",
        name, max(now, int(str(floor[0])) if floor else 1), now,
    )  # fmt: skip
    if row is not None:
        await _furnish(tx, cast("tuple[AccountId]", row)[0], now)
    return cast("Account", await account.find(tx, name))


async def _furnish(tx: Transaction, account_id: AccountId, now: int) -> None:
    """INBOX and the special-use folders, subscribed."""
    folders = {INBOX: "", **SPECIAL_USES}
    await mailboxes.insert(tx, account_id, list(folders.items()), now)
    await tx.execute_many(
        "INSERT INTO subscriptions (account_id, name) VALUES ($1, $2)", [(account_id, folder) for folder in folders]
    )


async def delete(tx: Transaction, name: str, watched: Watched) -> Outcome[AccountId]:
    """Take an account away; its rows are cleared in the background. Raises ACCOUNT_NOT_FOUND."""
    found = await account.find(tx, name)
    if found is None:
        raise StoreError(Reason.ACCOUNT_NOT_FOUND)
    account_id = found.account_id
    changes = await _farewells(tx, found, watched)
    row = await tx.fetch_row("DELETE FROM accounts WHERE account_id = $1 RETURNING next_uidvalidity", account_id)
    next_uidvalidity = cast("tuple[int]", row)[0]
    await _raise_floor(tx, next_uidvalidity)
    for table in ("mailboxes", "subscriptions", "logins"):
        await tx.execute(f"DELETE FROM {table} WHERE account_id = $1", account_id)
    await reaping.enqueue(tx, account_id, None)
    return Outcome(account_id, changes)


async def _raise_floor(tx: Transaction, next_uidvalidity: int) -> None:
    row = await tx.fetch_row("SELECT value FROM meta WHERE key = $1", _UIDVALIDITY_FLOOR)
    floor = max(next_uidvalidity, int(str(row[0])) if row else 0)
    await tx.execute(
        "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        _UIDVALIDITY_FLOOR, str(floor),
    )  # fmt: skip


async def _farewells(tx: Transaction, found: Account, watched: Watched) -> list[Change]:
    """What the followers of its mailboxes hear."""
    rows = await tx.fetch("SELECT mailbox_id FROM mailboxes WHERE account_id = $1", found.account_id)
    changes = []
    for (mailbox_id,) in cast("list[tuple[MailboxId]]", rows):
        if watched(found.account_id, mailbox_id):
            last = await box.by_id(tx, found.account_id, mailbox_id)
            previous, last.modseq = last.modseq, found.modseq + 1
            changes.append(change(found.account_id, last, previous, gone=True))
    return changes
