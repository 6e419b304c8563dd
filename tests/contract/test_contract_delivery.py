"""Delivery and maildrops."""

from __future__ import annotations

import asyncio

import pytest

from services.common.domain import (
    DELETED,
    SEEN,
    Account,
    AppendItem,
    Column,
    FlagChange,
    FlagOperation,
    MailboxStatus,
    Quota,
    Recipient,
)
from services.common.errors import Reason, StoreError
from services.common.store import Store
from tests.support.stores import FREE, OPTIONS, OpenStore, mail, request


async def test_each_recipient_has_an_outcome(store: Store, account: Account) -> None:
    body = mail("To all")
    await store.create_mailbox(account.account_id, "Lists/dev")
    recipients = [
        Recipient(account.name, "Lists/dev", b"Delivered-To: ada\r\n"),
        Recipient("new@example.org", "", b"Delivered-To: new\r\n"),
        Recipient(account.name, "not/there"),
        Recipient("full@example.org", quota=Quota(max_bytes=len(body) - 1)),
        Recipient("full@example.org", quota=Quota(max_messages=0)),
        Recipient("bad\r\nname"),
        Recipient(account.name, "bad//name"),
    ]
    results = await store.deliver(recipients, body, request_id=request())
    reasons = [each.reason for each in results]
    assert reasons == ["", "", "", "OVER_QUOTA", "OVER_QUOTA", "ACCOUNT_NOT_FOUND", ""]
    inbox = await store.sync_mailbox(account.account_id, "INBOX")
    assert (list(inbox.changed.uids), inbox.status.unseen) == ([1, 2], 2)
    lists = await store.get_mailbox(account.account_id, "Lists/dev")
    assert (results[0].mailbox_id, results[0].uid) == (lists.mailbox_id, 1)
    assert lists.size == len(body) + len(recipients[0].prefix)
    columns = Column.LOCATION | Column.SIZE
    first = await store.fetch_columns(account.account_id, lists.mailbox_id, columns)
    assert list(await store.read_bodies(account.account_id, first.locations)) == [recipients[0].prefix + body]
    assert first.header_sizes[0] == first.sizes[0] - len(b"Some text.\r\n")
    new = await store.open_account("new@example.org", create=False)
    second = await store.fetch_columns(
        new.account_id, (await store.get_mailbox(new.account_id, "INBOX")).mailbox_id, columns
    )
    place = (first.locations[0].digest, first.locations[0].segment, first.locations[0].offset)
    assert (second.locations[0].digest, second.locations[0].segment, second.locations[0].offset) == place


async def test_a_repeated_delivery_happens_once(store: Store) -> None:
    again = request()
    recipients = [Recipient("a@example.org"), Recipient("b@example.org"), Recipient("a@example.org")]
    results = await asyncio.gather(*(store.deliver(recipients, mail(), request_id=again) for _ in range(4)))
    assert all(list(each) == list(results[0]) for each in results)
    account = await store.open_account("a@example.org", create=False)
    assert account.used_messages == 2


async def test_a_refused_recipient_may_come_again(store: Store) -> None:
    again = request()
    full = Recipient("a@example.org", quota=Quota(max_messages=0))
    assert [each.reason for each in await store.deliver([full], mail(), request_id=again)] == ["OVER_QUOTA"]
    results = await store.deliver([Recipient("a@example.org")], mail(), request_id=again)
    assert (results[0].reason, results[0].uid) == ("", 1)


