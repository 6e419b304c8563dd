"""The change hub: what followers hear is what a sync would tell them."""

from __future__ import annotations

import asyncio
import random

import pytest

from services.common.domain import (
    DELETED,
    FLAGGED,
    SEEN,
    Account,
    AccountId,
    AppendItem,
    FlagChange,
    FlagOperation,
    MailboxDelta,
    MailboxId,
    MailboxStatus,
    Recipient,
)
from services.store.changes import ChangeHub, Subscription
from tests.support.stores import FREE, OpenStore, mail, request

ADD = FlagOperation.ADD


async def heard(subscription: Subscription) -> list[MailboxDelta]:
    """All that is there to be heard now."""
    found = []
    while True:
        try:
            found.append(await asyncio.wait_for(subscription.next(), 0.05))
        except TimeoutError:
            return found


async def append(opened: OpenStore, account: Account, count: int = 1) -> None:
    """More messages in INBOX."""
    items = [AppendItem(mail())] * count
    await opened.rules.append(account.account_id, "INBOX", items, FREE, request_id=request())


async def test_every_kind_of_change_is_told(opened: OpenStore, account: Account, inbox: MailboxStatus) -> None:
    rules, where = opened.rules, (account.account_id, inbox.mailbox_id)
    subscription = rules.hub.subscribe()
    subscription.follow(*where, inbox.modseq)
    assert await heard(subscription) == []
    await append(opened, account, 3)
    await rules.deliver([Recipient(account.name)], mail(), request_id=request())
    await rules.modify_flags(*where, [1, 2], FlagChange(ADD, DELETED, ("new",)))
    await rules.expunge(*where)
    await rules.copy_messages(*where, [3], "INBOX", FREE, request_id=request())
    await rules.copy_messages(*where, [3], "Trash", FREE, move=True, request_id=request())
    drop = await rules.open_maildrop(account.account_id)
    await rules.commit_maildrop(account.account_id, drop.lock, [4], [5])
    await rules.rename_mailbox(account.account_id, "INBOX", "old")
    deltas = await heard(subscription)
    assert [list(each.changed.uids) for each in deltas] == [[1, 2, 3], [4], [1, 2], [], [5], [], [5], [], []]
    assert [list(each.expunged) for each in deltas] == [[], [], [], [1, 2], [], [3], [], [4], [5]]
    assert deltas[2].status.keywords == deltas[-1].status.keywords == ("new",)
    position = inbox.modseq
    for delta in deltas:
        assert delta.since == position
        position = delta.status.modseq
        assert set(delta.changed.modseqs) <= {position}
    assert deltas[-1].status == await rules.get_mailbox(account.account_id, "INBOX")


async def test_following_begins_with_what_was_missed(opened: OpenStore, account: Account, inbox: MailboxStatus) -> None:
    where = (account.account_id, inbox.mailbox_id)
    await append(opened, account, 2)
    middle = await opened.rules.get_mailbox(account.account_id, "INBOX")
    await append(opened, account, 1)
    subscription = opened.rules.hub.subscribe()
    subscription.follow(*where, middle.modseq)
    [delta] = await heard(subscription)
    assert delta == await opened.rules.sync_mailbox(*where, middle.modseq)
    subscription.follow(*where, 0)
    [delta] = await heard(subscription)
    assert (delta.since, list(delta.changed.uids)) == (0, [1, 2, 3])


async def test_deleted_mailboxes_and_accounts_are_gone(
    opened: OpenStore, account: Account, inbox: MailboxStatus
) -> None:
    rules = opened.rules
    made = await rules.create_mailbox(account.account_id, "Lists")
    subscription = rules.hub.subscribe()
    subscription.follow(account.account_id, made.mailbox_id, made.modseq)
    subscription.follow(account.account_id, inbox.mailbox_id, inbox.modseq)
    await heard(subscription)
    await rules.delete_mailbox(account.account_id, "Lists")
    [delta] = await heard(subscription)
    assert (delta.gone, delta.status.mailbox_id, delta.status.name) == (True, made.mailbox_id, "Lists")
    subscription.follow(account.account_id, made.mailbox_id, made.modseq)
    [delta] = await heard(subscription)
    assert (delta.gone, delta.status.name) == (True, "Lists")
    await rules.delete_account(account.name)
    [delta] = await heard(subscription)
    assert (delta.gone, delta.status.mailbox_id) == (True, inbox.mailbox_id)
    subscription.follow(account.account_id, MailboxId(999), 5)
    [delta] = await heard(subscription)
    assert delta.gone
    assert not rules.hub.followed(account.account_id, inbox.mailbox_id)


async def test_a_slow_consumer_is_told_in_one_piece(opened: OpenStore, account: Account, inbox: MailboxStatus) -> None:
    where = (account.account_id, inbox.mailbox_id)
    subscription = opened.rules.hub.subscribe(max_rows=5)
    subscription.follow(*where, inbox.modseq)
    await heard(subscription)
    for _ in range(6):
        await append(opened, account)
    deltas = await heard(subscription)
    assert len(deltas) == 3
    assert [uid for delta in deltas for uid in delta.changed.uids] == [1, 2, 3, 4, 5, 6]
    await append(opened, account)
    [delta] = await heard(subscription)
    assert list(delta.changed.uids) == [7]


