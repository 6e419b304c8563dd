"""What is forgotten of messages that are gone, and that nobody is misled by it."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from services.common.domain import Account, AccountId, AppendItem, MailboxId, MailboxStatus, TextField, TextKey
from services.store.backends import Transaction
from services.store.mailstore import history
from tests.support.stores import FREE, OpenStore, mail, request

LEFT = 6
"""Messages that are left in INBOX by `churn`."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that remembers few."""
    monkeypatch.setattr(history, "KEPT", 3)
    monkeypatch.setattr(history, "SLACK", 2)


async def rows(opened: OpenStore, table: str) -> int:
    async def rule(tx: Transaction) -> Any:
        return (await tx.fetch(f"SELECT count(*) FROM {table}"))[0][0]

    return int(await opened.database.read(rule))


async def fill(opened: OpenStore, account: Account, count: int) -> None:
    items = [AppendItem(mail("needle" if number % 2 else "hay", message_id=f"<{number}@x>")) for number in range(count)]
    await opened.store.append(account.account_id, "INBOX", items, FREE, request_id=request())


async def lose(opened: OpenStore, where: tuple[AccountId, MailboxId], *uids: int) -> int:
    """Expunge messages one by one; the modification sequence after the last."""
    modseq = 0
    for uid in uids:
        moved = await opened.store.copy_messages(*where, [uid], "Trash", FREE, move=True, request_id=request())
        assert moved
    for mailbox in await opened.store.list_mailboxes(where[0]):
        modseq = mailbox.modseq if mailbox.mailbox_id == where[1] else modseq
    return modseq


async def test_a_long_history_is_cut_and_who_is_older_gets_everything(
    opened: OpenStore, account: Account, inbox: MailboxStatus
) -> None:
    where = (account.account_id, inbox.mailbox_id)
    await fill(opened, account, 20)
    before = (await opened.store.get_mailbox(account.account_id, "INBOX")).modseq
    middle = await lose(opened, where, *range(1, 10))
    after = await lose(opened, where, *range(10, 15))
    old = await opened.store.sync_mailbox(*where, before)
    assert (old.since, list(old.expunged)) == (before, list(range(1, 15)))
    await opened.rules.sweep()
    assert await rows(opened, "expunged") == history.KEPT
    whole = await opened.store.sync_mailbox(*where)
    assert await opened.store.sync_mailbox(*where, before) == whole
    assert await opened.store.sync_mailbox(*where, middle) == whole
    assert (whole.since, list(whole.changed.uids), list(whole.expunged)) == (0, list(range(15, 21)), [])
    recent = await opened.store.sync_mailbox(*where, after - history.KEPT)
    assert (recent.since, list(recent.expunged)) == (after - history.KEPT, [12, 13, 14])
    assert await opened.findings() == []


async def test_a_short_history_stays(opened: OpenStore, account: Account, inbox: MailboxStatus) -> None:
    where = (account.account_id, inbox.mailbox_id)
    await fill(opened, account, 20)
    before = (await opened.store.get_mailbox(account.account_id, "INBOX")).modseq
    await lose(opened, where, 1, 2, 3, 4, 5)
    await opened.rules.sweep()
    assert list((await opened.store.sync_mailbox(*where, before)).expunged) == [1, 2, 3, 4, 5]


async def test_messages_that_went_together_are_forgotten_together(
    opened: OpenStore, account: Account, inbox: MailboxStatus
) -> None:
    where = (account.account_id, inbox.mailbox_id)
    await fill(opened, account, 20)
    before = (await opened.store.get_mailbox(account.account_id, "INBOX")).modseq
    uids = array("I", range(1, 13))
    await opened.store.copy_messages(*where, uids, "Trash", FREE, move=True, request_id=request())
    after = await lose(opened, where, 13)
    await opened.rules.sweep()
    assert (await opened.store.sync_mailbox(*where, before)).since == 0
    known = await opened.store.sync_mailbox(*where, after - 1)
    assert (known.since, list(known.expunged)) == (after - 1, [13])


async def test_a_follower_from_before_hears_the_whole_mailbox(
    opened: OpenStore, account: Account, inbox: MailboxStatus
) -> None:
    where = (account.account_id, inbox.mailbox_id)
    await fill(opened, account, 20)
    before = (await opened.store.get_mailbox(account.account_id, "INBOX")).modseq
    await lose(opened, where, *range(1, 15))
    await opened.rules.sweep()
    subscription = opened.rules.hub.subscribe()
    subscription.follow(*where, before)
    assert await subscription.next() == await opened.store.sync_mailbox(*where)


async def test_listings_and_searches_that_are_kept_do_not_outlive_the_history(
    opened: OpenStore, account: Account, inbox: MailboxStatus
) -> None:
    where = (account.account_id, inbox.mailbox_id)
    await fill(opened, account, 20)
    keys = [TextKey(TextField.SUBJECT, "needle")]
    assert len((await opened.store.search_text(*where, keys))[0]) == 10
    drop = await opened.store.open_maildrop(account.account_id)
    await opened.store.release_maildrop(account.account_id, drop.lock)
    await lose(opened, where, *range(1, 15))
    await opened.rules.sweep()
    assert list((await opened.store.search_text(*where, keys))[0]) == [16, 18, 20]
    assert list((await opened.store.open_maildrop(account.account_id)).uids) == list(range(15, 21))


async def test_threads_without_messages_are_forgotten(
    opened: OpenStore, account: Account, inbox: MailboxStatus
) -> None:
    where = (account.account_id, inbox.mailbox_id)
    await fill(opened, account, 4)
    trash = (await opened.store.get_mailbox(account.account_id, "Trash")).mailbox_id
    await lose(opened, where, 1, 2, 3)
    await opened.rules.sweep()
    assert await rows(opened, "threads") == 4, "they are in the trash"
    await opened.store.rename_mailbox(account.account_id, "INBOX", "Old")
    await opened.store.create_mailbox(account.account_id, "Gone")
    for uid in (1, 2, 3):
        await opened.store.copy_messages(
            account.account_id, trash, [uid], "Gone", FREE, move=True, request_id=request()
        )
    await opened.store.delete_mailbox(account.account_id, "Gone")
    opened.clock.now += history.THREADS_SECONDS
    await lose(opened, (account.account_id, (await opened.store.get_mailbox(account.account_id, "Old")).mailbox_id), 4)
    await opened.rules.sweep()
    assert await rows(opened, "threads") == 1
    await opened.store.append(
        account.account_id, "INBOX", [AppendItem(mail(references="<3@x>"))], FREE, request_id=request()
    )
    await opened.store.delete_account(account.name)
    await opened.rules.sweep()
    assert await rows(opened, "threads") == 0
    assert await rows(opened, "meta WHERE key LIKE 'threads/%'") == 0


async def test_a_thread_that_is_joined_meanwhile_stays(opened: OpenStore, account: Account) -> None:
    await fill(opened, account, 1)

    async def dead(tx: Transaction) -> Any:
        return await tx.fetch("SELECT message_id_digest, thread_id FROM threads")

    found = await opened.database.read(dead)
    await opened.database.write(lambda tx: history.forget_threads(tx, account.account_id, found, 0))
    assert await rows(opened, "threads") == 1
    newest = 1 << 40
    await opened.database.write(lambda tx: history.forget_threads(tx, account.account_id, found, newest))
    assert await rows(opened, "threads") == 0