async def test_hundreds_of_recipients(store: Store) -> None:
    recipients = [Recipient(f"user{number % 30}@example.org") for number in range(250)]
    results = await store.deliver(recipients, mail(), request_id=request())
    assert all(not each.reason for each in results)
    assert [each.uid for each in results] == [number // 30 + 1 for number in range(250)]


async def test_a_message_that_is_too_large(store: Store) -> None:
    for prefix, body in ((b"", b"x" * (OPTIONS.maxmessagesize + 1)), (b"X: y\r\n", b"x" * OPTIONS.maxmessagesize)):
        with pytest.raises(StoreError) as caught:
            await store.deliver([Recipient("a@example.org", "", prefix)], body, request_id=request())
        assert caught.value.reason is Reason.MESSAGE_TOO_LARGE


async def test_large_messages_for_a_full_account(opened: OpenStore, account: Account) -> None:
    store, body, again = opened.store, mail(text="z" * 100_000), request()
    quota = Quota(max_bytes=150_000)
    recipients = [Recipient(account.name, quota=quota)]
    for _ in range(2):
        assert [each.reason for each in await store.deliver(recipients, body, request_id=again)] == [""]
    assert [each.reason for each in await store.deliver(recipients, body, request_id=request())] == ["OVER_QUOTA"]
    both = [*recipients, Recipient("other@example.org", quota=quota)]
    assert [each.reason for each in await store.deliver(both, body, request_id=request())] == ["OVER_QUOTA", ""]
    for mailbox, reason in (("INBOX", Reason.OVER_QUOTA), ("nope", Reason.MAILBOX_NOT_FOUND)):
        with pytest.raises(StoreError) as caught:
            await store.append(account.account_id, mailbox, [AppendItem(body)], quota, request_id=request())
        assert caught.value.reason is reason
    assert (await store.get_mailbox(account.account_id, "INBOX")).messages == 1


async def test_nobody_to_deliver_to(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        await store.deliver([], mail(), request_id=request())
    assert caught.value.reason is Reason.INVALID_ARGUMENT


async def test_a_large_message(store: Store) -> None:
    body = mail(text="y" * 600_000)
    [result] = await store.deliver([Recipient("a@example.org")], body, request_id=request())
    account = await store.open_account("a@example.org")
    found = await store.fetch_columns(account.account_id, result.mailbox_id, Column.LOCATION)
    assert list(await store.read_bodies(account.account_id, found.locations)) == [body]


async def test_many_deliver_at_once(store: Store) -> None:
    await asyncio.gather(
        *(
            store.deliver(
                [Recipient("a@example.org"), Recipient(f"b{number}@example.org")], mail(), request_id=request()
            )
            for number in range(40)
        )
    )
    account = await store.open_account("a@example.org")
    found = await store.sync_mailbox(account.account_id, "INBOX")
    assert list(found.changed.uids) == list(range(1, 41))
    assert len({*found.changed.modseqs}) == 40
    assert (found.status.messages, found.status.unseen, account.used_messages) == (40, 40, 40)


async def fill(store: Store, account: Account, count: int) -> None:
    """Messages in INBOX."""
    for number in range(1, count + 1):
        recipients = [Recipient(account.name, "", b"Delivered-To: me\r\n")]
        await store.deliver(recipients, mail(f"n{number}"), request_id=request())


@pytest.mark.rfc("1939", "4")
async def test_a_maildrop_is_listed_under_a_lock(store: Store, account: Account, inbox: MailboxStatus) -> None:
    await fill(store, account, 3)
    first = await store.open_maildrop(account.account_id)
    assert list(first.uids) == [1, 2, 3]
    assert first.status.messages == 3
    sizes = (await store.fetch_columns(account.account_id, inbox.mailbox_id, Column.SIZE)).sizes
    assert first.sizes == sizes
    assert [body[-12:] for body in await store.read_bodies(account.account_id, first.locations)] == [
        b"Some text.\r\n"
    ] * 3
    with pytest.raises(StoreError) as caught:
        await store.open_maildrop(account.account_id)
    assert caught.value.reason is Reason.MAILDROP_IN_USE
    await store.release_maildrop(account.account_id, "another")
    with pytest.raises(StoreError):
        await store.open_maildrop(account.account_id)
    for _ in range(2):
        await store.release_maildrop(account.account_id, first.lock)
    second = await store.open_maildrop(account.account_id)
    assert second.lock != first.lock
    assert (second.uids, second.sizes) == (first.uids, first.sizes)
    assert list(second.locations) == list(first.locations)
    other = await store.open_account("other@example.org")
    assert len((await store.open_maildrop(other.account_id)).uids) == 0


async def test_a_listing_is_never_an_old_one(store: Store, account: Account, inbox: MailboxStatus) -> None:
    await fill(store, account, 2)
    first = await store.open_maildrop(account.account_id)
    await fill(store, account, 1)
    await store.release_maildrop(account.account_id, first.lock)
    second = await store.open_maildrop(account.account_id)
    assert (list(first.uids), list(second.uids)) == ([1, 2], [1, 2, 3])
    await store.commit_maildrop(account.account_id, second.lock, [2], [])
    await fill(store, account, 1)
    third = await store.open_maildrop(account.account_id)
    assert list(third.uids) == [1, 3, 4]
    wanted = Column.SIZE | Column.LOCATION
    columns = await store.fetch_columns(account.account_id, inbox.mailbox_id, wanted)
    assert (third.sizes, list(third.locations)) == (columns.sizes, list(columns.locations))
    await store.release_maildrop(account.account_id, third.lock)
    await store.modify_flags(account.account_id, inbox.mailbox_id, [1], FlagChange(FlagOperation.ADD, SEEN))
    assert list((await store.open_maildrop(account.account_id)).uids) == [1, 3, 4]


@pytest.mark.rfc("1939", "6")
async def test_commit_removes_and_marks(store: Store, account: Account, inbox: MailboxStatus) -> None:
    await fill(store, account, 5)
    await store.modify_flags(account.account_id, inbox.mailbox_id, [4], FlagChange(FlagOperation.ADD, DELETED))
    before = await store.sync_mailbox(account.account_id, inbox.mailbox_id)
    drop = await store.open_maildrop(account.account_id)
    await store.commit_maildrop(account.account_id, drop.lock, [1, 3, 99], [1, 2, 5])
    after = await store.sync_mailbox(account.account_id, inbox.mailbox_id, before.status.modseq)
    assert list(after.expunged) == [1, 3]
    assert dict(zip(after.changed.uids, after.changed.flags, strict=True)) == {2: SEEN, 5: SEEN}
    assert (after.status.messages, after.status.unseen, after.status.deleted) == (3, 1, 1)
    # The answer may have got lost: the same commit comes again, and changes nothing.
    await store.commit_maildrop(account.account_id, drop.lock, [1, 3, 99], [1, 2, 5])
    again = await store.open_maildrop(account.account_id)
    assert list(again.uids) == [2, 4, 5]


async def test_commit_needs_the_lock(store: Store, account: Account) -> None:
    await fill(store, account, 1)
    drop = await store.open_maildrop(account.account_id)
    await store.release_maildrop(account.account_id, drop.lock)
    for lock in (drop.lock, "", "nonsense"):
        with pytest.raises(StoreError) as caught:
            await store.commit_maildrop(account.account_id, lock, [1], [])
        assert caught.value.reason is Reason.MAILDROP_LOCK_LOST
    assert (await store.get_mailbox(account.account_id, "INBOX")).messages == 1


async def test_locks_go_with_their_owner(opened: OpenStore, account: Account) -> None:
    rules = opened.rules
    other = await rules.open_account("other@example.org")
    await rules.open_maildrop(account.account_id, owner="one")
    second = await rules.open_maildrop(other.account_id, owner="two", lock="mine")
    assert second.lock == "mine"
    assert (await rules.open_maildrop(other.account_id, owner="two", lock="mine")).lock == "mine"
    with pytest.raises(StoreError):
        await rules.open_maildrop(other.account_id, owner="three", lock="mine")
    rules.release_owner("one")
    await rules.open_maildrop(account.account_id, owner="three")
    with pytest.raises(StoreError):
        await rules.open_maildrop(other.account_id, owner="three")


async def test_appended_mail_is_in_the_maildrop_too(store: Store, account: Account) -> None:
    await store.append(account.account_id, "INBOX", [AppendItem(b"bare")], FREE, request_id=request())
    drop = await store.open_maildrop(account.account_id)
    assert list(await store.read_bodies(account.account_id, drop.locations)) == [b"bare"]