async def test_who_follows_nothing_hears_nothing(opened: OpenStore, account: Account, inbox: MailboxStatus) -> None:
    hub: ChangeHub = opened.rules.hub
    where = (account.account_id, inbox.mailbox_id)
    one, two = hub.subscribe(), hub.subscribe()
    one.follow(*where, inbox.modseq)
    two.follow(*where, inbox.modseq)
    await heard(one)
    await append(opened, account)
    one.unfollow(*where)
    assert await heard(one) == []
    two.close()
    assert await heard(two) == []
    assert not hub.followed(*where)


class Watcher:
    """A front-end process: its copy of the mailbox, and how far it was told."""

    def __init__(self, opened: OpenStore, where: tuple[AccountId, MailboxId], max_rows: int, seed: int) -> None:
        self.subscription = opened.rules.hub.subscribe(max_rows)
        self.subscription.follow(*where, 0)
        self.where = where
        self.copy: dict[int, int] = {}
        self.position = 0
        self.chance = random.Random(seed)

    async def watch(self, until: int) -> None:
        """Take deltas, now slowly and now fast, up to a modification sequence."""
        while self.position < until:
            delta = await self.subscription.next()
            assert delta.since <= self.position < delta.status.modseq
            self.position = delta.status.modseq
            self.copy.update(zip(delta.changed.uids, delta.changed.flags, strict=True))
            for uid in delta.expunged:
                self.copy.pop(uid, None)
            if self.chance.random() < 0.2:
                self.subscription.follow(*self.where, self.position)
            await asyncio.sleep(self.chance.choice((0, 0, 0.002)))


async def change_something(opened: OpenStore, account: Account, mailbox_id: MailboxId, chance: random.Random) -> None:
    """One random operation."""
    where = (account.account_id, mailbox_id)
    uids = [chance.randrange(1, 30) for _ in range(chance.randrange(1, 6))]
    match chance.randrange(4):
        case 0:
            await append(opened, account, chance.randrange(1, 4))
        case 1:
            change = FlagChange(chance.choice([*FlagOperation]), SEEN | DELETED)
            await opened.rules.modify_flags(*where, uids, change)
        case 2:
            await opened.rules.modify_flags(*where, uids, FlagChange(ADD, FLAGGED))
        case _:
            await opened.rules.expunge(*where, uids)


@pytest.mark.parametrize("seed", range(4))
async def test_deltas_under_load_leave_no_gap(
    opened: OpenStore, account: Account, inbox: MailboxStatus, seed: int
) -> None:
    """Writers, and followers that come, go and lag; each follower's copy must end as the mailbox is."""
    chance = random.Random(seed)
    where = (account.account_id, inbox.mailbox_id)
    watchers = [Watcher(opened, where, max_rows, seed + max_rows) for max_rows in (2, 10, 1000)]
    endless = [asyncio.create_task(watcher.watch(1 << 62)) for watcher in watchers]
    for _ in range(15):
        writers = [random.Random(chance.random()) for _ in range(4)]
        await asyncio.gather(*(change_something(opened, account, inbox.mailbox_id, own) for own in writers))
    for task in endless:
        task.cancel()
    results = await asyncio.gather(*endless, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    final = await opened.rules.sync_mailbox(*where)
    await asyncio.gather(*(watcher.watch(final.status.modseq) for watcher in watchers))
    expected = dict(zip(final.changed.uids, final.changed.flags, strict=True))
    assert [watcher.copy for watcher in watchers] == [expected] * 3


async def test_what_waits_is_told_as_one(opened: OpenStore, account: Account, inbox: MailboxStatus) -> None:
    rules, where = opened.rules, (account.account_id, inbox.mailbox_id)
    other = await rules.get_mailbox(account.account_id, "Trash")
    subscription = rules.hub.subscribe()
    subscription.follow(*where, inbox.modseq)
    subscription.follow(account.account_id, other.mailbox_id, other.modseq)
    await heard(subscription)
    await append(opened, account, 4)
    await rules.modify_flags(*where, [3, 1], FlagChange(ADD, DELETED))
    await rules.modify_flags(*where, [4, 3], FlagChange(ADD, SEEN))
    await rules.expunge(*where, [1])
    await rules.copy_messages(*where, [2], "Trash", FREE, request_id=request())
    deltas = await subscription.gathered()
    assert deltas == [
        await rules.sync_mailbox(*where, inbox.modseq),
        await rules.sync_mailbox(account.account_id, other.mailbox_id, other.modseq),
    ]
    assert not subscription.behind
    await append(opened, account)
    subscription.unfollow(*where)
    subscription.follow(*where, deltas[0].status.modseq)
    assert subscription.behind
    [delta] = await subscription.gathered()
    assert list(delta.changed.uids) == [5]
