"""Maildrops: opened at login in one call to the store, committed at QUIT, given up whatever else happens."""

from __future__ import annotations

import asyncio
from time import monotonic

from services.common.accountids import AccountIds
from services.common.domain import AccountId
from services.common.errors import Reason, StoreError
from services.common.live import Live
from services.common.options import PopOptions
from services.common.store import Store
from services.pop.languages import Text
from services.pop.session import RefusedError, Transaction


class LoginDelays:
    """LOGIN-DELAY (RFC 2449 sections 6.5 and 8.1.1): how long ago each account logged in, in this process."""

    def __init__(self, options: Live[PopOptions]) -> None:
        self._options = options
        self._last: dict[str, float] = {}

    def check(self, account: str) -> None:
        """Raises RefusedError where it is too soon."""
        last = self._last.get(account)
        if last is not None and monotonic() - last < self._options.value.logindelay:
            raise RefusedError(Text.TOO_SOON)

    def record(self, account: str) -> None:
        """A login succeeded. Accounts whose time is over are forgotten, oldest first."""
        delay = self._options.value.logindelay
        if not delay:
            self._last.clear()
            return
        now = monotonic()
        self._last.pop(account, None)
        self._last[account] = now
        while (oldest := next(iter(self._last))) and now - self._last[oldest] >= delay:
            del self._last[oldest]


class Maildrops:
    """The maildrops of this process's sessions."""

    def __init__(self, store: Store, options: Live[PopOptions]) -> None:
        self._store = store
        self._delays = LoginDelays(options)
        self._accounts = AccountIds(store)
        self._releases: set[asyncio.Task[None]] = set()

    async def open(self, account: str) -> Transaction:
        """Lock and list. Raises RefusedError (LOGIN-DELAY) and StoreError."""
        self._delays.check(account)
        drop = await self._accounts.use(account, self._lock)
        self._delays.record(account)
        return drop

    async def commit(self, drop: Transaction) -> None:
        """The UPDATE state: remove what is marked, mark what was retrieved as seen, give the lock up.

        A store that was restarted has forgotten its locks. What the client asked for holds all the same, as UIDs name
        one message for ever: the maildrop is locked again for it. Raises StoreError; then nothing was removed.
        """
        deleted = [drop.uids[index] for index in sorted(drop.deleted)]
        seen = [drop.uids[index] for index in sorted(drop.retrieved - drop.deleted)]
        if not deleted and not seen:
            await self._release(drop)
            return
        try:
            await self._store.commit_maildrop(drop.account_id, drop.lock, deleted, seen)
        except StoreError as error:
            if error.reason is not Reason.MAILDROP_LOCK_LOST:
                raise
            drop.lock = ""
            drop.lock = await self._lock_again(drop, error)
            await self._store.commit_maildrop(drop.account_id, drop.lock, deleted, seen)
        drop.lock = ""

    def abandon(self, drop: Transaction) -> None:
        """The client went without QUIT: give the lock up, nothing else (RFC 1939 section 3). Returns at once."""
        if drop.lock:
            task = asyncio.get_running_loop().create_task(self._release(drop))
            self._releases.add(task)
            task.add_done_callback(self._releases.discard)

    async def settled(self) -> None:
        """Wait until every lock that was abandoned is given up."""
        while self._releases:
            await asyncio.gather(*self._releases)

    async def _lock(self, account_id: AccountId) -> Transaction:
        return Transaction.of(account_id, await self._store.open_maildrop(account_id))

    async def _lock_again(self, drop: Transaction, lost: StoreError) -> str:
        again = await self._lock(drop.account_id)
        if again.uidvalidity == drop.uidvalidity:
            return again.lock
        await self._release(again)
        raise lost

    async def _release(self, drop: Transaction) -> None:
        lock, drop.lock = drop.lock, ""
        try:
            await self._store.release_maildrop(drop.account_id, lock)
        except StoreError:
            return  # a store that is away holds no locks when it is back
