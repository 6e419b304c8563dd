"""The indexes of the accounts that are asked about, brought up to date by one call each time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from services.http.mail.index import Index

if TYPE_CHECKING:
    from services.common.domain import AccountId, EmailDelta
    from services.common.store import Emails

STEP: Final = 2_000
"""Places that are taken up before others have their turn."""
EMAIL_BYTES: Final = 640
"""What an email costs in an index (measured: 540 to 700)."""


class Views:
    """Keeps as many indexes as `limit` bytes hold, the longest unused go; one that is asked for is always made."""

    def __init__(self, emails: Emails, limit: Callable[[], int]) -> None:
        self._emails = emails
        self._limit = limit
        self._kept: OrderedDict[AccountId, Index] = OrderedDict()
        self._locks: dict[AccountId, asyncio.Lock] = {}

    async def current(self, account_id: AccountId) -> Index:
        """The account as it is now. Good until the next await. Raises StoreError."""
        lock = self._locks.setdefault(account_id, asyncio.Lock())
        try:
            async with lock:
                return await self._renewed(account_id)
        finally:
            if not lock.locked() and account_id not in self._kept:
                self._locks.pop(account_id, None)

    async def _renewed(self, account_id: AccountId) -> Index:
        index = self._kept.get(account_id) or Index()
        delta = await self._emails.sync(account_id, index.modseq)
        if delta.since == 0 or len(delta.places) > STEP:
            index = await self._made(account_id, delta)
        elif delta.modseq > index.modseq:
            index.apply(delta)
        self._kept[account_id] = index
        self._kept.move_to_end(account_id)
        self._bound()
        return index

    async def _made(self, account_id: AccountId, delta: EmailDelta) -> Index:
        """A new index; others have their turn meanwhile, and nobody sees it before it is whole."""
        if delta.since:
            delta = await self._emails.sync(account_id)
        index = Index()
        for _ in index.applying(delta, STEP):
            await asyncio.sleep(0)
        return index

    def _bound(self) -> None:
        held = sum(len(index.emails) for index in self._kept.values()) * EMAIL_BYTES
        while held > self._limit() and len(self._kept) > 1:
            account_id, index = self._kept.popitem(last=False)
            held -= len(index.emails) * EMAIL_BYTES
            if not self._locks[account_id].locked():
                self._locks.pop(account_id, None)
