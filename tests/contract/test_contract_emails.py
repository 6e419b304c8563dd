"""An account over all its mailboxes: what changed since, contents by their numbers, and blobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.domain import (
    DELETED,
    FLAGGED,
    SEEN,
    Account,
    AccountId,
    AppendItem,
    Column,
    EmailDelta,
    FlagChange,
    FlagOperation,
    MailboxId,
    MailboxStatus,
    Recipient,
)
from services.common.errors import Reason, StoreError
from services.common.store import Store
from services.store.mailstore import emails as rules
from services.store.mailstore import history
from tests.support.stores import FREE, OpenStore, mail, memory, request


async def refused(attempt: Awaitable[object]) -> Reason:
    """Why the store says no."""
    with pytest.raises(StoreError) as caught:
        await attempt
    return caught.value.reason


@dataclass
class Mirror:
    """What a front end keeps of an account: each place with its content and flags, and mailboxes by number."""

    modseq: int = 0
    places: dict[tuple[int, int], tuple[int, int, int]] = field(default_factory=dict)
    mailboxes: dict[int, MailboxStatus] = field(default_factory=dict)

    def take(self, delta: EmailDelta) -> None:
        """Follow what happened."""
        if delta.since == 0:
            self.places.clear()
            self.mailboxes.clear()
        assert delta.since in (0, self.modseq)
        for key in zip(delta.gone.mailbox_ids, delta.gone.uids, strict=True):
            self.places.pop(key, None)
        for number in delta.gone_mailboxes:
            self.mailboxes.pop(number, None)
        for box in delta.mailboxes:
            self.mailboxes[box.mailbox_id] = box
        rows = delta.places
        for at, key in enumerate(zip(rows.mailbox_ids, rows.uids, strict=True)):
            self.places[key] = (rows.content_ids[at], rows.thread_ids[at], rows.flags[at])
        self.modseq = delta.modseq


async def append(store: Store, account: Account, mailbox: str, **what: str) -> int:
    """A message; its UID."""
    result = await store.append(account.account_id, mailbox, [AppendItem(mail(**what))], FREE, request_id=request())
    return result.uids[0]


async def test_a_new_account_has_its_mailboxes(store: Store, account: Account) -> None:
    delta = await store.emails.sync(account.account_id)
    assert (delta.since, delta.modseq) == (0, account.modseq)
    assert [box.name for box in delta.mailboxes] == [box.name for box in await store.list_mailboxes(account.account_id)]
    assert delta.next_id > max(box.mailbox_id for box in delta.mailboxes)
    again = await store.emails.sync(account.account_id, delta.modseq)
    assert (again.since, again.mailboxes, len(again.places)) == (delta.modseq, [], 0)
    assert await refused(store.emails.sync(AccountId(999))) is Reason.ACCOUNT_NOT_FOUND


async def test_what_comes_changes_and_goes_is_told(store: Store, account: Account, inbox: MailboxStatus) -> None:
    mirror = Mirror()
    mirror.take(await store.emails.sync(account.account_id))
    start = await store.emails.sync(account.account_id, mirror.modseq)
    uid = await append(store, account, "INBOX")
    delta = await store.emails.sync(account.account_id, mirror.modseq)
    assert list(delta.places.uids) == [uid]
    assert delta.places.content_ids[0] >= start.next_id, "it was made since"
    assert delta.places.sizes[0] == len(mail())
    assert [box.name for box in delta.mailboxes] == ["INBOX"]
    mirror.take(delta)
    content = delta.places.content_ids[0]
    await store.copy_messages(account.account_id, inbox.mailbox_id, [uid], "Archive", FREE, request_id=request())
    await store.modify_flags(account.account_id, inbox.mailbox_id, [uid], FlagChange(FlagOperation.ADD, SEEN))
    delta = await store.emails.sync(account.account_id, mirror.modseq)
    assert set(delta.places.content_ids) == {content}
    assert len(delta.places) == 2
    mirror.take(delta)
    await store.expunge(account.account_id, inbox.mailbox_id, [uid], regardless=True)
    delta = await store.emails.sync(account.account_id, mirror.modseq)
    gone = delta.gone
    assert (list(gone.content_ids), list(gone.uids)) == ([content], [uid])
    assert (list(gone.mailbox_ids), list(gone.thread_ids)) == ([inbox.mailbox_id], [content])
    mirror.take(delta)
    whole = Mirror()
    whole.take(await store.emails.sync(account.account_id))
    assert mirror == whole


async def test_a_move_goes_from_one_place_to_another(store: Store, account: Account, inbox: MailboxStatus) -> None:
    uid = await append(store, account, "INBOX")
    before = await store.emails.sync(account.account_id)
    await store.copy_messages(
        account.account_id, inbox.mailbox_id, [uid], "Trash", FREE, move=True, request_id=request()
    )
    delta = await store.emails.sync(account.account_id, before.modseq)
    assert list(delta.gone.content_ids) == list(delta.places.content_ids) == list(before.places.content_ids)


async def test_renaming_inbox_moves_what_it_held(store: Store, account: Account) -> None:
    await append(store, account, "INBOX")
    mirror = Mirror()
    mirror.take(await store.emails.sync(account.account_id))
    await store.rename_mailbox(account.account_id, "INBOX", "Old")
    mirror.take(await store.emails.sync(account.account_id, mirror.modseq))
    whole = Mirror()
    whole.take(await store.emails.sync(account.account_id))
    assert mirror == whole


async def test_mailboxes_and_subscriptions_are_changes_of_the_account(store: Store, account: Account) -> None:
    known = await store.emails.sync(account.account_id)
    made = await store.create_mailbox(account.account_id, "New/Below")
    delta = await store.emails.sync(account.account_id, known.modseq)
    assert {box.name for box in delta.mailboxes} == {"New", "New/Below"}
    assert all(box.mailbox_id >= known.next_id for box in delta.mailboxes)
    await store.subscribe(account.account_id, "New", True)
    after = await store.emails.sync(account.account_id, delta.modseq)
    assert [(box.name, box.subscribed) for box in after.mailboxes] == [("New", True)]
    await store.subscribe(account.account_id, "New", True)
    assert (await store.emails.sync(account.account_id, after.modseq)).modseq == after.modseq
    await store.delete_mailbox(account.account_id, "New/Below")
    gone = await store.emails.sync(account.account_id, after.modseq)
    assert (gone.since, gone.gone_mailboxes) == (after.modseq, [made.mailbox_id])


async def test_a_mailbox_that_went_with_messages_is_told_by_the_whole(store: Store, account: Account) -> None:
    await store.create_mailbox(account.account_id, "Full")
    await append(store, account, "Full")
    known = await store.emails.sync(account.account_id)
    await store.delete_mailbox(account.account_id, "Full")
    delta = await store.emails.sync(account.account_id, known.modseq)
    assert (delta.since, len(delta.places)) == (0, 0)


async def test_what_went_from_a_mailbox_before_it_went_itself(
    opened: OpenStore, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened.store
    full = await store.create_mailbox(account.account_id, "Full")
    uid = await append(store, account, "Full")
    known = await store.emails.sync(account.account_id)
    await store.expunge(account.account_id, full.mailbox_id, [uid], regardless=True)
    await store.delete_mailbox(account.account_id, "Full")
    await opened.rules.sweep()
    delta = await store.emails.sync(account.account_id, known.modseq)
    assert (delta.since, list(delta.gone.content_ids)) == (known.modseq, list(known.places.content_ids))
    monkeypatch.setattr(history, "GONE_MAILBOXES", 2)
    for name in ("A", "B", "C"):
        await store.create_mailbox(account.account_id, name)
    await store.delete_mailbox(account.account_id, "A")
    await opened.rules.sweep()
    assert (await store.emails.sync(account.account_id, known.modseq)).since == 0, "that is long ago"
    assert (await store.emails.sync(account.account_id, delta.modseq)).since == delta.modseq


async def test_what_is_forgotten_is_told_by_the_whole(
    opened: OpenStore, account: Account, inbox: MailboxStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "KEPT", 2)
    monkeypatch.setattr(history, "SLACK", 1)
    store = opened.store
    start = await store.emails.sync(account.account_id)
    for _ in range(6):
        uid = await append(store, account, "INBOX")
        await store.expunge(account.account_id, inbox.mailbox_id, [uid], regardless=True)
    late = await store.emails.sync(account.account_id)
    await opened.rules.sweep()
    assert (await store.emails.sync(account.account_id, start.modseq)).since == 0
    assert (await store.emails.sync(account.account_id, late.modseq)).since == late.modseq
    assert (await store.emails.sync(account.account_id, late.modseq + 99)).since == 0, "nobody can know the future"


async def test_only_what_is_named_is_removed_regardless_of_its_flags(
    store: Store, account: Account, inbox: MailboxStatus
) -> None:
    uids = [await append(store, account, "INBOX") for _ in range(3)]
    where = (account.account_id, inbox.mailbox_id)
    await store.modify_flags(*where, uids[:1], FlagChange(FlagOperation.ADD, DELETED | FLAGGED))
    assert list((await store.expunge(*where, [uids[1], 999], regardless=True)).uids) == [uids[1]]
    assert await refused(store.expunge(*where, regardless=True)) is Reason.INVALID_ARGUMENT
    assert (await store.get_mailbox(account.account_id, "INBOX")).messages == 2


async def test_contents_by_their_numbers(store: Store, account: Account) -> None:
    for number in range(5):
        await append(store, account, ("INBOX", "Archive")[number % 2], subject=f"number {number}")
    ids = sorted((await store.emails.sync(account.account_id)).places.content_ids)
    wanted = [*ids[::-1], ids[0], 10**9, 0]
    found = await store.emails.fetch(account.account_id, wanted, Column.PREVIEW | Column.HEADERS | Column.LOCATION)
    assert list(found.content_ids) == ids
    assert len(found.previews) == len(found.headers) == len(found.locations) == len(found.thread_ids) == 5
    assert b"Subject: number 0" in found.headers[0]
    assert not found.envelopes
    bodies = await store.read_bodies(account.account_id, found.locations)
    assert b"Subject: number 4" in bodies[4]
    assert await refused(store.emails.fetch(account.account_id, ids, Column.SIZE)) is Reason.INVALID_ARGUMENT
    assert not (await store.emails.fetch(account.account_id, [10**9], Column.PREVIEW)).content_ids


async def test_blobs_are_kept_found_and_read(store: Store, account: Account) -> None:
    ref = await store.emails.upload(account.account_id, b"some octets")
    assert (ref.length, ref.prefix) == (11, b"")
    assert await store.read_bodies(account.account_id, [ref]) == [b"some octets"]
    found = await store.emails.find(account.account_id, [ref.digest, b"?" * 32])
    assert [(each.digest, each.length) for each in found] == [(ref.digest, 11)]
    other = await store.open_account("bob@example.org")
    assert await store.emails.find(other.account_id, [ref.digest]) == []
    assert await refused(store.read_bodies(other.account_id, [ref])) is Reason.MESSAGE_NOT_FOUND
    empty = await store.emails.upload(account.account_id, b"")
    assert await store.read_bodies(account.account_id, [empty]) == [b""]
    large = await store.emails.upload(account.account_id, bytes(700_000))
    assert (await store.read_bodies(account.account_id, [large]))[0] == bytes(700_000)


async def test_blobs_are_bounded(store: Store, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await refused(store.emails.upload(account.account_id, bytes((1 << 20) + 1))) is Reason.MESSAGE_TOO_LARGE
    monkeypatch.setattr(rules, "MAX_BLOB_BYTES", 10)
    await store.emails.upload(account.account_id, bytes(6))
    assert await refused(store.emails.upload(account.account_id, bytes(5))) is Reason.OVER_QUOTA
    assert await refused(store.emails.upload(AccountId(999), b"")) is Reason.ACCOUNT_NOT_FOUND
    assert await refused(store.emails.find(account.account_id, [b"short"])) is Reason.INVALID_ARGUMENT


async def test_a_body_of_a_message_is_a_blob_too(store: Store, account: Account) -> None:
    await store.deliver([Recipient(account.name, prefix=b"X: y\r\n")], mail(), request_id=request())
    [content] = (await store.emails.sync(account.account_id)).places.content_ids
    found = await store.emails.fetch(account.account_id, [content], Column.LOCATION)
    [ref] = await store.emails.find(account.account_id, [found.locations[0].digest])
    assert await store.read_bodies(account.account_id, [ref]) == [mail()]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["append", "flag", "copy", "move", "remove", "deliver", "mailbox", "subscribe", "rename", "look"]
        ),
        st.integers(0, 5),
        st.integers(0, 2),
    ),
    max_size=40,
)
NAMES = ("INBOX", "Archive", "Trash")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_what_is_told_adds_up_to_what_there_is(steps: list[tuple[str, int, int]]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, int, int]]) -> None:
    async with memory(None) as opened:  # type: ignore[arg-type]
        store = opened.store
        account = await store.open_account("ada@example.org")
        mirror = Mirror()
        mirror.take(await store.emails.sync(account.account_id))
        for name, number, which in steps:
            if name == "look":
                mirror.take(await store.emails.sync(account.account_id, mirror.modseq))
            else:
                await _step(store, account, name, number, NAMES[which])
        mirror.take(await store.emails.sync(account.account_id, mirror.modseq))
        whole = Mirror()
        whole.take(await store.emails.sync(account.account_id))
        assert mirror == whole
        assert await opened.findings() == []


async def _step(store: Store, account: Account, name: str, number: int, mailbox: str) -> None:
    box = await store.get_mailbox(account.account_id, mailbox)
    where: tuple[AccountId, MailboxId] = (account.account_id, box.mailbox_id)
    uids = list((await store.sync_mailbox(*where)).changed.uids)[: number + 1]
    target = NAMES[(NAMES.index(mailbox) + 1) % 3]
    if name == "append":
        await append(store, account, mailbox)
    elif name == "deliver":
        await store.deliver([Recipient(account.name, mailbox)], mail(), request_id=request())
    elif name == "flag":
        await store.modify_flags(*where, uids, FlagChange(FlagOperation.ADD, 1 << number % 5, ("$x",)))
    elif name in ("copy", "move"):
        await store.copy_messages(*where, uids, target, FREE, move=name == "move", request_id=request())
    elif name == "remove":
        await store.expunge(*where, uids, regardless=True)
    elif name == "subscribe":
        await store.subscribe(account.account_id, mailbox, number % 2 == 0)
    elif name == "rename" and box.messages:
        names = {each.name for each in await store.list_mailboxes(account.account_id)}
        if f"Old{number}" not in names:
            await store.rename_mailbox(account.account_id, "INBOX", f"Old{number}")
    elif name == "mailbox":
        names = {each.name for each in await store.list_mailboxes(account.account_id)}
        if f"Made{number}" in names:
            made = await store.get_mailbox(account.account_id, f"Made{number}")
            where = (account.account_id, made.mailbox_id)
            uids = list((await store.sync_mailbox(*where)).changed.uids)
            await store.expunge(*where, uids, regardless=True)
            await store.delete_mailbox(account.account_id, made.name)
        else:
            await store.create_mailbox(account.account_id, f"Made{number}")
            await append(store, account, f"Made{number}")
