"""STORE."""

from __future__ import annotations

import asyncio

import pytest

from services.common.domain import (
    ANSWERED,
    DELETED,
    FLAGGED,
    KEYWORD_SHIFT,
    SEEN,
    Account,
    AppendItem,
    FlagChange,
    FlagEdit,
    FlagEdited,
    FlagOperation,
    MailboxId,
    MailboxStatus,
)
from services.common.errors import Reason, StoreError
from services.common.store import Store
from tests.support.stores import FREE, mail, request

ADD, REMOVE, REPLACE = FlagOperation.ADD, FlagOperation.REMOVE, FlagOperation.REPLACE
FIRST = 1 << KEYWORD_SHIFT


@pytest.fixture(autouse=True)
async def messages(store: Store, account: Account, inbox: MailboxStatus) -> None:
    """Five of them in INBOX."""
    items = [AppendItem(mail(), SEEN if number == 2 else 0) for number in range(1, 6)]
    await store.append(account.account_id, inbox.name, items, FREE, request_id=request())


@pytest.mark.rfc("9051", "6.4.6")
async def test_add_remove_replace(store: Store, account: Account, inbox: MailboxStatus) -> None:
    added = await store.modify_flags(account.account_id, inbox.mailbox_id, [1, 2], FlagChange(ADD, SEEN | FLAGGED))
    assert list(added.rows.flags) == [SEEN | FLAGGED] * 2
    assert added.status.unseen == 3
    removed = await store.modify_flags(account.account_id, inbox.mailbox_id, [2], FlagChange(REMOVE, SEEN | ANSWERED))
    assert list(removed.rows.flags) == [FLAGGED]
    replaced = await store.modify_flags(account.account_id, inbox.mailbox_id, [1], FlagChange(REPLACE, DELETED))
    assert list(replaced.rows.flags) == [DELETED]
    assert (replaced.status.unseen, replaced.status.deleted) == (5, 1)
    assert replaced.previous == removed.status.modseq
    assert set(replaced.rows.modseqs) == {replaced.status.modseq}


async def test_what_does_not_change_keeps_its_modseq(store: Store, account: Account, inbox: MailboxStatus) -> None:
    before = await store.sync_mailbox(account.account_id, inbox.mailbox_id)
    same = await store.modify_flags(account.account_id, inbox.mailbox_id, [2], FlagChange(ADD, SEEN))
    assert (same.status.modseq, list(same.rows.modseqs)) == (before.status.modseq, [before.status.modseq])
    both = await store.modify_flags(account.account_id, inbox.mailbox_id, [1, 2], FlagChange(ADD, SEEN))
    assert list(both.rows.uids) == [1, 2]
    assert list(both.rows.modseqs) == [both.status.modseq, before.status.modseq]


async def test_uids_that_are_gone_are_left_out(store: Store, account: Account, inbox: MailboxStatus) -> None:
    result = await store.modify_flags(account.account_id, inbox.mailbox_id, [5, 5, 3, 99], FlagChange(ADD, FLAGGED))
    assert list(result.rows.uids) == [3, 5]
    nobody = await store.modify_flags(account.account_id, inbox.mailbox_id, [77], FlagChange(ADD, 0, ("unused",)))
    assert (len(nobody.rows), nobody.status.keywords) == (0, ())


@pytest.mark.rfc("7162", "3.1.3")
async def test_unchanged_since(store: Store, account: Account, inbox: MailboxStatus) -> None:
    first = await store.modify_flags(account.account_id, inbox.mailbox_id, [2, 3], FlagChange(ADD, FLAGGED))
    result = await store.modify_flags(
        account.account_id, inbox.mailbox_id, [1, 2, 3, 4], FlagChange(ADD, SEEN), unchanged_since=first.previous
    )
    assert list(result.conflicts) == [2, 3]
    assert list(result.rows.uids) == [1, 4]
    assert result.status.unseen == 2
    none = await store.modify_flags(account.account_id, inbox.mailbox_id, [1], FlagChange(ADD, SEEN), unchanged_since=0)
    assert (list(none.conflicts), len(none.rows)) == ([1], 0)


async def test_keywords_get_bits_as_they_come(store: Store, account: Account, inbox: MailboxStatus) -> None:
    result = await store.modify_flags(account.account_id, inbox.mailbox_id, [1], FlagChange(ADD, 0, ("$Work", "later")))
    assert result.status.keywords == ("$Work", "later")
    assert list(result.rows.flags) == [FIRST | FIRST << 1]
    again = await store.modify_flags(account.account_id, inbox.mailbox_id, [3], FlagChange(ADD, SEEN, ("LATER", "new")))
    assert again.status.keywords == ("$Work", "later", "new")
    assert list(again.rows.flags) == [SEEN | FIRST << 1 | FIRST << 2]
    less = await store.modify_flags(account.account_id, inbox.mailbox_id, [3], FlagChange(REMOVE, 0, ("later", "nope")))
    assert (list(less.rows.flags), less.status.keywords) == ([SEEN | FIRST << 2], again.status.keywords)


