"""COPY, MOVE, EXPUNGE."""

from __future__ import annotations

import asyncio

import pytest

from services.common.domain import (
    DELETED,
    FLAGGED,
    KEYWORD_SHIFT,
    SEEN,
    Account,
    AppendItem,
    Column,
    FlagChange,
    FlagOperation,
    MailboxId,
    MailboxStatus,
    Quota,
)
from services.common.errors import Reason, StoreError
from services.common.store import Store
from tests.support.stores import FREE, OpenStore, mail, request

FIRST = 1 << KEYWORD_SHIFT


@pytest.fixture(autouse=True)
async def messages(store: Store, account: Account, inbox: MailboxStatus) -> None:
    """Five of them in INBOX."""
    items = [AppendItem(mail(f"n{number}"), SEEN if number == 2 else 0, internaldate=number) for number in range(1, 6)]
    await store.append(account.account_id, inbox.name, items, FREE, request_id=request())


@pytest.mark.rfc("9051", "6.4.7")
async def test_copies_keep_flags_dates_and_content(opened: OpenStore, account: Account, inbox: MailboxStatus) -> None:
    store = opened.store
    opened.clock.now += 100
    used = await store.open_account(account.name)
    before = await store.get_mailbox(account.account_id, "INBOX")
    result = await store.copy_messages(
        account.account_id, inbox.mailbox_id, [4, 2, 99], "Archive", FREE, request_id=request()
    )
    assert (list(result.source_uids), list(result.target_uids)) == ([2, 4], [1, 2])
    archive = await store.sync_mailbox(account.account_id, result.mailbox_id)
    assert (archive.status.name, archive.status.uidvalidity) == ("Archive", result.uidvalidity)
    assert (list(archive.changed.flags), archive.status.unseen) == ([SEEN, 0], 1)
    wanted = Column.INTERNALDATE | Column.CONTENT | Column.SAVEDATE
    old = await store.fetch_columns(account.account_id, inbox.mailbox_id, wanted, [2, 4])
    new = await store.fetch_columns(account.account_id, result.mailbox_id, wanted)
    assert (new.internaldates, new.content_ids, new.thread_ids) == (old.internaldates, old.content_ids, old.thread_ids)
    assert new.savedates[0] == old.savedates[0] + 100
    assert (await store.open_account(account.name)).used_messages == used.used_messages + 2
    assert await store.get_mailbox(account.account_id, "INBOX") == before


@pytest.mark.rfc("6851", "3.3")
async def test_moves_take_no_room(store: Store, account: Account, inbox: MailboxStatus) -> None:
    before = await store.sync_mailbox(account.account_id, inbox.mailbox_id)
    used = await store.open_account(account.name)
    full = Quota(max_bytes=1, max_messages=1)
    result = await store.copy_messages(
        account.account_id, inbox.mailbox_id, range(2, 5), "Trash", full, move=True, request_id=request()
    )
    assert (list(result.source_uids), list(result.target_uids)) == ([2, 3, 4], [1, 2, 3])
    after = await store.sync_mailbox(account.account_id, inbox.mailbox_id, before.status.modseq)
    assert (list(after.expunged), after.status.messages, after.status.unseen) == ([2, 3, 4], 2, 2)
    assert after.status.uidnext == before.status.uidnext
    now = await store.open_account(account.name)
    assert (now.used_bytes, now.used_messages) == (used.used_bytes, used.used_messages)


@pytest.mark.parametrize("move", [False, True])
async def test_into_the_same_mailbox(store: Store, account: Account, inbox: MailboxStatus, move: bool) -> None:
    before = await store.sync_mailbox(account.account_id, "INBOX")
    result = await store.copy_messages(
        account.account_id, inbox.mailbox_id, [1, 2], "inbox", FREE, move=move, request_id=request()
    )
    assert list(result.target_uids) == [6, 7]
    after = await store.sync_mailbox(account.account_id, "INBOX", before.status.modseq)
    assert list(after.changed.uids) == [6, 7]
    assert list(after.expunged) == ([1, 2] if move else [])
    assert (after.status.messages, after.status.unseen) == ((5, 4) if move else (7, 5))
    assert after.status.size == sum(
        (await store.fetch_columns(account.account_id, inbox.mailbox_id, Column.SIZE)).sizes
    )


async def test_keywords_go_by_name(store: Store, account: Account, inbox: MailboxStatus) -> None:
    archive = [AppendItem(mail(), 0, ("zeta", "Alpha"))]
    await store.append(account.account_id, "Archive", archive, FREE, request_id=request())
    change = FlagChange(FlagOperation.ADD, FLAGGED, ("unused", "alpha", "beta"))
    await store.modify_flags(account.account_id, inbox.mailbox_id, [1], change)
    await store.modify_flags(
        account.account_id, inbox.mailbox_id, [1], FlagChange(FlagOperation.REMOVE, 0, ("unused",))
    )
    result = await store.copy_messages(account.account_id, inbox.mailbox_id, [1], "Archive", FREE, request_id=request())
    found = await store.sync_mailbox(account.account_id, result.mailbox_id)
    assert found.status.keywords == ("zeta", "Alpha", "beta")
    assert found.changed.flags[1] == FLAGGED | FIRST << 1 | FIRST << 2


