"""A mailbox's row and its keywords, read and counted in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from services.common.domain import (
    DELETED,
    KEYWORD_SHIFT,
    MAX_KEYWORDS,
    SEEN,
    AccountId,
    MailboxId,
    MailboxStatus,
)
from services.common.errors import Reason, StoreError
from services.common.mailboxnames import canonical
from services.store.backends import Transaction
from services.store.mailstore import names

COLUMNS: Final = (
    "b.mailbox_id, b.name, b.uidvalidity, b.uidnext, b.modseq, b.messages, b.unseen, b.deleted, b.size, b.recent_from,"
    " b.special_use, EXISTS (SELECT 1 FROM subscriptions s WHERE s.account_id = b.account_id AND s.name = b.name)"
)
BY_ID: Final = f"SELECT {COLUMNS} FROM mailboxes b WHERE b.account_id = $1 AND b.mailbox_id = $2"
BY_NAME: Final = f"SELECT {COLUMNS} FROM mailboxes b WHERE b.account_id = $1 AND b.name = $2"


@dataclass(slots=True)
class Counters:
    """What an operation adds to a mailbox's counters."""

    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    size: int = 0

    def add(self, flags: int, size: int) -> None:
        """Count a message in."""
        self.messages += 1
        self.size += size
        self.unseen += not flags & SEEN
        self.deleted += bool(flags & DELETED)

    def remove(self, flags: int, size: int) -> None:
        """Count a message out."""
        self.messages -= 1
        self.size -= size
        self.unseen -= not flags & SEEN
        self.deleted -= bool(flags & DELETED)

    def negative(self) -> Counters:
        """The same, taken away."""
        return Counters(-self.messages, -self.unseen, -self.deleted, -self.size)

    def change(self, old: int, new: int) -> None:
        """Count a message's flags anew."""
        self.unseen += bool(old & SEEN) - bool(new & SEEN)
        self.deleted += bool(new & DELETED) - bool(old & DELETED)


@dataclass(slots=True)
class Box:
    """A mailbox as a rule sees and changes it."""

    mailbox_id: MailboxId
    name: str
    uidvalidity: int
    uidnext: int
    modseq: int
    messages: int
    unseen: int
    deleted: int
    size: int
    recent_from: int
    special_use: str
    subscribed: bool
    keywords: list[str] = field(default_factory=list)

    def status(self) -> MailboxStatus:
        """The mailbox as it now is."""
        return self.snapshot()()

    def snapshot(self) -> Callable[[], MailboxStatus]:
        """The same for who may want it later, or never, whatever becomes of this box."""
        return partial(
            MailboxStatus,
            self.mailbox_id, self.name, self.uidvalidity, self.uidnext, self.modseq, self.messages, self.unseen,
            self.deleted, self.size, self.recent_from, self.special_use, bool(self.subscribed), tuple(self.keywords),
        )  # fmt: skip

    def mask(self, wanted: Sequence[str]) -> int:
        """Bits of the keywords that the mailbox knows."""
        places = {name.lower(): place for place, name in enumerate(self.keywords)}
        found = (places.get(name.lower()) for name in wanted)
        return sum({1 << (KEYWORD_SHIFT + place) for place in found if place is not None})


async def by_id(tx: Transaction, account_id: AccountId, mailbox_id: MailboxId) -> Box:
    """The mailbox with its keywords. Raises MAILBOX_NOT_FOUND."""
    return await _with_keywords(tx, account_id, await tx.fetch_row(BY_ID, account_id, mailbox_id))


async def kept(tx: Transaction, account_id: AccountId, mailbox_id: MailboxId) -> Box:
    """As `by_id`, without a statement where the rules before have left it (`keep`)."""
    found: Box | None = tx.recall((account_id, mailbox_id))
    return found or await by_id(tx, account_id, mailbox_id)


async def kept_by_name(tx: Transaction, account_id: AccountId, name: str) -> Box | None:
    """The mailbox of that canonical name with its keywords, or None; without a statement where it was left."""
    found: Box | None = tx.recall((account_id, name))
    if found is None:
        found = await find(tx, account_id, name)
        if found is not None:
            await load_keywords(tx, account_id, found)
    return found


def keep(tx: Transaction, account_id: AccountId, box: Box) -> None:
    """Leave the mailbox to the rules after this one, which has written nothing that would make another one differ."""
    tx.keep((account_id, box.mailbox_id), box)
    tx.keep((account_id, box.name), box)


async def by_name(tx: Transaction, account_id: AccountId, name: str) -> Box:
    """The mailbox with its keywords. Raises MAILBOX_NOT_FOUND."""
    return await _with_keywords(tx, account_id, await tx.fetch_row(BY_NAME, account_id, canonical(name)))


async def find(tx: Transaction, account_id: AccountId, name: str) -> Box | None:
    """The mailbox of that canonical name, without its keywords."""
    row: Any = await tx.fetch_row(BY_NAME, account_id, name)
    return None if row is None else Box(*row)


async def load_keywords(tx: Transaction, account_id: AccountId, box: Box) -> None:
    """Fill `box.keywords`."""
    rows: Any = await tx.fetch(
        "SELECT name FROM keywords WHERE account_id = $1 AND mailbox_id = $2 ORDER BY bit", account_id, box.mailbox_id
    )
    box.keywords = [name for (name,) in rows]


async def _with_keywords(tx: Transaction, account_id: AccountId, row: Any) -> Box:
    if row is None:
        raise StoreError(Reason.MAILBOX_NOT_FOUND)
    box = Box(*row)
    await load_keywords(tx, account_id, box)
    return box


async def add_keywords(tx: Transaction, account_id: AccountId, box: Box, wanted: Sequence[str]) -> int:
    """Bits of the keywords, of which those the mailbox has not seen yet are added.

    Raises KEYWORD_INVALID and KEYWORD_LIMIT. Names differ by more than case (RFC 5788 section 3).
    """
    known = {name.lower() for name in box.keywords}
    for name in wanted:
        if name.lower() not in known:
            known.add(name.lower())
            await _add_keyword(tx, account_id, box, names.checked_keyword(name))
    return box.mask(wanted)


async def _add_keyword(tx: Transaction, account_id: AccountId, box: Box, name: str) -> None:
    bit = len(box.keywords)
    if bit >= MAX_KEYWORDS:
        raise StoreError(Reason.KEYWORD_LIMIT, {"limit": str(MAX_KEYWORDS)})
    await tx.execute(
        "INSERT INTO keywords (account_id, mailbox_id, bit, name) VALUES ($1, $2, $3, $4)",
        account_id, box.mailbox_id, bit, name,
    )  # fmt: skip
    box.keywords.append(name)


async def count(tx: Transaction, account_id: AccountId, box: Box, modseq: int, added: Counters, uids: int = 0) -> None:
    """Write the counters' change, the modification sequence and how many UIDs were taken; `box` follows."""
    await tx.execute(
        "UPDATE mailboxes SET modseq = $3, messages = messages + $4, unseen = unseen + $5, deleted = deleted + $6,"
        " size = size + $7, uidnext = uidnext + $8 WHERE account_id = $1 AND mailbox_id = $2",
        account_id, box.mailbox_id, modseq, added.messages, added.unseen, added.deleted, added.size, uids,
    )  # fmt: skip
    box.modseq = modseq
    box.messages += added.messages
    box.unseen += added.unseen
    box.deleted += added.deleted
    box.size += added.size
    box.uidnext += uids
