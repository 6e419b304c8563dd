"""Delivery: one body, any number of recipients, one outcome for each."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from services.common.domain import INBOX, AccountId, Delivered, MailboxId, Recipient
from services.common.errors import Reason, StoreError
from services.common.mailboxnames import canonical
from services.store.backends import Transaction
from services.store.changes import Change
from services.store.mailstore import account, accounts, box, contents, filing, requests
from services.store.mailstore.box import Box, Counters
from services.store.mailstore.contents import Filed
from services.store.mailstore.filing import Ticket
from services.store.mailstore.outcome import Outcome, Watched, change

_OUTCOME: Final = struct.Struct("<QI")
_OF_ONE: Final = frozenset({Reason.OVER_QUOTA, Reason.ACCOUNT_NOT_FOUND, Reason.STORAGE_CORRUPT})
"""What concerns one recipient and leaves the others alone."""


async def deliver(
    tx: Transaction,
    recipients: Sequence[tuple[int, Recipient]],
    filed: Filed,
    ticket: Ticket,
    watched: Watched,
) -> Outcome[list[Delivered]]:
    """File a message for recipients, each with its place in the request.

    Each is judged before anything is written for it, so a refusal leaves nothing behind and the others alone.
    """
    results: list[Delivered] = []
    changes: list[Change] = []
    for place, recipient in recipients:
        own = Ticket(_own_id(ticket, place), ticket.now)
        try:
            outcome = await _deliver_one(tx, recipient, filed, own, watched)
        except StoreError as error:
            if error.reason not in _OF_ONE:
                raise
            outcome = Outcome(Delivered(error.reason.name))
        results.append(outcome.result)
        changes.extend(outcome.changes)
    return Outcome(results, changes)


async def hopeless(tx: Transaction, recipients: Sequence[Recipient], size: int, ticket: Ticket) -> bool:
    """Whether no recipient has room: a large message that is sent again and again is then not written each time."""
    for place, recipient in enumerate(recipients):
        found = await account.find(tx, recipient.account)
        if found is None or recipient.quota.has_room(found, len(recipient.prefix) + size):
            return False
        if await requests.recall(tx, found.account_id, _own_id(ticket, place)) is not None:
            return False
    return True


def _own_id(ticket: Ticket, place: int) -> str:
    """The request id of one recipient."""
    return f"{ticket.request_id}/{place}"


async def _deliver_one(
    tx: Transaction, recipient: Recipient, filed: Filed, ticket: Ticket, watched: Watched
) -> Outcome[Delivered]:
    account_id = await _account(tx, recipient.account, ticket.now)
    known = await requests.recall(tx, account_id, ticket.request_id)
    if known is not None:
        mailbox_id, uid = _OUTCOME.unpack(known)
        return Outcome(Delivered("", MailboxId(mailbox_id), uid))
    target = await _target(tx, account_id, recipient.folder)
    previous, uid = target.modseq, target.uidnext
    await _file(tx, account_id, target, recipient, filed, ticket.now)
    result = Delivered("", target.mailbox_id, uid)
    await requests.remember(tx, account_id, ticket.request_id, ticket.now, _OUTCOME.pack(target.mailbox_id, uid))
    tx.keep(recipient.account, account_id)
    box.keep(tx, account_id, target)
    if not watched(account_id, target.mailbox_id):
        return Outcome(result, [Change(account_id, target.mailbox_id, target.modseq)])
    return Outcome(result, [change(account_id, target, previous, changed=[(uid, 0)])])


async def _account(tx: Transaction, name: str, now: int) -> AccountId:
    """The account, made at first use: that the recipient may have one was the directory's word."""
    kept: AccountId | None = tx.recall(name)
    if kept is not None:
        return kept
    found = await account.find(tx, name)
    if found is not None:
        return found.account_id
    try:
        return (await accounts.create(tx, name, now)).account_id
    except StoreError as error:
        raise StoreError(Reason.ACCOUNT_NOT_FOUND) from error


async def _target(tx: Transaction, account_id: AccountId, folder: str) -> Box:
    """The folder that the address names, else INBOX."""
    target = await box.kept_by_name(tx, account_id, canonical(folder)) if folder else None
    if target is None:
        target = await box.kept_by_name(tx, account_id, INBOX)
    if target is None:
        raise StoreError(Reason.STORAGE_CORRUPT)
    return target


async def _file(
    tx: Transaction, account_id: AccountId, target: Box, recipient: Recipient, filed: Filed, now: int
) -> None:
    size = len(recipient.prefix) + filed.location.length
    modseq, content_id = await account.advance(tx, account_id, ids=1, size=size, messages=1, quota=recipient.quota)
    thread_id = await contents.thread(tx, account_id, content_id, filed.analysis.message_ids)
    await contents.insert(tx, account_id, content_id, thread_id, filed, recipient.prefix)
    row = (target.uidnext, content_id, modseq, 0, now, now, size)
    await tx.execute(filing.INSERT, account_id, target.mailbox_id, *row)
    counters = Counters()
    counters.add(0, size)
    await box.count(tx, account_id, target, modseq, counters, 1)