async def test_keywords_may_be_too_many(store: Store, account: Account, inbox: MailboxStatus) -> None:
    full = [AppendItem(mail(), 0, tuple(f"k{number}" for number in range(55)))]
    await store.append(account.account_id, "Archive", full, FREE, request_id=request())
    await store.modify_flags(account.account_id, inbox.mailbox_id, [1], FlagChange(FlagOperation.ADD, 0, ("more",)))
    for move in (False, True):
        with pytest.raises(StoreError) as caught:
            await store.copy_messages(
                account.account_id, inbox.mailbox_id, [1, 2], "Archive", FREE, move=move, request_id=request()
            )
        assert caught.value.reason is Reason.KEYWORD_LIMIT
    assert (await store.get_mailbox(account.account_id, "Archive")).messages == 1
    assert (await store.get_mailbox(account.account_id, "INBOX")).messages == 5


async def test_what_copy_refuses(store: Store, account: Account, inbox: MailboxStatus) -> None:
    for source, target, quota, reason in (
        (inbox.mailbox_id, "nope", FREE, Reason.MAILBOX_NOT_FOUND),
        (MailboxId(999), "Archive", FREE, Reason.MAILBOX_NOT_FOUND),
        (inbox.mailbox_id, "Archive", Quota(max_messages=6), Reason.OVER_QUOTA),
        (inbox.mailbox_id, "Archive", Quota(max_bytes=10), Reason.OVER_QUOTA),
    ):
        with pytest.raises(StoreError) as caught:
            await store.copy_messages(account.account_id, source, [1, 2], target, quota, request_id=request())
        assert caught.value.reason is reason
    assert (await store.get_mailbox(account.account_id, "Archive")).uidnext == 1


@pytest.mark.parametrize("move", [False, True])
async def test_nothing_to_copy(store: Store, account: Account, inbox: MailboxStatus, move: bool) -> None:
    result = await store.copy_messages(
        account.account_id, inbox.mailbox_id, [50], "Archive", FREE, move=move, request_id=request()
    )
    assert (len(result.source_uids), len(result.target_uids)) == (0, 0)
    assert result.uidvalidity == (await store.get_mailbox(account.account_id, "Archive")).uidvalidity


@pytest.mark.parametrize("move", [False, True])
async def test_a_repeat_happens_once(store: Store, account: Account, inbox: MailboxStatus, move: bool) -> None:
    again = request()
    results = [
        await store.copy_messages(
            account.account_id, inbox.mailbox_id, [1, 3], "Archive", FREE, move=move, request_id=again
        )
        for _ in range(3)
    ]
    assert results[0] == results[1] == results[2]
    assert (await store.get_mailbox(account.account_id, "Archive")).messages == 2


async def test_two_moves_of_one_message(store: Store, account: Account, inbox: MailboxStatus) -> None:
    results = await asyncio.gather(
        *(
            store.copy_messages(
                account.account_id, inbox.mailbox_id, [1, 2], target, FREE, move=True, request_id=request()
            )
            for target in ("Trash", "Archive", "Junk")
        )
    )
    assert sorted(len(result.source_uids) for result in results) == [0, 0, 2]
    assert (await store.open_account(account.name)).used_messages == 5


@pytest.mark.rfc("9051", "6.4.3")
async def test_expunge_takes_what_is_deleted(store: Store, account: Account, inbox: MailboxStatus) -> None:
    before = await store.modify_flags(
        account.account_id, inbox.mailbox_id, [1, 2, 5], FlagChange(FlagOperation.ADD, DELETED)
    )
    some = await store.expunge(account.account_id, inbox.mailbox_id, [2, 3, 4])
    assert (list(some.uids), some.previous) == ([2], before.status.modseq)
    rest = await store.expunge(account.account_id, inbox.mailbox_id)
    assert (list(rest.uids), rest.previous) == ([1, 5], some.status.modseq)
    assert (rest.status.messages, rest.status.deleted, rest.status.unseen) == (2, 0, 2)
    none = await store.expunge(account.account_id, inbox.mailbox_id)
    assert (list(none.uids), none.status) == ([], rest.status)
    since = await store.sync_mailbox(account.account_id, inbox.mailbox_id, before.status.modseq)
    assert list(since.expunged) == [1, 2, 5]
    assert (await store.open_account(account.name)).used_messages == 2
    with pytest.raises(StoreError) as caught:
        await store.expunge(account.account_id, MailboxId(999))
    assert caught.value.reason is Reason.MAILBOX_NOT_FOUND


@pytest.mark.rfc("9051", "2.3.1.1")
async def test_uids_are_never_used_again(store: Store, account: Account, inbox: MailboxStatus) -> None:
    await store.modify_flags(account.account_id, inbox.mailbox_id, range(1, 6), FlagChange(FlagOperation.ADD, DELETED))
    await store.expunge(account.account_id, inbox.mailbox_id)
    result = await store.append(account.account_id, "INBOX", [AppendItem(mail())], FREE, request_id=request())
    assert list(result.uids) == [6]


async def test_a_copy_outlives_the_original(opened: OpenStore, account: Account, inbox: MailboxStatus) -> None:
    store = opened.store
    [ref, other] = (await store.fetch_columns(account.account_id, inbox.mailbox_id, Column.LOCATION, [1, 2])).locations
    copied = await store.copy_messages(
        account.account_id, inbox.mailbox_id, [1, 1], "Archive", FREE, request_id=request()
    )
    await store.modify_flags(account.account_id, inbox.mailbox_id, [1, 2], FlagChange(FlagOperation.ADD, DELETED))
    await store.expunge(account.account_id, inbox.mailbox_id)
    await opened.rules.index()
    kept = await store.fetch_columns(account.account_id, copied.mailbox_id, Column.LOCATION)
    assert list(kept.locations) == [ref]
    # What is gone stays readable for a while: a session may just be sending it.
    bodies = await store.read_bodies(account.account_id, [ref, other])
    assert [body[:11] for body in bodies] == [b"Subject: n1", b"Subject: n2"]
