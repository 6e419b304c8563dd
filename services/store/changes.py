"""The change hub: what commits is told to the front-end processes that look at the mailbox.

Rules:
1. A subscription has a position in each mailbox it follows: the modification sequence up to which it was told. A delta
   that begins at or below the position goes into its queue and moves the position. Nothing is told twice, and never out
   of order.
2. Whatever cannot be done so (a new follower, a full queue, a delta that nobody built) makes the follower stale: the
   subscription then reads the delta from the store by modification sequence, when its consumer asks for the next one.
   A slow consumer thus costs its bounded queue and no more.
3. Publishing costs one look-up where nobody follows, and one append for each follower elsewhere. Deltas are built when
   they are asked for: what happened in a mailbox meanwhile then goes as one.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.common.domain import AccountId, MailboxDelta, MailboxId, MailboxStatus, Rows

MAX_QUEUED_ROWS: Final = 65_536
"""Rows (a delta counts as one and its messages) that wait in one subscription."""

Key = tuple[AccountId, MailboxId]
Reader = Callable[[AccountId, MailboxId, int], Awaitable[MailboxDelta]]
"""What changed in a mailbox after a modification sequence; a mailbox that is no more comes as `gone`."""


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change of a mailbox, from the modification sequence `since` to `modseq`; `changed` is (uid, flags).

    `status` gives the mailbox as it then was. None: nobody followed while the change was made, so nothing was read for
    it.
    """

    account_id: AccountId
    mailbox_id: MailboxId
    modseq: int
    since: int = 0
    status: Callable[[], MailboxStatus] | None = None
    changed: Sequence[tuple[int, int]] = ()
    expunged: Sequence[int] = ()
    gone: bool = False

    @property
    def rows(self) -> int:
        """What it weighs in a queue."""
        return 1 + len(self.changed) + len(self.expunged)


def together(changes: Sequence[Change]) -> MailboxDelta:
    """Changes of one mailbox that follow one another, as one delta."""
    last = changes[-1]
    if last.status is None:
        raise ValueError("a change that nothing is known of cannot be told")
    flags: dict[int, tuple[int, int, int]] = {}
    expunged: list[int] = []
    for change in changes:
        for uid, mask in change.changed:
            flags[uid] = (uid, mask, change.modseq)
        for uid in change.expunged:
            flags.pop(uid, None)
        expunged += change.expunged
    uids, masks, modseqs = zip(*sorted(flags.values()), strict=True) if flags else ((), (), ())
    rows = Rows(array("I", uids), array("Q", masks), array("Q", modseqs))
    gone = array("I", sorted(expunged))
    return MailboxDelta(last.account_id, changes[0].since, last.status(), rows, gone, last.gone)


@dataclass(slots=True, eq=False)
class _Follower:
    """A mailbox that a subscription follows. `latest` is the highest modification sequence heard of."""

    subscription: Subscription
    key: Key
    position: int
    latest: int
    stale: bool = True


