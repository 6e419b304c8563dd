"""CREATE, DELETE, RENAME, LIST, SUBSCRIBE."""

from __future__ import annotations

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
)
from services.common.errors import Reason, StoreError
from services.common.store import Store
from tests.support.stores import FREE, OPTIONS, OpenStore, mail, request


async def names(store: Store, account: Account) -> list[str]:
    """The account's mailboxes without those of every account."""
    special = {"Archive", "Drafts", "Junk", "Sent", "Trash"}
    return [each.name for each in await store.list_mailboxes(account.account_id) if each.name not in special]


@pytest.mark.rfc("9051", "6.3.4")
async def test_levels_above_are_made(store: Store, account: Account) -> None:
    made = await store.create_mailbox(account.account_id, "a/b/c")
    assert (made.name, made.messages, made.uidnext, made.subscribed) == ("a/b/c", 0, 1, False)
    assert await names(store, account) == ["INBOX", "a", "a/b", "a/b/c"]
    await store.create_mailbox(account.account_id, "a/d/")
    assert await names(store, account) == ["INBOX", "a", "a/b", "a/b/c", "a/d"]


@pytest.mark.parametrize("name", ["INBOX", "inbox", "Sent", "InBox/"])
async def test_names_that_are_taken(store: Store, account: Account, name: str) -> None:
    with pytest.raises(StoreError) as caught:
        await store.create_mailbox(account.account_id, name)
    assert caught.value.reason is Reason.MAILBOX_EXISTS


@pytest.mark.rfc("9051", "5.1")
@pytest.mark.parametrize(
    "name",
    ["", "/", "/a", "a//b", "a\r", "a\0b", "a\u2028b", "x" * 256, "a/" * 64 + "a", "/".join(["y" * 200] * 6)],
)
async def test_names_that_cannot_be_mailboxes(store: Store, account: Account, name: str) -> None:
    for attempt in (
        store.create_mailbox(account.account_id, name),
        store.rename_mailbox(account.account_id, "Sent", name),
        store.subscribe(account.account_id, name, True),
    ):
        with pytest.raises(StoreError) as caught:
            await attempt
        assert caught.value.reason is Reason.MAILBOX_NAME_INVALID


async def test_names_are_compared_in_one_normal_form(store: Store, account: Account) -> None:
    made = await store.create_mailbox(account.account_id, "Bu\u0308ro")
    assert made.name == "B\u00fcro"
    assert await store.get_mailbox(account.account_id, "B\u00fcro") == made
    assert await store.get_mailbox(account.account_id, "Bu\u0308ro") == made


@pytest.mark.rfc("9051", "5.1")
async def test_inbox_has_one_spelling(store: Store, account: Account, inbox: MailboxStatus) -> None:
    assert await store.get_mailbox(account.account_id, "iNbOx") == inbox
    below = await store.create_mailbox(account.account_id, "inbox/x")
    assert below.name == "INBOX/x"


@pytest.mark.rfc("6154", "3")
async def test_special_use_at_creation(store: Store, account: Account) -> None:
    made = await store.create_mailbox(account.account_id, "Papierkorb/Alt", "\\Trash")
    assert made.special_use == "\\Trash"
    assert (await store.get_mailbox(account.account_id, "Papierkorb")).special_use == ""
    with pytest.raises(StoreError) as caught:
        await store.create_mailbox(account.account_id, "x", "\\Nonsense")
    assert caught.value.reason is Reason.INVALID_ARGUMENT


async def test_an_account_has_only_so_many(store: Store, account: Account) -> None:
    free = OPTIONS.maxmailboxes - 6
    for number in range(free - 1):
        await store.create_mailbox(account.account_id, f"box{number}")
    with pytest.raises(StoreError) as caught:
        await store.create_mailbox(account.account_id, "one/more")
    assert caught.value.reason is Reason.MAILBOX_LIMIT
    await store.create_mailbox(account.account_id, "last")
    with pytest.raises(StoreError):
        await store.create_mailbox(account.account_id, "more")
    await store.rename_mailbox(account.account_id, "last", "final")
    with pytest.raises(StoreError) as caught:
        await store.rename_mailbox(account.account_id, "final", "new/final")
    assert caught.value.reason is Reason.MAILBOX_LIMIT


