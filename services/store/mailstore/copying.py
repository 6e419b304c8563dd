"""COPY and MOVE (RFC 9051 section 6.4.7, RFC 6851): places change, contents and their bytes stay."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.common.domain import KEYWORD_SHIFT, AccountId, CopyResult, MailboxId, Quota
from services.common.errors import StoreError
from services.common.mailboxnames import canonical
from services.store.backends import Transaction
from services.store.changes import Change
from services.store.mailstore import account, box, contents, expunging, filing, messages, requests, uidranges
from services.store.mailstore.box import Box, Counters
from services.store.mailstore.filing import Ticket
from services.store.mailstore.outcome import Outcome, change

_SELECT: Final = (
    "SELECT m.uid, m.content_id, m.flags, m.size, m.internaldate FROM messages m"
    " WHERE m.account_id = $1 AND m.mailbox_id = $2"
)
_SYSTEM: Final = (1 << KEYWORD_SHIFT) - 1
_OUTCOME: Final = struct.Struct("<QII")

Places = Sequence[tuple[int, int, int, int, int]]
"""(uid, content id, flags, size, internaldate), ascending."""


@dataclass(frozen=True, slots=True)
class _Ends:
    """From where to where. Both are one object where the mailbox is the same."""

    source: Box
    target: Box


async def copy(
    tx: Transaction,
    account_id: AccountId,
    mailbox_id: MailboxId,
    uids: Sequence[int],
    target: str,
    quota: Quota | None,
    ticket: Ticket,
) -> Outcome[CopyResult]:
    """`Store.copy_messages`. Without a quota it is a MOVE, which makes no account larger."""
    known = await requests.recall(tx, account_id, ticket.request_id)
    if known is not None:
        return Outcome(_decoded(known))
    ends = await _ends(tx, account_id, mailbox_id, target)
    rows: Places = await uidranges.select(tx, _SELECT, (account_id, mailbox_id), uids)
    if not rows:
        return Outcome(CopyResult(ends.target.mailbox_id, ends.target.uidvalidity, array("I"), array("I")))
    first_uid = ends.target.uidnext
    changes = await _file(tx, account_id, ends, rows, quota, ticket.now)
    taken = array("I", range(first_uid, first_uid + len(rows)))
    result = CopyResult(ends.target.mailbox_id, ends.target.uidvalidity, array("I", [row[0] for row in rows]), taken)
    await requests.remember(tx, account_id, ticket.request_id, ticket.now, _encoded(result))
    return Outcome(result, changes)


async def _ends(tx: Transaction, account_id: AccountId, mailbox_id: MailboxId, name: str) -> _Ends:
    source = await messages.resolve(tx, account_id, mailbox_id)
    if canonical(name) == source.name:
        return _Ends(source, source)
    try:
        return _Ends(source, await box.by_name(tx, account_id, name))
    except StoreError as error:
        raise StoreError(error.reason, {"mailbox": "target"}) from error  # which one: TRYCREATE hangs on it


async def _file(
    tx: Transaction, account_id: AccountId, ends: _Ends, rows: Places, quota: Quota | None, now: int
) -> list[Change]:
    """Make the new places, and with a MOVE give up the old ones."""
    moves, target, previous = quota is None, ends.target, ends.target.modseq
    translate = await _translation(tx, account_id, ends, rows)
    counters = Counters()
    flags = [translate(row[2]) for row in rows]
    for row, mask in zip(rows, flags, strict=True):
        counters.add(mask, row[3])
    added = (0, 0) if moves else (counters.size, counters.messages)
    modseq, _ = await account.advance(tx, account_id, size=added[0], messages=added[1], quota=quota)
    first = target.uidnext
    places: list[Any] = [
        (account_id, target.mailbox_id, first + at, row[1], modseq, mask, row[4], now, row[3])
        for at, (row, mask) in enumerate(zip(rows, flags, strict=True))
    ]
    await tx.execute_many(filing.INSERT, places)
    await box.count(tx, account_id, target, modseq, counters, len(rows))
    changed = [(first + at, mask) for at, mask in enumerate(flags)]
    if not moves:
        await contents.refer(tx, account_id, [row[1] for row in rows])
        return [change(account_id, target, previous, changed=changed)]
    return await _give_up(tx, account_id, ends, rows, previous, changed)


async def _give_up(
    tx: Transaction, account_id: AccountId, ends: _Ends, rows: Places, previous: int, changed: list[tuple[int, int]]
) -> list[Change]:
    """Remove the old places of moved messages under the modification sequence of the new ones."""
    source, modseq, gone = ends.source, ends.target.modseq, [row[0] for row in rows]
    before = source.modseq
    await expunging.forget(tx, account_id, source, gone, modseq)
    await box.count(tx, account_id, source, modseq, expunging.removal([row[:4] for row in rows]))
    if source is ends.target:
        return [change(account_id, source, previous, changed=changed, expunged=gone)]
    return [
        change(account_id, ends.target, previous, changed=changed),
        change(account_id, source, before, expunged=gone),
    ]


async def _translation(tx: Transaction, account_id: AccountId, ends: _Ends, rows: Places) -> Callable[[int], int]:
    """How flags of the source read in the target: keywords have a bit of their own in each mailbox."""
    used = 0
    for row in rows:
        used |= row[2]
    if ends.source is ends.target or not used >> KEYWORD_SHIFT:
        return lambda flags: flags
    bits: dict[int, int] = {}
    for place, name in enumerate(ends.source.keywords):
        bit = 1 << (KEYWORD_SHIFT + place)
        if used & bit:
            bits[bit] = await box.add_keywords(tx, account_id, ends.target, (name,))
    return lambda flags: flags & _SYSTEM | sum(to for bit, to in bits.items() if flags & bit)


def _encoded(result: CopyResult) -> bytes:
    count = len(result.source_uids)
    head = _OUTCOME.pack(result.mailbox_id, result.uidvalidity, count)
    return head + struct.pack(f"<{2 * count}I", *result.source_uids, *result.target_uids)


def _decoded(outcome: bytes) -> CopyResult:
    mailbox_id, uidvalidity, count = _OUTCOME.unpack_from(outcome)
    uids = struct.unpack_from(f"<{2 * count}I", outcome, _OUTCOME.size)
    return CopyResult(MailboxId(mailbox_id), uidvalidity, array("I", uids[:count]), array("I", uids[count:]))
