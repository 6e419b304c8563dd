"""STORE (RFC 9051 section 6.4.6, RFC 7162 section 3.1.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from services.common.domain import (
    SYSTEM_FLAGS,
    AccountId,
    FlagChange,
    FlagEdit,
    FlagEdited,
    FlagOperation,
    FlagResult,
    MailboxId,
)
from services.common.errors import Reason, StoreError
from services.store.backends import Transaction
from services.store.changes import Change
from services.store.mailstore import account, box, uidranges
from services.store.mailstore.box import Box, Counters
from services.store.mailstore.outcome import Outcome, rows_of

SYSTEM_MASK: Final = sum(SYSTEM_FLAGS)

_SELECT: Final = "SELECT m.uid, m.flags, m.modseq FROM messages m WHERE m.account_id = $1 AND m.mailbox_id = $2"
_ONE: Final = "SELECT flags, modseq FROM messages WHERE account_id = $1 AND mailbox_id = $2 AND uid = $3"
_UPDATE: Final = "UPDATE messages SET flags = $4, modseq = $5 WHERE account_id = $1 AND mailbox_id = $2 AND uid = $3"

_COMBINE: Final[dict[FlagOperation, Callable[[int, int], int]]] = {
    FlagOperation.REPLACE: lambda _, mask: mask,
    FlagOperation.ADD: lambda old, mask: old | mask,
    FlagOperation.REMOVE: lambda old, mask: old & ~mask,
}


async def modify(
    tx: Transaction,
    account_id: AccountId,
    mailbox_id: MailboxId,
    uids: Sequence[int],
    wanted: FlagChange,
    unchanged_since: int | None,
) -> Outcome[FlagResult]:
    """`Store.modify_flags`. Messages that have the flags already keep their modification sequence."""
    found = await box.kept(tx, account_id, mailbox_id)
    rows = await uidranges.select(tx, _SELECT, (account_id, mailbox_id), uids)
    above = [row[0] for row in rows if unchanged_since is not None and row[2] > unchanged_since]
    if above:
        rows = [row for row in rows if row[2] <= (unchanged_since or 0)]
    previous = found.modseq
    mask = await _mask(tx, account_id, found, wanted, bool(rows))
    combine = _COMBINE[wanted.operation]
    new = [(uid, combine(flags, mask), modseq) for uid, flags, modseq in rows]
    changed = [(uid, flags) for (uid, flags, _), row in zip(new, rows, strict=True) if flags != row[1]]
    if changed:
        await _write(tx, account_id, found, {row[0]: row[1] for row in rows}, changed)
        told = {uid for uid, _ in changed}
        new = [(uid, flags, found.modseq if uid in told else modseq) for uid, flags, modseq in new]
    box.keep(tx, account_id, found)
    status = found.status()  # made now: the next rule goes on with `found`
    changes = [Change(account_id, mailbox_id, status.modseq, previous, lambda: status, changed)] if changed else []
    return Outcome(FlagResult(status, previous, rows_of(new), uidranges.packed(above)), changes)


async def modify_each(tx: Transaction, edits: Sequence[FlagEdit]) -> Outcome[list[FlagEdited | StoreError]]:
    """`Store.modify_each`. What is refused has written nothing, so the others need not be undone for it."""
    results: list[FlagEdited | StoreError] = []
    changes: list[Change] = []
    for edit in edits:
        try:
            results.append(await _edit(tx, edit, changes))
        except StoreError as error:
            results.append(error)
    return Outcome(results, changes)


async def _edit(tx: Transaction, edit: FlagEdit, changes: list[Change]) -> FlagEdited:
    account_id, mailbox_id, uid, operation, mask = edit
    if mask & ~SYSTEM_MASK:
        raise StoreError(Reason.INVALID_ARGUMENT)
    found = await box.kept(tx, account_id, mailbox_id)
    previous = found.modseq
    row: Any = await tx.fetch_row(_ONE, account_id, mailbox_id, uid)
    if row is None:
        return FlagEdited(previous, previous, found.unseen, found.deleted, 0, 0)
    old, modseq = row
    new = _COMBINE[operation](old, mask)
    if new != old:
        await _write(tx, account_id, found, {uid: old}, [(uid, new)])
        modseq = found.modseq
        changes.append(Change(account_id, mailbox_id, modseq, previous, found.snapshot(), [(uid, new)]))
    box.keep(tx, account_id, found)
    return FlagEdited(previous, found.modseq, found.unseen, found.deleted, new, modseq)


async def _mask(tx: Transaction, account_id: AccountId, found: Box, wanted: FlagChange, used: bool) -> int:
    """The wanted flags as bits. A keyword that is taken away, or that no message gets, is not made known."""
    if wanted.system & ~SYSTEM_MASK:
        raise StoreError(Reason.INVALID_ARGUMENT)
    if wanted.operation is FlagOperation.REMOVE or not used:
        return wanted.system | found.mask(wanted.keywords)
    return wanted.system | await box.add_keywords(tx, account_id, found, wanted.keywords)


async def _write(
    tx: Transaction, account_id: AccountId, found: Box, old: dict[int, int], changed: Sequence[tuple[int, int]]
) -> None:
    """Write the new flags of messages, under one new modification sequence."""
    modseq, _ = await account.advance(tx, account_id)
    counters = Counters()
    for uid, flags in changed:
        counters.change(old[uid], flags)
    if len(changed) == 1:
        ((uid, flags),) = changed
        await tx.execute(_UPDATE, account_id, found.mailbox_id, uid, flags, modseq)
    else:
        await tx.execute_many(_UPDATE, [(account_id, found.mailbox_id, uid, flags, modseq) for uid, flags in changed])
    await box.count(tx, account_id, found, modseq, counters)