async def test_what_is_not_there(store: Store, account: Account) -> None:
    for attempt in (
        store.get_mailbox(account.account_id, "nope"),
        store.delete_mailbox(account.account_id, "nope"),
        store.rename_mailbox(account.account_id, "nope", "other"),
        store.sync_mailbox(account.account_id, "nope"),
    ):
        with pytest.raises(StoreError) as caught:
            await attempt
        assert caught.value.reason is Reason.MAILBOX_NOT_FOUND


@pytest.mark.rfc("9051", "6.3.5")
async def test_inbox_and_parents_are_not_deleted(store: Store, account: Account) -> None:
    await store.create_mailbox(account.account_id, "a/b")
    await store.create_mailbox(account.account_id, "a.b")
    for name, reason in (("inbox", Reason.MAILBOX_PROTECTED), ("a", Reason.MAILBOX_HAS_CHILDREN)):
        with pytest.raises(StoreError) as caught:
            await store.delete_mailbox(account.account_id, name)
        assert caught.value.reason is reason
    await store.delete_mailbox(account.account_id, "a/b")
    await store.delete_mailbox(account.account_id, "a")
    assert await names(store, account) == ["INBOX", "a.b"]


@pytest.mark.rfc("9051", "6.3.5")
async def test_a_mailbox_made_anew_is_another_one(opened: OpenStore, account: Account) -> None:
    store = opened.store
    old = await store.create_mailbox(account.account_id, "Lists")
    await store.append(
        account.account_id, "Lists", [AppendItem(mail(), DELETED, ("$Work",))], FREE, request_id=request()
    )
    await store.delete_mailbox(account.account_id, "Lists")
    used = await store.open_account(account.name)
    assert (used.used_bytes, used.used_messages) == (0, 0)
    for _ in range(2):
        new = await store.create_mailbox(account.account_id, "Lists")
        assert new.uidvalidity > old.uidvalidity
        assert new.mailbox_id != old.mailbox_id
        assert (new.messages, new.deleted, new.keywords) == (0, 0, ())
        with pytest.raises(StoreError) as caught:
            await store.sync_mailbox(account.account_id, old.mailbox_id)
        assert caught.value.reason is Reason.MAILBOX_NOT_FOUND
        await store.delete_mailbox(account.account_id, "Lists")
        await opened.rules.sweep()
        old = new


@pytest.mark.rfc("9051", "6.3.6")
async def test_renaming_takes_children_along(store: Store, account: Account) -> None:
    made = await store.create_mailbox(account.account_id, "a/b/c")
    await store.create_mailbox(account.account_id, "ab")
    await store.append(account.account_id, "a/b/c", [AppendItem(mail())], FREE, request_id=request())
    await store.rename_mailbox(account.account_id, "a", "x/y")
    assert await names(store, account) == ["INBOX", "ab", "x", "x/y", "x/y/b", "x/y/b/c"]
    moved = await store.get_mailbox(account.account_id, "x/y/b/c")
    assert (moved.mailbox_id, moved.uidvalidity, moved.messages) == (made.mailbox_id, made.uidvalidity, 1)


@pytest.mark.rfc("9051", "6.3.6")
async def test_renaming_to_where_it_cannot_go(store: Store, account: Account) -> None:
    await store.create_mailbox(account.account_id, "a/b")
    for old, new, reason in (
        ("a", "Sent", Reason.MAILBOX_EXISTS),
        ("a", "a", Reason.MAILBOX_EXISTS),
        ("a", "inbox", Reason.MAILBOX_EXISTS),
        ("a", "a/b/c", Reason.MAILBOX_NAME_INVALID),
        ("a", "/".join(["z"] * 64), Reason.MAILBOX_NAME_INVALID),
    ):
        with pytest.raises(StoreError) as caught:
            await store.rename_mailbox(account.account_id, old, new)
        assert caught.value.reason is reason
    assert await names(store, account) == ["INBOX", "a", "a/b"]


