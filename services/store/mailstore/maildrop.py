"""The maildrop of RFC 1939: INBOX, locked for one session, listed once, changed at QUIT."""

from __future__ import annotations

import secrets
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.common.domain import (
    INBOX,
    SEEN,
    AccountId,
    BodyRef,
    FlagChange,
    FlagOperation,
    MailboxStatus,
    Maildrop,
)
from services.common.errors import Reason, StoreError
from services.store.backends import Transaction
from services.store.mailstore import expunging, flags, history, messages
from services.store.mailstore.outcome import Outcome

_DONE: Final = 10_000

_SELECT: Final = (
    f"SELECT m.uid, m.size, {messages.LOCATION} FROM messages m"
    " JOIN contents c ON c.account_id = m.account_id AND c.content_id = m.content_id"
    " WHERE m.account_id = $1 AND m.mailbox_id = $2 AND m.uid >= $3 ORDER BY m.uid"
)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a maildrop holds. Shared between sessions: nobody changes it."""

    status: MailboxStatus
    uids: array[int]
    sizes: array[int]
    locations: list[BodyRef]


async def listing(tx: Transaction, account_id: AccountId, known: Listing | None) -> Listing:
    """The maildrop as it is; `known` itself where nothing changed since, and else brought up to date.

    Places in it may be old ones: who reads a body is told where compaction has put it.
    """
    status = (await messages.resolve(tx, account_id, INBOX)).status()
    if known is None:
        return await _extended(tx, account_id, Listing(status, array("I"), array("Q"), []), 1)
    if known.status.modseq == status.modseq:
        return known
    gone = await history.expunged_since(tx, account_id, status.mailbox_id, known.status.modseq)
    if gone is None:
        return await listing(tx, account_id, None)
    kept = _without(known, set(gone)) if gone else known
    left = Listing(status, kept.uids, kept.sizes, kept.locations)
    return (
        await _extended(tx, account_id, left, known.status.uidnext) if known.status.uidnext < status.uidnext else left
    )


def _without(known: Listing, gone: set[int]) -> Listing:
    left = [place for place, uid in enumerate(known.uids) if uid not in gone]
    return Listing(
        known.status,
        array("I", [known.uids[place] for place in left]),
        array("Q", [known.sizes[place] for place in left]),
        [known.locations[place] for place in left],
    )


async def _extended(tx: Transaction, account_id: AccountId, known: Listing, uid_from: int) -> Listing:
    """With the messages from a UID on."""
    rows: Any = await tx.fetch(_SELECT, account_id, known.status.mailbox_id, uid_from)
    if not rows:
        return known
    uids, sizes, *places = zip(*rows, strict=True)
    return Listing(
        known.status,
        known.uids + array("I", uids),
        known.sizes + array("Q", sizes),
        [*known.locations, *map(BodyRef, *places)],
    )


async def commit(
    tx: Transaction, account_id: AccountId, deleted: Sequence[int], seen: Sequence[int], now: int
) -> Outcome[None]:
    """The UPDATE state: mark what was read, remove what was deleted, whatever its flags in IMAP."""
    inbox = await messages.resolve(tx, account_id, INBOX)
    read = set(seen).difference(deleted)
    change = FlagChange(FlagOperation.ADD, SEEN)
    marked = await flags.modify(tx, account_id, inbox.mailbox_id, sorted(read), change, None)
    inbox = await messages.resolve(tx, account_id, INBOX)
    rows = await expunging.doomed(tx, account_id, inbox.mailbox_id, deleted)
    removed = await expunging.remove(tx, account_id, inbox, rows, now)
    return Outcome(None, [*marked.changes, *removed.changes])


class Locks:
    """Who holds which maildrop. Locks live as long as the process or the owner's connection, whichever ends first."""

    def __init__(self) -> None:
        self._held: dict[AccountId, tuple[str, str]] = {}
        self._committed: OrderedDict[str, None] = OrderedDict()

    def take(self, account_id: AccountId, owner: str, wanted: str) -> str:
        """A lock's name, `wanted` where that is given: its owner may come again whose first answer got lost.

        Raises MAILDROP_IN_USE.
        """
        held = self._held.get(account_id)
        if held is not None and (not wanted or held != (wanted, owner)):
            raise StoreError(Reason.MAILDROP_IN_USE)
        lock = wanted or secrets.token_hex(16)
        self._held[account_id] = (lock, owner)
        return lock

    def holds(self, account_id: AccountId, lock: str) -> bool:
        """Whether this is the lock that the maildrop is under."""
        held = self._held.get(account_id)
        return held is not None and secrets.compare_digest(held[0].encode(), lock.encode())

    def release(self, account_id: AccountId, lock: str) -> None:
        """Give a lock up; another's stays."""
        if self.holds(account_id, lock):
            del self._held[account_id]

    def release_owner(self, owner: str) -> None:
        """Give up all locks of an owner that is gone."""
        for account_id in [account_id for account_id, held in self._held.items() if held[1] == owner]:
            del self._held[account_id]

    def note_committed(self, lock: str) -> None:
        """Remember that a lock's changes were made: the answer may get lost and the request come again."""
        self._committed[lock] = None
        if len(self._committed) > _DONE:
            self._committed.popitem(last=False)

    def was_committed(self, lock: str) -> bool:
        """Whether the changes under this lock were made."""
        return lock in self._committed


def maildrop(lock: str, listed: Listing) -> Maildrop:
    """A listing under a lock."""
    return Maildrop(lock, listed.status, listed.uids, listed.sizes, listed.locations)
