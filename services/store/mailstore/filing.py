"""Putting messages into a mailbox: APPEND and what delivery shares with it (RFC 9051 section 6.3.12)."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.common.domain import AccountId, AppendItem, AppendResult, MailboxId, Quota
from services.common.errors import Reason, StoreError
from services.common.mailboxnames import canonical
from services.store.backends import Transaction
from services.store.mailstore import account, box, contents, messages, requests
from services.store.mailstore.box import Box, Counters
from services.store.mailstore.contents import Filed
from services.store.mailstore.flags import SYSTEM_MASK
from services.store.mailstore.outcome import Outcome, change

INSERT: Final = (
    "INSERT INTO messages (account_id, mailbox_id, uid, content_id, modseq, flags, internaldate, savedate, size)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
)
_OUTCOME: Final = struct.Struct("<QIII")


@dataclass(frozen=True, slots=True)
class Ticket:
    """Under which request and when a write happens."""

    request_id: str
    now: int


async def append(
    tx: Transaction,
    account_id: AccountId,
    mailbox: str,
    items: Sequence[tuple[AppendItem, Filed]],
    quota: Quota,
    ticket: Ticket,
) -> Outcome[AppendResult]:
    """`Store.append`."""
    known = await requests.recall(tx, account_id, ticket.request_id)
    if known is not None:
        return Outcome(_decoded(known))
    target = await box.kept_by_name(tx, account_id, canonical(mailbox))
    if target is None:
        await account.require(tx, account_id)
        raise StoreError(Reason.MAILBOX_NOT_FOUND)
    previous, first_uid = target.modseq, target.uidnext
    masks = [await _mask(tx, account_id, target, item) for item, _ in items]
    modseq, first_id = await account.advance(
        tx, account_id, ids=len(items), size=sum(len(item.body) for item, _ in items), messages=len(items), quota=quota
    )
    counters = Counters()
    for at, (item, filed) in enumerate(items):
        content_id = first_id + at
        thread_id = await contents.thread(tx, account_id, content_id, filed.analysis.message_ids)
        await contents.insert(tx, account_id, content_id, thread_id, filed)
        date = ticket.now if item.internaldate is None else item.internaldate
        row = (content_id, modseq, masks[at], date, ticket.now, len(item.body))
        await tx.execute(INSERT, account_id, target.mailbox_id, first_uid + at, *row)
        counters.add(masks[at], len(item.body))
    await box.count(tx, account_id, target, modseq, counters, len(items))
    result = AppendResult(target.mailbox_id, target.uidvalidity, array("I", range(first_uid, target.uidnext)))
    await requests.remember(tx, account_id, ticket.request_id, ticket.now, _encoded(result))
    box.keep(tx, account_id, target)
    changed = list(zip(result.uids, masks, strict=True))
    return Outcome(result, [change(account_id, target, previous, changed=changed)])


async def foresee(
    tx: Transaction, account_id: AccountId, mailbox: str, items: Sequence[AppendItem], quota: Quota, ticket: Ticket
) -> None:
    """Raise what `append` would raise for lack of room or of the mailbox, before bodies are written for nothing."""
    if await requests.recall(tx, account_id, ticket.request_id) is None:
        await messages.resolve(tx, account_id, mailbox)
        holder = await account.get(tx, account_id)
        if not quota.has_room(holder, sum(len(item.body) for item in items), len(items)):
            raise StoreError(Reason.OVER_QUOTA)


async def _mask(tx: Transaction, account_id: AccountId, target: Box, item: AppendItem) -> int:
    if item.system & ~SYSTEM_MASK:
        raise StoreError(Reason.INVALID_ARGUMENT)
    return item.system | await box.add_keywords(tx, account_id, target, item.keywords)


def _encoded(result: AppendResult) -> bytes:
    """UIDs of one append follow one another: the first and the count say it all."""
    first = result.uids[0] if result.uids else 0
    return _OUTCOME.pack(result.mailbox_id, result.uidvalidity, first, len(result.uids))


def _decoded(outcome: bytes) -> AppendResult:
    mailbox_id, uidvalidity, first, count = _OUTCOME.unpack(outcome)
    return AppendResult(MailboxId(mailbox_id), uidvalidity, array("I", range(first, first + count)))
