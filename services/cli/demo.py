"""What `mailkeep run --demo` adds: high ports, a certificate, and an account with a few hundred varied messages."""

from __future__ import annotations

import random
import time
import uuid
from itertools import islice
from typing import Final

from services.common.domain import ANSWERED, DRAFT, FLAGGED, INBOX, SEEN, AppendItem, Quota
from services.common.samplemail import sample_mails
from services.common.store import Store

ACCOUNT: Final = "demo@example.com"
PASSWORD: Final = "demo"  # noqa: S105 - printed for everyone to use, on loopback
FOLDERS: Final[dict[str, int]] = {
    INBOX: 240,
    "Archive": 60,
    "Sent": 40,
    "Drafts": 4,
    "Junk": 10,
    "Projects/Harbour": 30,
}
_BATCH: Final = 40
_DAY: Final = 86_400
_SEED: Final = 20


async def fill(store: Store) -> int:
    """Fill the demo account where it is empty. Returns how many messages it was given (0: it had mail already)."""
    account = await store.open_account(ACCOUNT)
    if account.used_messages:
        return 0
    for name in FOLDERS:
        if not any(status.name == name for status in await store.list_mailboxes(account.account_id)):
            await store.create_mailbox(account.account_id, name)
            await store.subscribe(account.account_id, name, True)
    chance = random.Random(_SEED)  # noqa: S311 - sample data
    mails = iter(sample_mails(seed=_SEED))
    for name, count in FOLDERS.items():
        items = [_item(body, name, chance) for body in islice(mails, count)]
        items.sort(key=lambda item: item.internaldate or 0)
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            await store.append(account.account_id, name, batch, Quota(), request_id=str(uuid.uuid4()))
    return sum(FOLDERS.values())


def _item(body: bytes, folder: str, chance: random.Random) -> AppendItem:
    age = int(chance.expovariate(1 / 60) * _DAY)
    return AppendItem(body, _flags(folder, age, chance), _keywords(folder, chance), int(time.time()) - age)


def _flags(folder: str, age: int, chance: random.Random) -> int:
    """Old mail is mostly read, some of it answered or flagged."""
    if folder == "Drafts":
        return SEEN | DRAFT
    read = folder == "Sent" or chance.random() < (0.95 if age > 7 * _DAY else 0.4)
    flags = SEEN if read else 0
    flags |= ANSWERED if read and chance.random() < 0.2 else 0
    return flags | (FLAGGED if chance.random() < 0.07 else 0)


def _keywords(folder: str, chance: random.Random) -> tuple[str, ...]:
    if folder == "Junk":
        return ("$Junk",)
    return ("$Forwarded",) if chance.random() < 0.05 else ()