async def test_a_mailbox_has_55_keywords(store: Store, account: Account, inbox: MailboxStatus) -> None:
    names = tuple(f"k{number}" for number in range(55))
    full = await store.modify_flags(account.account_id, inbox.mailbox_id, [1], FlagChange(ADD, 0, names))
    assert full.status.keywords == names
    assert full.rows.flags[0] == ((1 << 55) - 1) << KEYWORD_SHIFT
    with pytest.raises(StoreError) as caught:
        await store.modify_flags(account.account_id, inbox.mailbox_id, [1, 2], FlagChange(ADD, SEEN, ("k1", "more")))
    assert caught.value.reason is Reason.KEYWORD_LIMIT
    after = await store.sync_mailbox(account.account_id, inbox.mailbox_id)
    assert after.status == full.status


@pytest.mark.rfc("9051", "9")
@pytest.mark.parametrize("name", ["", "a b", "a(b", "\\Seen", "a]", "*", "é", "x" * 256, 'a"', "a\0"])
async def test_names_that_are_no_keywords(store: Store, account: Account, inbox: MailboxStatus, name: str) -> None:
    with pytest.raises(StoreError) as caught:
        await store.modify_flags(account.account_id, inbox.mailbox_id, [1], FlagChange(ADD, 0, ("fine", name)))
    assert caught.value.reason is Reason.KEYWORD_INVALID
    assert (await store.get_mailbox(account.account_id, "INBOX")).keywords == ()


async def test_bits_that_are_no_system_flags(store: Store, account: Account, inbox: MailboxStatus) -> None:
    with pytest.raises(StoreError) as caught:
        await store.modify_flags(account.account_id, inbox.mailbox_id, [1], FlagChange(ADD, 1 << 9))
    assert caught.value.reason is Reason.INVALID_ARGUMENT


async def test_an_unknown_mailbox(store: Store, account: Account) -> None:
    with pytest.raises(StoreError) as caught:
        await store.modify_flags(account.account_id, MailboxId(999), [1], FlagChange(ADD, SEEN))
    assert caught.value.reason is Reason.MAILBOX_NOT_FOUND


async def test_two_writers_do_not_lose_each_others_flags(store: Store, account: Account, inbox: MailboxStatus) -> None:
    names = [f"k{number}" for number in range(20)]
    await asyncio.gather(
        *(
            store.modify_flags(account.account_id, inbox.mailbox_id, [1, 4], FlagChange(ADD, FLAGGED, (name,)))
            for name in names
        )
    )
    after = await store.sync_mailbox(account.account_id, inbox.mailbox_id)
    assert sorted(after.status.keywords) == sorted(names)
    assert after.changed.flags[0] == after.changed.flags[3] == FLAGGED | ((1 << 20) - 1) << KEYWORD_SHIFT


@pytest.mark.parametrize("uids", [range(1, 401), range(1, 400, 2), range(1, 400, 39)])
async def test_many_at_once(store: Store, account: Account, uids: range) -> None:
    items = [AppendItem(b"Subject: x\r\n\r\n")] * 400
    await store.append(account.account_id, "Archive", items, FREE, request_id=request())
    archive = await store.get_mailbox(account.account_id, "Archive")
    result = await store.modify_flags(account.account_id, archive.mailbox_id, uids, FlagChange(ADD, SEEN))
    assert list(result.rows.uids) == list(uids)
    assert result.status.unseen == 400 - len(uids)


async def test_a_store_after_anything_else_gives_the_mailbox_as_it_is(
    store: Store, account: Account, inbox: MailboxStatus
) -> None:
    """An engine may keep what it knows of a mailbox from one STORE to the next."""
    where, flagged = (account.account_id, inbox.mailbox_id), FlagChange(ADD, FLAGGED)
    await store.modify_flags(*where, [1], flagged)
    await store.append(account.account_id, inbox.name, [AppendItem(mail(), 0)], FREE, request_id=request())
    assert (await store.modify_flags(*where, [2], flagged)).status.messages == 6
    await store.subscribe(account.account_id, inbox.name, not inbox.subscribed)
    assert (await store.modify_flags(*where, [2], flagged)).status.subscribed is not inbox.subscribed
    await store.modify_flags(*where, [3], FlagChange(ADD, DELETED))
    await store.expunge(*where)
    after = await store.modify_flags(*where, [4], FlagChange(ADD, SEEN))
    assert after.status == await store.get_mailbox(account.account_id, inbox.name)


