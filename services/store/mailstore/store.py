"""`MailStore`: the store's rules behind the one interface that everybody asks."""

from __future__ import annotations

import asyncio
import logging
import time
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from services.common.domain import (
    Account,
    AccountId,
    AppendItem,
    AppendResult,
    BodyRef,
    Column,
    Columns,
    CopyResult,
    Delivered,
    ExpungeResult,
    FlagChange,
    FlagEdit,
    FlagEdited,
    FlagResult,
    MailboxDelta,
    MailboxId,
    MailboxStatus,
    Maildrop,
    Page,
    Quota,
    Recipient,
    TextKey,
)
from services.common.errors import Reason, StoreError
from services.common.listings import Listings
from services.common.mime.analysis import Analysis, analyse
from services.common.options import StoreOptions
from services.store.backends import BodyStore, Database, Rule
from services.store.backends.digests import digest_of
from services.store.changes import ChangeHub
from services.store.mailstore import (
    account,
    accounts,
    copying,
    delivery,
    expunging,
    filing,
    flags,
    history,
    mailboxes,
    maildrop,
    messages,
    reaping,
    requests,
)
from services.store.mailstore.bodies import Bodies
from services.store.mailstore.contents import Filed
from services.store.mailstore.emails import EmailRules
from services.store.mailstore.filing import Ticket
from services.store.mailstore.indexing import Indexer, TextMaker
from services.store.mailstore.logins import LoginRules
from services.store.mailstore.outcome import Outcome
from services.store.mailstore.search import Searcher
from services.store.textindex import SqliteTextIndex, TextIndex

T = TypeVar("T")
_log = logging.getLogger(__name__)

MAX_PAGE: Final = 10_000
INLINE_BYTES: Final = 64 * 1024
"""Messages up to this size are analysed in the event loop: a thread costs more than the work."""
FORESEEN_BYTES: Final = 64 * 1024
"""From this size on it is looked whether there is room before a body is written: a read costs less."""
RECIPIENTS_AT_ONCE: Final = 100
"""Recipients of one transaction: a delivery to thousands must not hold up the others."""
SWEEP_SECONDS: Final = 30.0
"""How often outcomes of old requests are forgotten."""


