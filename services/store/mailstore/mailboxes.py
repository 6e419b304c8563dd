"""CREATE, DELETE, RENAME, LIST and SUBSCRIBE (RFC 9051 sections 6.3.4 to 6.3.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from services.common.domain import INBOX, SEPARATOR, SPECIAL_USES, AccountId, MailboxId, MailboxStatus
from services.common.errors import Reason, StoreError
from services.store.backends import Transaction
from services.store.mailstore import account, box, expunging, messages, names, reaping
from services.store.mailstore.box import Box, Counters
from services.store.mailstore.outcome import Outcome, change

_BELOW: Final = "account_id = $1 AND name >= $2 AND name < $3"


async def statuses(tx: Transaction, account_id: AccountId) -> list[MailboxStatus]:
    """`Store.list_mailboxes`."""
    rows: Any = await tx.fetch(f"SELECT {box.COLUMNS} FROM mailboxes b WHERE b.account_id = $1", account_id)
    if not rows:
        await account.require(tx, account_id)
    boxes = {row[0]: Box(*row) for row in rows}
    keywords = await tx.fetch(
        "SELECT mailbox_id, name FROM keywords WHERE account_id = $1 ORDER BY mailbox_id, bit", account_id
    )
    for mailbox_id, keyword in cast("list[tuple[MailboxId, str]]", keywords):
        if mailbox_id in boxes:
            boxes[mailbox_id].keywords.append(keyword)
    found = [each.status() for each in boxes.values()]
    return sorted(found, key=lambda status: (status.name != INBOX, status.name))


async def status(tx: Transaction, account_id: AccountId, name: str) -> MailboxStatus:
    """`Store.get_mailbox`."""
    return (await messages.resolve(tx, account_id, name)).status()


async def create(
    tx: Transaction, account_id: AccountId, name: str, special_use: str, limit: int, now: int
) -> Outcome[MailboxStatus]:
    """`Store.create_mailbox`. A separator at the end says that mailboxes will follow below; here they always may."""
    if special_use and special_use not in SPECIAL_USES.values():
        raise StoreError(Reason.INVALID_ARGUMENT)
    proper = names.checked(name.removesuffix(SEPARATOR))
    if await box.find(tx, account_id, proper) is not None:
        raise StoreError(Reason.MAILBOX_EXISTS)
    missing = await _missing_levels(tx, account_id, proper, limit)
    await insert(tx, account_id, [(level, special_use if level == proper else "") for level in missing], now)
    made = [await box.by_name(tx, account_id, level) for level in missing]
    return Outcome(made[-1].status(), [change(account_id, each, 0) for each in made])


async def _missing_levels(tx: Transaction, account_id: AccountId, name: str, limit: int) -> list[str]:
    """The mailbox and those above it that are not there yet. Raises MAILBOX_LIMIT."""
    missing = [level for level in names.levels_of(name) if await box.find(tx, account_id, level) is None]
    row = await tx.fetch_row("SELECT count(*) FROM mailboxes WHERE account_id = $1", account_id)
    if cast("tuple[int]", row)[0] + len(missing) > limit:
        raise StoreError(Reason.MAILBOX_LIMIT, {"limit": str(limit)})
    return missing


async def insert(tx: Transaction, account_id: AccountId, folders: Sequence[tuple[str, str]], now: int) -> None:
    """Make mailboxes of these names and special uses, empty."""
    modseq, first_id = await account.advance(tx, account_id, ids=len(folders))
    for place, (name, special_use) in enumerate(folders):
        uidvalidity = await account.next_uidvalidity(tx, account_id, now)
        await tx.execute(
            "INSERT INTO mailboxes (account_id, mailbox_id, name, uidvalidity, modseq, special_use, created_modseq)"
            " VALUES ($1, $2, $3, $4, $5, $6, $5)",
            account_id, first_id + place, name, uidvalidity, modseq, special_use,
        )  # fmt: skip


async def delete(tx: Transaction, account_id: AccountId, name: str) -> Outcome[None]:
    """`Store.delete_mailbox`. The name goes at once, the rows of its messages in the background."""
    doomed = await messages.resolve(tx, account_id, name)
    if doomed.name == INBOX:
        raise StoreError(Reason.MAILBOX_PROTECTED)
    child = await tx.fetch_row(f"SELECT 1 FROM mailboxes WHERE {_BELOW} LIMIT 1", account_id, *names.below(doomed.name))
    if child is not None:
        raise StoreError(Reason.MAILBOX_HAS_CHILDREN)
    previous = doomed.modseq
    doomed.modseq, _ = await account.advance(tx, account_id, size=-doomed.size, messages=-doomed.messages)
    key = (account_id, doomed.mailbox_id)
    await tx.execute("DELETE FROM mailboxes WHERE account_id = $1 AND mailbox_id = $2", *key)
    await tx.execute(
        "INSERT INTO gone_mailboxes (account_id, mailbox_id, name, modseq, messages) VALUES ($1, $2, $3, $4, $5)",
        *key, doomed.name, doomed.modseq, doomed.messages,
    )  # fmt: skip
    await reaping.enqueue(tx, *key)
    return Outcome(None, [change(account_id, doomed, previous, gone=True)])


async def subscriptions(tx: Transaction, account_id: AccountId) -> list[str]:
    """`Store.list_subscriptions`."""
    rows = await tx.fetch("SELECT name FROM subscriptions WHERE account_id = $1", account_id)
    if not rows:
        await account.require(tx, account_id)
    return sorted(name for (name,) in cast("list[tuple[str]]", rows))


async def subscribe(tx: Transaction, account_id: AccountId, name: str, subscribed: bool) -> Outcome[None]:
    """`Store.subscribe`."""
    await account.require(tx, account_id)
    proper = names.checked(name.removesuffix(SEPARATOR))
    sql = (
        "INSERT INTO subscriptions (account_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        if subscribed
        else "DELETE FROM subscriptions WHERE account_id = $1 AND name = $2"
    )
    changed = await tx.execute(sql, account_id, proper)
    subject = await box.find(tx, account_id, proper)
    if not changed or subject is None:
        return Outcome(None)
    # JMAP asks mailboxes for what changed (RFC 8621 section 2.2).
    previous = subject.modseq
    modseq, _ = await account.advance(tx, account_id)
    await box.load_keywords(tx, account_id, subject)
    await box.count(tx, account_id, subject, modseq, Counters())
    return Outcome(None, [change(account_id, subject, previous)])


async def rename(
    tx: Transaction, account_id: AccountId, name: str, new_name: str, limit: int, now: int
) -> Outcome[None]:
    """`Store.rename_mailbox`."""
    source = await messages.resolve(tx, account_id, name)
    proper = names.checked(new_name.removesuffix(SEPARATOR))
    if await box.find(tx, account_id, proper) is not None:
        raise StoreError(Reason.MAILBOX_EXISTS)
    if source.name == INBOX:
        return await _empty_inbox(tx, account_id, source, proper, limit, now)
    if proper.startswith(source.name + SEPARATOR):
        raise StoreError(Reason.MAILBOX_NAME_INVALID)
    moved = [source, *await _children(tx, account_id, source.name)]
    renamed = [names.checked(proper + each.name[len(source.name) :]) for each in moved]
    above = (await _missing_levels(tx, account_id, proper, limit + 1))[:-1]
    if above:
        await insert(tx, account_id, [(level, "") for level in above], now)
    return await _rename_all(tx, account_id, moved, renamed)


async def _children(tx: Transaction, account_id: AccountId, name: str) -> list[Box]:
    rows = await tx.fetch(f"SELECT mailbox_id FROM mailboxes WHERE {_BELOW}", account_id, *names.below(name))
    ids = [mailbox_id for (mailbox_id,) in cast("list[tuple[MailboxId]]", rows)]
    return [await box.by_id(tx, account_id, mailbox_id) for mailbox_id in ids]


async def _rename_all(
    tx: Transaction, account_id: AccountId, moved: Sequence[Box], renamed: Sequence[str]
) -> Outcome[None]:
    modseq, _ = await account.advance(tx, account_id)
    changes = []
    for each, name in zip(moved, renamed, strict=True):
        previous, each.modseq, each.name = each.modseq, modseq, name
        await tx.execute(
            "UPDATE mailboxes SET name = $3, modseq = $4 WHERE account_id = $1 AND mailbox_id = $2",
            account_id, each.mailbox_id, name, modseq,
        )  # fmt: skip
        changes.append(change(account_id, each, previous))
    return Outcome(None, changes)


async def _empty_inbox(
    tx: Transaction, account_id: AccountId, inbox: Box, name: str, limit: int, now: int
) -> Outcome[None]:
    """Rename INBOX: its messages move, it stays, and so do mailboxes below it (RFC 9051 section 6.3.6).

    It keeps its id: who looks at INBOX must go on to see new mail arrive.
    """
    missing = await _missing_levels(tx, account_id, name, limit)
    await insert(tx, account_id, [(level, "") for level in missing], now)
    target = await box.by_name(tx, account_id, name)
    rows = await tx.fetch(
        "SELECT uid FROM messages WHERE account_id = $1 AND mailbox_id = $2 ORDER BY uid", account_id, inbox.mailbox_id
    )
    gone = [uid for (uid,) in cast("list[tuple[int]]", rows)]
    previous = inbox.modseq
    if gone:
        modseq, _ = await account.advance(tx, account_id)
        await _move_all(tx, account_id, inbox, target, modseq, now)
    return Outcome(None, [change(account_id, inbox, previous, expunged=gone)] if gone else [])


async def _move_all(tx: Transaction, account_id: AccountId, inbox: Box, target: Box, modseq: int, now: int) -> None:
    """Everything that INBOX holds into an empty mailbox, UIDs and keywords as they are."""
    key = (account_id, inbox.mailbox_id)
    await tx.execute(
        "INSERT INTO messages (account_id, mailbox_id, uid, content_id, modseq, flags, internaldate, savedate, size)"
        " SELECT account_id, $3, uid, content_id, $4, flags, internaldate, $5, size FROM messages"
        " WHERE account_id = $1 AND mailbox_id = $2",
        *key, target.mailbox_id, modseq, now,
    )  # fmt: skip
    await tx.execute(expunging.RECORD, *key, modseq)
    await tx.execute("DELETE FROM messages WHERE account_id = $1 AND mailbox_id = $2", *key)
    await tx.execute(
        "INSERT INTO keywords (account_id, mailbox_id, bit, name)"
        " SELECT account_id, $3, bit, name FROM keywords WHERE account_id = $1 AND mailbox_id = $2",
        *key, target.mailbox_id,
    )  # fmt: skip
    held = Counters(inbox.messages, inbox.unseen, inbox.deleted, inbox.size)
    await box.count(tx, account_id, target, modseq, held, inbox.uidnext - 1)
    await box.count(tx, account_id, inbox, modseq, held.negative())