@pytest.mark.rfc("9051", "6.3.6")
async def test_renaming_inbox_moves_its_messages(store: Store, account: Account, inbox: MailboxStatus) -> None:
    await store.create_mailbox(account.account_id, "INBOX/below")
    items = [AppendItem(mail(), SEEN, ("$Work",)), AppendItem(mail("Two"))]
    await store.append(account.account_id, "INBOX", items, FREE, request_id=request())
    before = await store.sync_mailbox(account.account_id, inbox.mailbox_id)
    ids = (await store.fetch_columns(account.account_id, inbox.mailbox_id, Column.CONTENT)).content_ids
    await store.rename_mailbox(account.account_id, "INBOX", "2023/old")
    moved = await store.sync_mailbox(account.account_id, "2023/old")
    assert (moved.changed.uids, moved.changed.flags) == (before.changed.uids, before.changed.flags)
    assert (moved.status.messages, moved.status.unseen, moved.status.keywords) == (2, 1, ("$Work",))
    assert moved.status.uidnext == 3
    assert (await store.fetch_columns(account.account_id, moved.status.mailbox_id, Column.CONTENT)).content_ids == ids
    left = await store.sync_mailbox(account.account_id, inbox.mailbox_id, before.status.modseq)
    assert (left.status.name, left.status.messages, left.status.uidnext) == ("INBOX", 0, 3)
    assert list(left.expunged) == [1, 2]
    assert "INBOX/below" in await names(store, account)
    await store.rename_mailbox(account.account_id, "INBOX", "nothing")
    assert (await store.get_mailbox(account.account_id, "nothing")).messages == 0


@pytest.mark.rfc("9051", "6.3.7")
async def test_subscriptions_do_not_ask_for_mailboxes(store: Store, account: Account) -> None:
    for _ in range(2):
        await store.subscribe(account.account_id, "not/there", True)
        await store.subscribe(account.account_id, "Trash", False)
    listed = await store.list_subscriptions(account.account_id)
    assert listed == ["Archive", "Drafts", "INBOX", "Junk", "Sent", "not/there"]
    assert not (await store.get_mailbox(account.account_id, "Trash")).subscribed
    await store.create_mailbox(account.account_id, "not/there")
    assert (await store.get_mailbox(account.account_id, "not/there")).subscribed
    await store.delete_mailbox(account.account_id, "not/there")
    assert "not/there" in await store.list_subscriptions(account.account_id)


async def test_every_change_raises_the_accounts_modseq(store: Store, account: Account) -> None:
    seen = [account.modseq]
    for attempt in (
        store.create_mailbox(account.account_id, "a"),
        store.rename_mailbox(account.account_id, "a", "b"),
        store.append(account.account_id, "b", [AppendItem(mail())], FREE, request_id=request()),
        store.delete_mailbox(account.account_id, "b"),
    ):
        await attempt
        seen.append((await store.open_account(account.name)).modseq)
    assert seen == sorted(set(seen))


async def test_listing_shows_counters_and_keywords(store: Store, account: Account, inbox: MailboxStatus) -> None:
    await store.append(
        account.account_id, "INBOX", [AppendItem(mail(), SEEN, ("one", "two"))], FREE, request_id=request()
    )
    change = FlagChange(FlagOperation.ADD, DELETED)
    await store.modify_flags(account.account_id, inbox.mailbox_id, [1], change)
    listed = await store.list_mailboxes(account.account_id)
    assert listed[0] == await store.get_mailbox(account.account_id, "INBOX")
    assert (listed[0].messages, listed[0].unseen, listed[0].deleted, listed[0].keywords) == (1, 0, 1, ("one", "two"))
