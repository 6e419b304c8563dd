"""The mailboxes that this process knows, one `SharedMailbox` each, kept true by the change feed.

Opening a mailbox that is known costs one small call (`sync_mailbox` after what is known), which sessions that open it
at the same time share: it shows them whatever was acknowledged elsewhere before. Mailboxes that nobody looks at stay
known, and followed, until their memory is wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.common.domain import AccountId, MailboxDelta, MailboxId, MailboxStatus
from services.common.errors import Reason, StoreError
from services.imap.sharedmailbox import SharedMailbox
from services.imap.view import View

if TYPE_CHECKING:
    from services.common.store import ChangeFeed, Store
    from services.imap.cache import Cache
    from services.imap.columns import ColumnReader

Key = tuple[AccountId, MailboxId]
Name = tuple[AccountId, str]


@dataclass(slots=True)
class Sync:
    """A sync that is running, and the one that waits for it to end; those who come now join the second."""

    running: asyncio.Task[Any]
    queued: asyncio.Task[Any] | None = field(default=None)


class Mailboxes:
    """Opens, keeps and refreshes mailboxes."""

    def __init__(self, store: Store, feed: ChangeFeed, cache: Cache, columns: ColumnReader) -> None:
        self._store = store
        self._columns = columns
        self._feed = feed
        self._cache = cache
        self._known: dict[Key, SharedMailbox] = {}
        self._names: dict[Name, MailboxId] = {}
        self._syncs: dict[Any, Sync] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, account_id: AccountId, mailbox_id: MailboxId) -> SharedMailbox | None:
        """The mailbox, if this process knows it."""
        return self._known.get((account_id, mailbox_id))

    async def open(self, account_id: AccountId, name: str, *, read_only: bool, rev2: bool) -> View:
        """A new view, of the mailbox as it is now. Raises StoreError (MAILBOX_NOT_FOUND)."""
        claim = not read_only
        shared, status = await self._joined(
            (account_id, name, claim), lambda: self._open(account_id, name, claim=claim)
        )
        if shared.gone:
            raise StoreError(Reason.MAILBOX_NOT_FOUND)
        self._cache.forget(("mailbox", shared.key))
        return View(shared, read_only=read_only, recent_from=status.recent_from, rev2=rev2, on_close=self._left)

    async def refresh(self, shared: SharedMailbox) -> None:
        """Take in at once what was done elsewhere, for example by an own APPEND or COPY into it."""
        await self._joined((shared.key, "refresh"), lambda: self._refresh(shared))

    async def close(self) -> None:
        """Wait for what runs in the background."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # opening
    async def _open(self, account_id: AccountId, name: str, *, claim: bool) -> tuple[SharedMailbox, MailboxStatus]:
        known = self._by_name(account_id, name)
        status = known.status if known else None
        claims = claim and (status is None or status.recent_from < status.uidnext)
        delta = await self._store.sync_mailbox(account_id, name, known.known if known else 0, claim_recent=claims)
        shared = await self._take(name, known, delta)
        if claim and not claims and delta.status.recent_from < delta.status.uidnext:
            delta = await self._store.sync_mailbox(account_id, name, shared.known, claim_recent=True)
            shared = await self._take(name, shared, delta)
        if claim:
            shared.claimed(delta.status.uidnext)
        return shared, delta.status

    def _by_name(self, account_id: AccountId, name: str) -> SharedMailbox | None:
        mailbox_id = self._names.get((account_id, name))
        return None if mailbox_id is None else self._known.get((account_id, mailbox_id))

    async def _take(self, name: str, known: SharedMailbox | None, delta: MailboxDelta) -> SharedMailbox:
        """The mailbox that the delta is of: the known one brought up to date, or a new one."""
        account_id, mailbox_id = delta.account_id, delta.status.mailbox_id
        if known is None or known.mailbox_id != mailbox_id:
            known = self._known.get((account_id, mailbox_id))
            if known is None and delta.since:  # the name now means another mailbox
                delta = await self._store.sync_mailbox(account_id, mailbox_id)
        if known is not None and not known.apply(delta):
            await self._refresh(known)
        if known is None or (known.gone and not delta.since):
            known = self._adopt(delta)
        self._names[account_id, name] = mailbox_id
        return known

    def _adopt(self, delta: MailboxDelta) -> SharedMailbox:
        key = (delta.account_id, delta.status.mailbox_id)
        known = self._known.get(key)
        if known is not None and known.apply(delta):
            if not known.gone:
                return known
            self._lost(known)
        shared = self._known[key] = SharedMailbox(delta)
        self._feed.follow(*key, shared.known, lambda change: self._changed(shared, change))
        self._release(shared)
        return shared

    async def _refresh(self, shared: SharedMailbox) -> None:
        try:
            delta = await self._store.sync_mailbox(shared.account_id, shared.mailbox_id, shared.known)
        except StoreError as error:
            if error.reason is not Reason.MAILBOX_NOT_FOUND:
                raise
            self._lost(shared)
        else:
            shared.apply(delta)
            if shared.gone:
                self._lost(shared)

    # the feed
    def _changed(self, shared: SharedMailbox, delta: MailboxDelta) -> None:
        if not shared.apply(delta):
            self._background(self.refresh(shared))
        elif shared.gone:
            self._lost(shared)
        elif shared.doomed:
            self._background(self._columns.rescue(shared))

    def _lost(self, shared: SharedMailbox) -> None:
        """The mailbox was deleted. Its sessions keep it, empty; nobody finds it any more."""
        shared.vanish()
        self._forget(shared)

    # leaving
    def _left(self, view: View) -> None:
        """What came while the session looked was recent to it, and is so to nobody after it."""
        shared = view.shared
        status = shared.status
        if not view.read_only and not shared.gone and status.recent_from < status.uidnext:
            shared.claimed(status.uidnext)
            self._background(self._claim(shared))
        self._release(shared)

    async def _claim(self, shared: SharedMailbox) -> None:
        delta = await self._store.sync_mailbox(shared.account_id, shared.mailbox_id, shared.known, claim_recent=True)
        shared.apply(delta)

    def _release(self, shared: SharedMailbox) -> None:
        if not shared.views and self._known.get(shared.key) is shared:
            self._cache.keep(("mailbox", shared.key), shared.size, lambda: self._evict(shared))

    def _evict(self, shared: SharedMailbox) -> None:
        if not shared.views:
            self._forget(shared)

    def _forget(self, shared: SharedMailbox) -> None:
        if self._known.get(shared.key) is not shared:
            return
        del self._known[shared.key]
        self._feed.unfollow(*shared.key)
        self._cache.forget(("mailbox", shared.key))
        for cached in [*shared.columns, *shared.rendered]:
            self._cache.forget((shared, cached))
        stale = [name for name, mailbox_id in self._names.items() if (name[0], mailbox_id) == shared.key]
        for name in stale:
            del self._names[name]

    # syncs
    async def _joined(self, key: Any, work: Any) -> Any:
        """Run `work`, shared with everyone who asks for the same before it begins."""
        sync = self._syncs.get(key)
        if sync is None:
            sync = self._syncs[key] = Sync(self._task(work()))
            sync.running.add_done_callback(lambda _: self._next(key))
            return await asyncio.shield(sync.running)
        if sync.queued is None:
            sync.queued = self._task(self._after(sync.running, work))
        return await asyncio.shield(sync.queued)

    @staticmethod
    async def _after(before: asyncio.Task[Any], work: Any) -> Any:
        await asyncio.wait((before,))
        return await work()

    def _next(self, key: Any) -> None:
        sync = self._syncs.pop(key)
        if sync.queued is not None:
            sync = self._syncs[key] = Sync(sync.queued)
            sync.running.add_done_callback(lambda _: self._next(key))

    def _task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work)
        # A waiter that was cancelled must not leave "exception was never retrieved" behind.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
