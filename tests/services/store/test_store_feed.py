"""The change feed over the real server: no gap, not over outages either."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from services.common.domain import (
    INBOX,
    SEEN,
    Account,
    AccountId,
    AppendItem,
    FlagChange,
    FlagOperation,
    MailboxDelta,
    MailboxId,
    MailboxStatus,
    Quota,
)
from services.common.storeclient import values
from tests.support.store import StoreFixture


@pytest.fixture
async def store() -> AsyncIterator[StoreFixture]:
    """A store in memory."""
    async with StoreFixture() as fixture:
        yield fixture


@pytest.fixture
async def account(store: StoreFixture) -> Account:
    """An account."""
    return await store.account()


@pytest.fixture
async def inbox(store: StoreFixture, account: Account) -> MailboxStatus:
    """Its INBOX."""
    return await store.client.get_mailbox(account.account_id, INBOX)


class Listener:
    """Keeps a copy of the mailbox by what it is told, and checks that nothing is missing."""

    def __init__(self, since: int) -> None:
        self.modseq = since
        self.uids: set[int] = set()
        self.gone = False
        self.told = asyncio.Event()

    def __call__(self, delta: MailboxDelta) -> None:
        """Take a delta."""
        assert delta.since <= self.modseq
        self.modseq = max(self.modseq, delta.status.modseq)
        self.uids = (self.uids | set(delta.changed.uids)) - set(delta.expunged)
        self.gone = self.gone or delta.gone
        self.told.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a state."""
        async with asyncio.timeout(30):
            while not holds():
                self.told.clear()
                await self.told.wait()


async def append(store: StoreFixture, account: Account, count: int = 1) -> None:
    """New messages."""
    items = [AppendItem(b"Subject: x\r\n\r\n")] * count
    await store.store.append(account.account_id, INBOX, items, Quota(), request_id=str(uuid.uuid4()))


async def test_what_was_before_is_told_and_then_what_happens(
    store: StoreFixture, account: Account, inbox: MailboxStatus
) -> None:
    await append(store, account, 3)
    listener = Listener(0)
    store.client.feed.follow(account.account_id, inbox.mailbox_id, 0, listener)
    await listener.until(lambda: listener.uids == {1, 2, 3})
    await append(store, account)
    await listener.until(lambda: listener.uids == {1, 2, 3, 4})


async def test_nothing_is_missed_over_an_outage(store: StoreFixture, account: Account, inbox: MailboxStatus) -> None:
    listener = Listener(inbox.modseq)
    store.client.feed.follow(account.account_id, inbox.mailbox_id, inbox.modseq, listener)
    await append(store, account)
    await listener.until(lambda: listener.uids == {1})
    await store.stop()
    await store.start()
    await append(store, account, 2)
    change = FlagChange(FlagOperation.ADD, SEEN)
    await store.store.modify_flags(account.account_id, inbox.mailbox_id, [1], change)
    status = await store.store.get_mailbox(account.account_id, INBOX)
    await listener.until(lambda: listener.modseq == status.modseq)
    assert listener.uids == {1, 2, 3}


async def test_what_is_no_longer_followed_is_not_told(
    store: StoreFixture, account: Account, inbox: MailboxStatus
) -> None:
    first, second = Listener(0), Listener(0)
    feed, box = store.client.feed, inbox.mailbox_id
    feed.follow(account.account_id, box, 0, first)
    await append(store, account)
    await first.until(lambda: first.uids == {1})
    feed.unfollow(account.account_id, box)
    feed.unfollow(account.account_id, box)
    await append(store, account)
    sent = await store.client.get_mailbox(account.account_id, "Sent")
    feed.follow(account.account_id, sent.mailbox_id, 0, second)
    await store.client.copy_messages(account.account_id, box, [1, 2], "Sent", Quota(), request_id=str(uuid.uuid4()))
    await second.until(lambda: len(second.uids) == 2)
    assert first.uids == {1}


