"""Accounts: made at first use, listed by pages, taken away without a trace."""

from __future__ import annotations

import pytest

from services.common.domain import SPECIAL_USES, Account, AppendItem, Column, MailboxStatus, Recipient
from services.common.errors import Reason, StoreError
from services.common.store import Store
from tests.support.stores import FREE, OpenStore, mail, request


async def test_first_use_makes_inbox_and_special_folders(store: Store, account: Account) -> None:
    found = await store.list_mailboxes(account.account_id)
    assert [each.name for each in found] == ["INBOX", *sorted(SPECIAL_USES)]
    assert {each.name: each.special_use for each in found[1:]} == SPECIAL_USES
    assert all(each.subscribed and each.messages == 0 and each.uidnext == 1 for each in found)
    assert await store.list_subscriptions(account.account_id) == sorted(["INBOX", *SPECIAL_USES])


async def test_opening_again_gives_the_same_account(store: Store, account: Account) -> None:
    assert await store.open_account("ada@example.org", create=False) == account
    assert await store.open_account("ada@example.org") == account


async def test_an_account_that_is_not_there_is_not_made_unasked(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        await store.open_account("nobody@example.org", create=False)
    assert caught.value.reason is Reason.ACCOUNT_NOT_FOUND


@pytest.mark.parametrize("name", ["", "a\r\nb", "a\0b", "x" * 321])
async def test_names_that_cannot_be_accounts(store: Store, name: str) -> None:
    with pytest.raises(StoreError) as caught:
        await store.open_account(name)
    assert caught.value.reason is Reason.INVALID_ARGUMENT


async def test_accounts_are_listed_in_pages(store: Store) -> None:
    names = sorted(f"user{number}@example.org" for number in range(7))
    for name in names:
        await store.open_account(name)
    seen: list[str] = []
    token = ""
    while True:
        page = await store.list_accounts(page_size=3, page_token=token)
        seen += [each.name for each in page.accounts]
        token = page.token
        if not token:
            break
    assert seen == names


async def test_use_is_counted(store: Store, account: Account) -> None:
    body = mail()
    await store.append(account.account_id, "Sent", [AppendItem(body), AppendItem(body)], FREE, request_id=request())
    found = await store.open_account(account.name)
    assert (found.used_messages, found.used_bytes) == (2, 2 * len(body))
    assert found.modseq > account.modseq


async def test_deleting_an_unknown_account(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        await store.delete_account("nobody@example.org")
    assert caught.value.reason is Reason.ACCOUNT_NOT_FOUND


async def test_a_deleted_account_is_gone_with_its_mail(
    opened: OpenStore, account: Account, inbox: MailboxStatus
) -> None:
    store = opened.store
    await store.deliver([Recipient(account.name), Recipient("bob@example.org")], mail(), request_id=request())
    location = (await store.fetch_columns(account.account_id, inbox.mailbox_id, Column.LOCATION)).locations[0]
    await store.delete_account(account.name)
    await opened.rules.sweep()
    for attempt in (
        store.list_mailboxes(account.account_id),
        store.get_mailbox(account.account_id, "INBOX"),
        store.list_subscriptions(account.account_id),
        store.open_maildrop(account.account_id),
        store.open_account(account.name, create=False),
    ):
        with pytest.raises(StoreError) as caught:
            await attempt
        assert caught.value.reason is Reason.ACCOUNT_NOT_FOUND
    other = await store.open_account("bob@example.org", create=False)
    assert other.used_messages == 1
    assert (await store.read_bodies(other.account_id, [location]))[0].endswith(b"Some text.\r\n")


@pytest.mark.rfc("9051", "2.3.1.1")
async def test_who_comes_back_gets_new_ids_and_uidvalidities(store: Store, account: Account) -> None:
    before = await store.list_mailboxes(account.account_id)
    extra = await store.create_mailbox(account.account_id, "Extra")
    await store.delete_account(account.name)
    again = await store.open_account(account.name)
    after = await store.list_mailboxes(again.account_id)
    assert again.account_id != account.account_id
    assert again.used_messages == 0
    assert min(each.uidvalidity for each in after) > max(each.uidvalidity for each in [*before, extra])