class ChangeHub:
    """All subscriptions. Lives in the event loop; `followed` may be asked from any thread."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._followers: dict[Key, list[_Follower]] = {}
        self._watchers: dict[AccountId, list[Subscription]] = {}

    def followed(self, account_id: AccountId, mailbox_id: MailboxId) -> bool:
        """Whether anybody looks at the mailbox. An answer that is out of date costs a read later, no more."""
        return (account_id, mailbox_id) in self._followers

    def publish(self, change: Change) -> None:
        """Tell those who follow the mailbox. To be called in commit order."""
        for watcher in self._watchers.get(change.account_id, ()):
            watcher.touch(change.account_id, change.modseq)
        followers = self._followers.get((change.account_id, change.mailbox_id))
        if followers is None:
            return
        for follower in tuple(followers):
            follower.subscription.offer(follower, change)

    def subscribe(self, max_rows: int = MAX_QUEUED_ROWS) -> Subscription:
        """A new subscription, of nothing yet."""
        return Subscription(self, max_rows)

    def add(self, follower: _Follower) -> None:
        """Begin to publish to a follower."""
        self._followers.setdefault(follower.key, []).append(follower)

    def remove(self, follower: _Follower) -> None:
        """Publish to it no more."""
        followers = self._followers.get(follower.key, [])
        if follower in followers:
            followers.remove(follower)
        if not followers:
            self._followers.pop(follower.key, None)

    def watch(self, account_id: AccountId, subscription: Subscription) -> None:
        """Begin to tell of changes of an account."""
        self._watchers.setdefault(account_id, []).append(subscription)

    def unwatch(self, account_id: AccountId, subscription: Subscription) -> None:
        """Tell no more of them."""
        watchers = [each for each in self._watchers.pop(account_id, []) if each is not subscription]
        if watchers:
            self._watchers[account_id] = watchers


class Subscription:
    """The deltas of the mailboxes that one front-end process follows. One consumer calls `next`."""

    def __init__(self, hub: ChangeHub, max_rows: int) -> None:
        self._hub = hub
        self._max_rows = max_rows
        self._followers: dict[Key, _Follower] = {}
        self._stale: deque[_Follower] = deque()
        self._queue: deque[tuple[_Follower, Change]] = deque()
        self._rows = 0
        self._wake = asyncio.Event()
        self._accounts: set[AccountId] = set()
        self._touched: dict[AccountId, int] = {}

    def follow_account(self, account_id: AccountId) -> None:
        """From now on `notices` tells of the account; at once, since it may have changed before."""
        if account_id not in self._accounts:
            self._accounts.add(account_id)
            self._hub.watch(account_id, self)
        self.touch(account_id, 0)

    def unfollow_account(self, account_id: AccountId) -> None:
        """No more notices of the account."""
        if account_id in self._accounts:
            self._accounts.discard(account_id)
            self._hub.unwatch(account_id, self)
        self._touched.pop(account_id, None)

    def touch(self, account_id: AccountId, modseq: int) -> None:
        """Something in the account changed; called by the hub."""
        self._touched[account_id] = max(modseq, self._touched.get(account_id, 0))
        self._wake.set()

    def notices(self) -> dict[AccountId, int]:
        """Accounts in which something changed since this was last asked, with their modification sequences."""
        touched, self._touched = self._touched, {}
        return touched

    def follow(self, account_id: AccountId, mailbox_id: MailboxId, since: int) -> None:
        """From now on `next` gives what happened in the mailbox after `since`. A repeat starts again at its `since`."""
        self.unfollow(account_id, mailbox_id)
        follower = _Follower(self, (account_id, mailbox_id), since, since)
        self._followers[follower.key] = follower
        self._hub.add(follower)
        self._stale.append(follower)
        self._wake.set()

    def unfollow(self, account_id: AccountId, mailbox_id: MailboxId) -> None:
        """No more deltas of this mailbox."""
        follower = self._followers.pop((account_id, mailbox_id), None)
        if follower is not None:
            self._hub.remove(follower)

    def close(self) -> None:
        """Follow nothing any more."""
        for key in tuple(self._followers):
            self.unfollow(*key)
        for account_id in tuple(self._accounts):
            self.unfollow_account(account_id)
        self._queue.clear()
        self._stale.clear()

    def offer(self, follower: _Follower, change: Change) -> None:
        """A change was committed; called by the hub."""
        follower.latest = max(follower.latest, change.modseq)
        if follower.stale or change.modseq <= follower.position:
            return
        lacking = change.status is None or change.since > follower.position
        if lacking or self._rows + change.rows > self._max_rows:
            follower.stale = True
            self._stale.append(follower)
        else:
            follower.position = change.modseq
            self._queue.append((follower, change))
            self._rows += change.rows
        self._wake.set()

    @property
    def behind(self) -> bool:
        """Whether something must be read from the store before it can be told."""
        return bool(self._stale)

    async def next(self) -> MailboxDelta:
        """The next delta; waits for one."""
        while True:
            change = self._taken()
            delta = self._told(together((change,))) if change is not None else await self._read_stale()
            if delta is not None:
                return delta
            await self._something()

    async def gathered(self) -> list[MailboxDelta]:
        """All that waits, one delta for each mailbox; waits where there is neither that nor a notice."""
        while True:
            waiting: dict[Key, list[Change]] = {}
            while (change := self._taken()) is not None:
                waiting.setdefault((change.account_id, change.mailbox_id), []).append(change)
            if waiting:
                return [self._told(together(changes)) for changes in waiting.values()]
            delta = await self._read_stale()
            if delta is not None:
                return [delta]
            if self._touched:
                return []
            await self._something()

    async def _something(self) -> None:
        if not self._queue and not self._stale:
            self._wake.clear()
            await self._wake.wait()

    def _taken(self) -> Change | None:
        """The next change in the queue of a mailbox that is followed still."""
        while self._queue:
            follower, change = self._queue.popleft()
            self._rows -= change.rows
            if self._followers.get(follower.key) is follower:
                return change
        return None

    async def _read_stale(self) -> MailboxDelta | None:
        """Read one stale follower's delta. None: there was none, or nothing had changed."""
        if not self._stale:
            return None
        follower = self._stale.popleft()
        if self._followers.get(follower.key) is not follower:
            return None
        try:
            delta = await self._hub.reader(*follower.key, follower.position)
        except BaseException:
            self._stale.append(follower)  # the caller may come again; nothing is lost
            raise
        return self._caught_up(follower, delta)

    def _caught_up(self, follower: _Follower, delta: MailboxDelta) -> MailboxDelta | None:
        changed = delta.gone or delta.status.modseq > follower.position
        follower.position = max(follower.position, delta.status.modseq)
        if follower.latest > follower.position and not delta.gone:
            self._stale.append(follower)  # committed after the snapshot that was read
        else:
            follower.stale = False
        current = self._followers.get(follower.key) is follower
        return self._told(delta) if changed and current else None

    def _told(self, delta: MailboxDelta) -> MailboxDelta:
        if delta.gone:
            self.unfollow(delta.account_id, delta.status.mailbox_id)
        return delta