class MailStore:
    """Implements `services.common.store.Store` over a `Database` and a `BodyStore`.

    Usable without `start`: what runs in the background (clearing, indexing) then waits for `sweep` and `index`.
    """

    def __init__(
        self,
        database: Database,
        bodies: BodyStore,
        options: StoreOptions | None = None,
        *,
        index: TextIndex | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.hub = ChangeHub(self._follow)
        self._database = database
        self._body_store = bodies
        self._options = options or StoreOptions()
        self._clock = clock
        self._executor = ThreadPoolExecutor(2, "store-text")
        self.logins = LoginRules(database, clock)
        self.emails = EmailRules(database, bodies, clock, self._check_size)
        self._bodies = Bodies(database, bodies)
        self._locks = maildrop.Locks()
        self._listings: Listings[maildrop.Listing] = Listings()
        self._serving = 0
        self._served = 0.0
        maker = TextMaker(self._bodies, self._executor)
        engine = index or SqliteTextIndex()
        self._indexer = Indexer(database, maker, engine, self._at_rest)
        self._searcher = Searcher(database, maker, engine)
        self._swept = asyncio.Event()
        self._shrunk: set[tuple[AccountId, MailboxId]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def reload(self, options: StoreOptions) -> None:
        """Take the values of the options that are live."""
        self._options = options

    def start(self) -> None:
        """Begin the work in the background."""
        for work in (self._indexer.run(), self._sweep_for_ever()):
            self._tasks.append(asyncio.create_task(work))

    async def close(self) -> None:
        """End the work in the background. The backends are their opener's to close."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def index(self, batches: int | None = None) -> None:
        """Make search texts now: all that are to be made, or so many batches."""
        while batches != 0 and await self._indexer.step():
            batches = None if batches is None else batches - 1

    def forget_searches(self) -> None:
        """Forget the answers of searches that are kept."""
        self._searcher.forget()

    async def sweep(self) -> None:
        """Clear what deleted mailboxes and accounts left, old requests and logins, and history that nobody needs."""
        while (remains := await self._database.read(reaping.noted)) is not None:
            await self._clear(remains)
            self._indexer.poke()
        before = self._now() - requests.KEEP_SECONDS
        while await self._database.write(lambda tx: reaping.purge_requests(tx, before)):
            pass
        await self.logins.purge()
        shrunk, self._shrunk = self._shrunk, set()
        for where in shrunk:
            await self._shorten_history(*where)
        for account_id in {account_id for account_id, _ in shrunk}:
            await self._forget_threads(account_id)

    async def _shorten_history(self, account_id: AccountId, mailbox_id: MailboxId) -> None:
        if await self._database.read(lambda tx: history.is_long(tx, account_id, mailbox_id)):
            while await self._database.write(lambda tx: history.shorten(tx, account_id, mailbox_id)):
                pass

    async def _forget_threads(self, account_id: AccountId) -> None:
        now = self._now()
        found = await self._database.read(lambda tx: history.dead_threads(tx, account_id, now))
        if found is None:
            return
        dead, newest = found
        for start in range(0, len(dead), history.BATCH):
            part = dead[start : start + history.BATCH]
            await self._database.write(partial(history.forget_threads, account_id=account_id, dead=part, newest=newest))
        await self._database.write(lambda tx: history.note_threads(tx, account_id, now))

    async def _clear(self, remains: reaping.Remains) -> None:
        while not await self._database.write(lambda tx: reaping.clear(tx, remains, self._now())):
            pass

    async def _sweep_for_ever(self) -> None:
        while True:
            self._swept.clear()
            try:
                await self.sweep()
            except StoreError as error:
                _log.warning("clearing up failed: %s", error.reason.name)
            except Exception:  # it is tried again: what is not cleared fills the disk
                _log.exception("clearing up failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._swept.wait(), SWEEP_SECONDS)

    # accounts

    async def open_account(self, name: str, *, create: bool = True) -> Account:
        """The account, made with INBOX and special-use folders at first use."""
        found = await self._read(lambda tx: account.find(tx, name))
        if found is not None:
            return found
        if not create:
            raise StoreError(Reason.ACCOUNT_NOT_FOUND)
        now = self._now()
        return await self._database.write(lambda tx: accounts.create(tx, name, now))

    async def list_accounts(self, *, page_size: int = 1000, page_token: str = "") -> Page:
        """Accounts by name; the token is the last name."""
        if page_size < 0:
            raise StoreError(Reason.INVALID_ARGUMENT)
        size = min(page_size or 1000, MAX_PAGE)
        found = await self._read(lambda tx: account.page(tx, page_token, size + 1))
        return Page(found[:size], found[size - 1].name if len(found) > size else "")

    async def delete_account(self, name: str) -> None:
        """Remove the account; its rows are cleared in the background."""
        account_id = await self._write(lambda tx: accounts.delete(tx, name, self.hub.followed))
        self._listings.drop(account_id)
        self._swept.set()

    # mailboxes

    async def list_mailboxes(self, account_id: AccountId) -> Sequence[MailboxStatus]:
        """Every mailbox with its counters, sorted by name with INBOX first."""
        return await self._read(lambda tx: mailboxes.statuses(tx, account_id))

    async def get_mailbox(self, account_id: AccountId, name: str) -> MailboxStatus:
        """One mailbox (STATUS)."""
        return await self._read(lambda tx: mailboxes.status(tx, account_id, name))

    async def list_subscriptions(self, account_id: AccountId) -> Sequence[str]:
        """Subscribed names, sorted."""
        return await self._read(lambda tx: mailboxes.subscriptions(tx, account_id))

    async def create_mailbox(self, account_id: AccountId, name: str, special_use: str = "") -> MailboxStatus:
        """Make it and the levels above it."""
        limit, now = self._options.maxmailboxes, self._now()
        return await self._write(lambda tx: mailboxes.create(tx, account_id, name, special_use, limit, now))

    async def rename_mailbox(self, account_id: AccountId, name: str, new_name: str) -> None:
        """With all below it; renaming INBOX moves its messages and leaves it empty."""
        limit, now = self._options.maxmailboxes, self._now()
        await self._write(lambda tx: mailboxes.rename(tx, account_id, name, new_name, limit, now))

    async def delete_mailbox(self, account_id: AccountId, name: str) -> None:
        """Remove a mailbox; its rows are cleared in the background."""
        await self._write(lambda tx: mailboxes.delete(tx, account_id, name))
        self._swept.set()

    async def subscribe(self, account_id: AccountId, name: str, subscribed: bool) -> None:
        """Idempotent; the mailbox need not exist."""
        await self._write(lambda tx: mailboxes.subscribe(tx, account_id, name, subscribed))

    # messages

    async def sync_mailbox(
        self, account_id: AccountId, mailbox: str | MailboxId, since: int = 0, *, claim_recent: bool = False
    ) -> MailboxDelta:
        """What changed after `since`; 0 gives everything."""
        delta = await self._read(lambda tx: messages.sync(tx, account_id, mailbox, since))
        if not claim_recent or delta.status.recent_from >= delta.status.uidnext:
            return delta
        return await self._write(lambda tx: messages.sync_and_claim(tx, account_id, mailbox, since))

    async def fetch_columns(
        self, account_id: AccountId, mailbox_id: MailboxId, columns: Column, uids: Sequence[int] | None = None
    ) -> Columns:
        """Columns of the given messages (None: all); those that are gone are left out."""
        return await self._read(lambda tx: messages.columns_of(tx, account_id, mailbox_id, columns, uids))

    async def modify_flags(
        self,
        account_id: AccountId,
        mailbox_id: MailboxId,
        uids: Sequence[int],
        change: FlagChange,
        *,
        unchanged_since: int | None = None,
    ) -> FlagResult:
        """STORE."""
        return await self._write(lambda tx: flags.modify(tx, account_id, mailbox_id, uids, change, unchanged_since))

    async def modify_each(self, edits: Sequence[FlagEdit]) -> Sequence[FlagEdited | StoreError]:
        """STORE of many sessions: one rule, where each by itself would cost a task, a job and a call."""
        try:
            return await self._write(lambda tx: flags.modify_each(tx, edits))
        except Exception as error:
            if len(edits) == 1:
                return [_refused(error)]
        # Whatever it was (a page that cannot be read, a disk that is full) may concern one of them only.
        alone = await asyncio.gather(*(self.modify_each([edit]) for edit in edits))
        return [outcome for (outcome,) in alone]

    async def append(
        self, account_id: AccountId, mailbox: str, items: Sequence[AppendItem], quota: Quota, *, request_id: str
    ) -> AppendResult:
        """All or none."""
        ticket = self._ticket(request_id)
        if not items:
            raise StoreError(Reason.INVALID_ARGUMENT)
        for item in items:
            self._check_size(len(item.body))
        if sum(len(item.body) for item in items) >= FORESEEN_BYTES:
            await self._read(lambda tx: filing.foresee(tx, account_id, mailbox, items, quota, ticket))
        filed = [(item, each) for item, each in zip(items, await self._file_all(items), strict=True)]
        result = await self._write(lambda tx: filing.append(tx, account_id, mailbox, filed, quota, ticket))
        self._indexer.poke()
        return result

    async def copy_messages(
        self,
        account_id: AccountId,
        mailbox_id: MailboxId,
        uids: Sequence[int],
        target: str,
        quota: Quota,
        *,
        move: bool = False,
        request_id: str,
    ) -> CopyResult:
        """COPY or MOVE, all or none."""
        ticket, limits = self._ticket(request_id), None if move else quota
        return await self._write(lambda tx: copying.copy(tx, account_id, mailbox_id, uids, target, limits, ticket))

    async def expunge(
        self,
        account_id: AccountId,
        mailbox_id: MailboxId,
        uids: Sequence[int] | None = None,
        *,
        regardless: bool = False,
    ) -> ExpungeResult:
        """Remove messages that carry \\Deleted (of `uids`, or all); with `regardless` all of `uids`."""
        now = self._now()
        result = await self._write(lambda tx: expunging.expunge(tx, account_id, mailbox_id, uids, now, regardless))
        self._indexer.poke()
        return result

    async def search_text(
        self, account_id: AccountId, mailbox_id: MailboxId, keys: Sequence[TextKey], uid_from: int = 1
    ) -> Sequence[array[int]]:
        """For each key the matching UIDs at or above `uid_from`, ascending."""
        return await self._searcher.search(account_id, mailbox_id, keys, uid_from)

    # bodies

    async def read_bodies(self, account_id: AccountId, refs: Sequence[BodyRef]) -> Sequence[bytes]:
        """Whole messages (prefix + body) in order."""
        # Bodies whose places are known never ask the database, and are use of the store all the same.
        self._serving += 1
        try:
            return await self._bodies.read_many(account_id, refs)
        finally:
            self._serving -= 1
            self._served = time.monotonic()

    def stream_body(self, account_id: AccountId, ref: BodyRef, offset: int = 0) -> AsyncIterator[bytes]:
        """One message (prefix + body) from `offset` on in chunks."""
        return self._bodies.stream(account_id, ref, offset)

    # delivery and maildrop

    async def deliver(self, recipients: Sequence[Recipient], body: bytes, *, request_id: str) -> Sequence[Delivered]:
        """One outcome for each recipient in order; the body is stored once."""
        ticket = self._ticket(request_id)
        if not recipients:
            raise StoreError(Reason.INVALID_ARGUMENT)
        self._check_size(len(body) + max(len(each.prefix) for each in recipients))
        if len(body) >= FORESEEN_BYTES and await self._read(
            lambda tx: delivery.hopeless(tx, recipients, len(body), ticket)
        ):
            return [Delivered(Reason.OVER_QUOTA.name)] * len(recipients)
        filed = await self._file(body)
        placed = list(enumerate(recipients))
        results: list[Delivered] = []
        rule = partial(delivery.deliver, filed=filed, ticket=ticket, watched=self.hub.followed)
        for start in range(0, len(placed), RECIPIENTS_AT_ONCE):
            chunk = placed[start : start + RECIPIENTS_AT_ONCE]
            try:
                outcomes = await self._write(partial(rule, recipients=chunk))
            except StoreError as error:
                if not results:
                    raise
                # Those before have the message: a refusal of all would have it sent to them again.
                outcomes = [Delivered(error.reason.name)] * len(chunk)
            results.extend(outcomes)
        self._indexer.poke()
        return results

    async def open_maildrop(self, account_id: AccountId, *, owner: str = "", lock: str = "") -> Maildrop:
        """Lock INBOX for POP3 and list it. `owner` names who `release_owner` will speak of; with `lock` it names the
        lock itself, and may ask again.
        """
        lock = self._locks.take(account_id, owner, lock)
        try:
            known = self._listings.get(account_id)
            listed = await self._read(lambda tx: maildrop.listing(tx, account_id, known))
        except BaseException:
            self._locks.release(account_id, lock)
            raise
        self._listings.put(account_id, listed)
        return maildrop.maildrop(lock, listed)

    async def commit_maildrop(
        self, account_id: AccountId, lock: str, deleted: Sequence[int], seen: Sequence[int]
    ) -> None:
        """QUIT: expunge `deleted`, mark `seen`, give the lock up (also where that fails, RFC 1939 section 6)."""
        if self._locks.was_committed(lock):
            return
        if not self._locks.holds(account_id, lock):
            raise StoreError(Reason.MAILDROP_LOCK_LOST)
        now = self._now()
        try:
            if deleted or seen:
                await self._write(lambda tx: maildrop.commit(tx, account_id, deleted, seen, now))
            self._locks.note_committed(lock)
        finally:
            self._locks.release(account_id, lock)

    async def release_maildrop(self, account_id: AccountId, lock: str) -> None:
        """Give the lock up without a change; idempotent."""
        self._locks.release(account_id, lock)

    def release_owner(self, owner: str) -> None:
        """Give up all maildrop locks of a front-end process that is gone."""
        self._locks.release_owner(owner)

    # what the methods share

    def _now(self) -> int:
        return int(self._clock())

    def _ticket(self, request_id: str) -> Ticket:
        return Ticket(requests.checked(request_id), self._now())

    def _check_size(self, size: int) -> None:
        limit = self._options.maxmessagesize
        if size > limit:
            raise StoreError(Reason.MESSAGE_TOO_LARGE, {"limit": str(limit)})

    async def _file_all(self, items: Sequence[AppendItem]) -> list[Filed]:
        if len(items) == 1:
            return [await self._file(items[0].body)]
        return list(await asyncio.gather(*(self._file(item.body) for item in items)))

    async def _file(self, body: bytes) -> Filed:
        """Analyse a message and make its body durable."""
        if len(body) > INLINE_BYTES:
            loop = asyncio.get_running_loop()
            digest, analysis = await loop.run_in_executor(self._executor, _examine, body)
            return Filed(digest, await self._body_store.put(body, digest), analysis)
        digest = digest_of(body)
        placed = self._body_store.begin(body, digest)
        try:
            # The bodies of this turn of the loop are being written while their messages are analysed.
            await asyncio.sleep(0)
            return Filed(digest, analysis=analyse(body), location=await placed)
        finally:
            placed.cancel()  # nothing, unless the caller has gone

    async def _read(self, rule: Rule[T]) -> T:
        self._serving += 1
        try:
            return await self._database.read(rule)
        finally:
            self._serving -= 1
            self._served = time.monotonic()

    async def _write(self, rule: Rule[Outcome[T]]) -> T:
        """Run a rule and publish what it changed."""
        self._serving += 1
        try:
            return (await self._database.write(rule, committed=self._publish)).result
        finally:
            self._serving -= 1
            self._served = time.monotonic()

    def _publish(self, outcome: Outcome[Any]) -> None:
        for change in outcome.changes:
            if change.expunged:
                self._shrunk.add((change.account_id, change.mailbox_id))
            self.hub.publish(change)

    def _at_rest(self) -> float:
        """Seconds since anybody but the background used the store."""
        return 0.0 if self._serving else time.monotonic() - self._served

    async def _follow(self, account_id: AccountId, mailbox_id: MailboxId, since: int) -> MailboxDelta:
        return await self._read(lambda tx: messages.follow(tx, account_id, mailbox_id, since))


def _refused(error: Exception) -> StoreError:
    """What one of several callers hears of a failure."""
    if isinstance(error, StoreError):
        return error
    _log.error("a change failed", exc_info=error)
    return StoreError(Reason.INTERNAL)


def _examine(body: bytes) -> tuple[bytes, Analysis]:
    return digest_of(body), analyse(body)