async def test_a_store_that_was_refused_leaves_no_trace(store: Store, account: Account, inbox: MailboxStatus) -> None:
    where = (account.account_id, inbox.mailbox_id)
    before = (await store.modify_flags(*where, [1], FlagChange(ADD, 0, ("first",)))).status
    with pytest.raises(StoreError):
        await store.modify_flags(*where, [1], FlagChange(ADD, 0, ("second", "not a keyword")))
    result = await store.modify_flags(*where, [1], FlagChange(ADD, 0, ("first",)))
    assert result.status == before


async def test_a_mailbox_that_was_deleted_after_a_store(store: Store, account: Account) -> None:
    made = await store.create_mailbox(account.account_id, "Short-lived")
    await store.modify_flags(account.account_id, made.mailbox_id, [1], FlagChange(ADD, SEEN))
    await store.delete_mailbox(account.account_id, made.name)
    with pytest.raises(StoreError) as caught:
        await store.modify_flags(account.account_id, made.mailbox_id, [1], FlagChange(ADD, SEEN))
    assert caught.value.reason is Reason.MAILBOX_NOT_FOUND


async def test_changes_of_many_sessions(store: Store, account: Account, inbox: MailboxStatus) -> None:
    archive = await store.get_mailbox(account.account_id, "Archive")
    await store.append(account.account_id, archive.name, [AppendItem(mail(), SEEN)], FREE, request_id=request())
    here, there = (account.account_id, inbox.mailbox_id), (account.account_id, archive.mailbox_id)
    before = (await store.sync_mailbox(*here)).status.modseq
    outcomes = await store.modify_each([
        FlagEdit(*here, 1, ADD, SEEN), FlagEdit(*there, 1, REPLACE, DELETED), FlagEdit(*here, 1, REMOVE, SEEN),
        FlagEdit(*here, 2, ADD, SEEN), FlagEdit(*here, 99, ADD, SEEN),
    ])  # fmt: skip
    edited = [one for one in outcomes if not isinstance(one, StoreError)]
    assert [(one.flags, one.unseen, one.deleted) for one in edited] == [
        (SEEN, 3, 0), (DELETED, 1, 1), (0, 4, 0), (SEEN, 4, 0), (0, 4, 0),
    ]  # fmt: skip
    first, other, second, same, gone = edited
    assert first.previous == before
    assert first.previous < first.mailbox_modseq == first.modseq == second.previous < other.modseq < second.modseq
    assert (same.previous, same.mailbox_modseq) == (second.modseq,) * 2
    assert same.modseq <= before
    assert gone == FlagEdited(second.modseq, second.modseq, 4, 0, 0, 0)
    for where, last in ((here, second), (there, other)):
        delta = await store.sync_mailbox(*where)
        assert (delta.status.modseq, delta.changed.flags[0], delta.changed.modseqs[0]) == (
            last.modseq, last.flags, last.modseq,
        )  # fmt: skip
        assert (delta.status.unseen, delta.status.deleted) == (last.unseen, last.deleted)


async def test_of_many_changes_each_is_refused_alone(store: Store, account: Account, inbox: MailboxStatus) -> None:
    here = (account.account_id, inbox.mailbox_id)
    edits = [
        FlagEdit(*here, 1, ADD, FLAGGED), FlagEdit(account.account_id, MailboxId(999), 1, ADD, FLAGGED),
        FlagEdit(*here, 3, ADD, 1 << 7), FlagEdit(*here, 4, ADD, FLAGGED),
    ]  # fmt: skip
    first, absent, unknown, last = await store.modify_each(edits)
    assert isinstance(first, FlagEdited)
    assert isinstance(last, FlagEdited)
    assert isinstance(absent, StoreError)
    assert isinstance(unknown, StoreError)
    assert (absent.reason, unknown.reason) == (Reason.MAILBOX_NOT_FOUND, Reason.INVALID_ARGUMENT)
    delta = await store.sync_mailbox(*here)
    assert list(delta.changed.flags) == [FLAGGED, SEEN, 0, FLAGGED, 0]


async def test_one_change_and_many_give_the_same(store: Store, account: Account, inbox: MailboxStatus) -> None:
    where = (account.account_id, inbox.mailbox_id)
    for uid, operation, system in [(1, ADD, SEEN), (2, REMOVE, SEEN), (1, REPLACE, ANSWERED | DELETED), (5, ADD, 0)]:
        (edited,) = await store.modify_each([FlagEdit(*where, uid, operation, system)])
        again = await store.modify_flags(*where, [uid], FlagChange(operation, system))
        assert isinstance(edited, FlagEdited)
        assert (edited.flags, edited.modseq) == (again.rows.flags[0], again.rows.modseqs[0])
        assert (edited.mailbox_modseq, edited.unseen, edited.deleted) == (
            again.status.modseq, again.status.unseen, again.status.deleted,
        )  # fmt: skip