async def test_a_second_listener_takes_the_place_of_the_first(
    store: StoreFixture, account: Account, inbox: MailboxStatus
) -> None:
    first, second = Listener(0), Listener(0)
    for listener in (first, second):
        store.client.feed.follow(account.account_id, inbox.mailbox_id, 0, listener)
    await append(store, account)
    await second.until(lambda: second.uids == {1})
    assert first.uids == set()


async def test_a_listener_that_fails_costs_the_others_nothing(
    store: StoreFixture, account: Account, inbox: MailboxStatus, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: MailboxDelta) -> None:
        raise ZeroDivisionError

    sent = await store.client.get_mailbox(account.account_id, "Sent")
    listener = Listener(0)
    store.client.feed.follow(account.account_id, inbox.mailbox_id, 0, broken)
    store.client.feed.follow(account.account_id, sent.mailbox_id, 0, listener)
    await append(store, account)
    await store.client.copy_messages(
        account.account_id, inbox.mailbox_id, [1], "Sent", Quota(), request_id=str(uuid.uuid4())
    )
    await listener.until(lambda: listener.uids == {1})
    assert "a listener of the change feed failed" in caplog.text


async def test_a_large_change_comes_whole(
    store: StoreFixture, account: Account, inbox: MailboxStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "DELTA_ROWS", 5)
    monkeypatch.setattr("services.store.servicers.changes.FRAME_ROWS", 12)
    deltas: list[MailboxDelta] = []
    listener = Listener(0)
    await append(store, account, 33)

    def tell(delta: MailboxDelta) -> None:
        deltas.append(delta)
        listener(delta)

    store.client.feed.follow(account.account_id, inbox.mailbox_id, 0, tell)
    await listener.until(lambda: len(listener.uids) == 33)
    assert len(deltas) == 1


async def test_a_deleted_mailbox_is_gone(store: StoreFixture, account: Account) -> None:
    sent = await store.client.get_mailbox(account.account_id, "Sent")
    listener = Listener(sent.modseq)
    store.client.feed.follow(account.account_id, sent.mailbox_id, sent.modseq, listener)
    await store.client.delete_mailbox(account.account_id, "Sent")
    await listener.until(lambda: listener.gone)


async def test_a_mailbox_that_never_was_is_gone_too(store: StoreFixture, account: Account) -> None:
    listener = Listener(0)
    store.client.feed.follow(account.account_id, MailboxId(9_999), 0, listener)
    await listener.until(lambda: listener.gone)
    store.client.feed.follow(AccountId(9_999), MailboxId(1), 0, listener := Listener(0))
    await listener.until(lambda: listener.gone)


async def test_many_changes_share_frames(
    store: StoreFixture, account: Account, inbox: MailboxStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener(0)
    store.client.feed.follow(account.account_id, inbox.mailbox_id, 0, listener)
    await asyncio.gather(*(append(store, account) for _ in range(200)))
    await listener.until(lambda: len(listener.uids) == 200)


async def test_an_account_is_told_of_whatever_happens_in_it(store: StoreFixture) -> None:
    account = await store.account("ada@example.org")
    other = await store.account("bob@example.org")
    client = await store.connect("http")
    told: list[int] = []
    client.feed.follow_account(account.account_id, told.append)
    await until(lambda: told == [0], "it may have changed before it was followed")
    await store.store.create_mailbox(account.account_id, "New")
    await store.store.create_mailbox(other.account_id, "New")
    await until(lambda: len(told) == 2)
    assert told[1] == (await store.store.open_account(account.name)).modseq
    await store.stop()
    await store.start()
    await until(lambda: told[2:] == [0], "it may have changed while the stream was lost")
    await store.store.subscribe(account.account_id, "New", True)
    await until(lambda: len(told) == 4)
    client.feed.unfollow_account(account.account_id)
    client.feed.follow_account(other.account_id, told.append)
    await until(lambda: told[4:] == [0])
    await store.store.subscribe(account.account_id, "New", False)
    await store.store.subscribe(other.account_id, "New", True)
    await until(lambda: len(told) == 6)
    assert told[5] == (await store.store.open_account(other.name)).modseq


async def until(holds: Callable[[], bool], why: str = "it never came true") -> None:
    """Wait until it is so."""
    try:
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(why) from None
