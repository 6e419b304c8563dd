"""`StoreClient` against the real server: outages, repeats, large bodies, maildrop locks and whose they are."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from array import array
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from services.common.domain import (
    INBOX,
    Account,
    AppendItem,
    BodyRef,
    Column,
    Columns,
    MailboxId,
    MailboxStatus,
    Maildrop,
    Quota,
    Recipient,
)
from services.common.errors import Reason, StoreError
from services.common.options import StoreOptions
from services.common.storeclient import StoreClient, connect, transfers
from services.common.storeclient import client as client_module
from tests.support.store import StoreFixture

LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 60_000


@pytest.fixture
async def store() -> AsyncIterator[StoreFixture]:
    """A store in memory that does not keep callers waiting for long."""
    async with StoreFixture(options=StoreOptions(storewait=5)) as fixture:
        yield fixture


@pytest.fixture
async def account(store: StoreFixture) -> Account:
    """An account with a message."""
    return await store.account("ada@example.org", b"Subject: one\r\n\r\nText\r\n")


class Calls:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []

    def store_call(self, method: str, result: str, seconds: float) -> None:
        """Keep it."""
        assert seconds >= 0
        self.ended.append((method, result))


async def test_calls_wait_for_a_store_that_is_away(store: StoreFixture, account: Account) -> None:
    await store.stop()
    calls = [asyncio.create_task(store.client.get_mailbox(account.account_id, INBOX)) for _ in range(20)]
    await asyncio.sleep(0.2)
    assert not any(call.done() for call in calls)
    assert not store.client.ready
    await store.start()
    assert {status.messages for status in await asyncio.gather(*calls)} == {1}
    await store.client.wait_ready(5)
    assert store.client.ready


async def test_a_store_that_stays_away_is_unavailable(store: StoreFixture) -> None:
    await store.stop()
    calls = Calls()
    options = replace(store.configuration.store, storewait=0)
    client = connect(replace(store.configuration, store=options), "admin", calls)
    try:
        for call in (client.open_account("ada"), client.list_accounts(), client.sessions.list_sessions()):
            with pytest.raises(StoreError) as caught:
                await call
            assert caught.value.reason is Reason.UNAVAILABLE
        assert calls.ended[0] == ("open_account", "UNAVAILABLE")
    finally:
        await client.close()


async def test_the_wait_can_be_changed_while_running(store: StoreFixture, account: Account) -> None:
    await store.stop()
    options = replace(store.configuration.store, storewait=0)
    store.client.reconfigure(replace(store.configuration, store=options))
    with pytest.raises(StoreError) as caught:
        await store.client.get_mailbox(account.account_id, INBOX)
    assert caught.value.reason is Reason.UNAVAILABLE


async def test_closing_ends_what_waits(store: StoreFixture, account: Account) -> None:
    await store.stop()
    client = connect(store.configuration, "imap")
    call = asyncio.create_task(client.get_mailbox(account.account_id, INBOX))
    await asyncio.sleep(0.05)
    await client.close()
    with pytest.raises(StoreError) as caught:
        await call
    assert caught.value.reason is Reason.UNAVAILABLE


async def test_running_calls_are_finished_when_the_store_drains(
    store: StoreFixture, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()
    real = store.store.get_mailbox

    async def held(*arguments: Any) -> MailboxStatus:
        await release.wait()
        return await real(*arguments)

    monkeypatch.setattr(store.store, "get_mailbox", held)
    call = asyncio.create_task(store.client.get_mailbox(account.account_id, INBOX))
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(store.stop(5))
    await asyncio.sleep(0.05)
    release.set()
    assert (await call).name == INBOX
    await stopping


async def test_an_append_whose_answer_was_lost_is_made_once(
    store: StoreFixture, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store.store.append
    done = asyncio.Event()

    async def append(*arguments: Any, **rest: Any) -> Any:
        result = await real(*arguments, **rest)
        done.set()
        await asyncio.sleep(60)
        return result

    monkeypatch.setattr(store.store, "append", append)
    items = [AppendItem(b"Subject: two\r\n\r\n")]
    call = asyncio.create_task(
        store.client.append(account.account_id, INBOX, items, Quota(), request_id=str(uuid.uuid4()))
    )
    await done.wait()
    await store.stop()
    await store.start()
    assert list((await call).uids) == [2]
    assert (await store.client.get_mailbox(account.account_id, INBOX)).messages == 2


@pytest.mark.parametrize("what", ["create", "rename", "delete", "delete account"])
async def test_a_repeat_of_what_went_through_is_no_error(
    store: StoreFixture, account: Account, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    method, call = {
        "create": ("create_mailbox", lambda: store.client.create_mailbox(account.account_id, "New")),
        "rename": ("rename_mailbox", lambda: store.client.rename_mailbox(account.account_id, "Sent", "New")),
        "delete": ("delete_mailbox", lambda: store.client.delete_mailbox(account.account_id, "Sent")),
        "delete account": ("delete_account", lambda: store.client.delete_account(account.name)),
    }[what]
    real = getattr(store.store, method)
    done = asyncio.Event()

    async def lost(*arguments: Any, **rest: Any) -> None:
        await real(*arguments, **rest)
        done.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(store.store, method, lost)
    running: asyncio.Future[Any] = asyncio.ensure_future(call())  # type: ignore[no-untyped-call]
    await done.wait()
    await store.stop()
    await store.start()
    result = await running
    assert result is None or result.name == "New"
    # And the same without a lost answer is one.
    with pytest.raises(StoreError):
        await call()  # type: ignore[no-untyped-call]


async def test_large_messages_go_in_and_out_in_chunks(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await store.account()
    monkeypatch.setattr(client_module, "SMALL", 100)
    monkeypatch.setattr(transfers, "CHUNK", 65_536)
    items = [AppendItem(LARGE, internaldate=5, keywords=("a",)), AppendItem(b""), AppendItem(LARGE[:-1])]
    result = await store.client.append(account.account_id, INBOX, items, Quota(), request_id=str(uuid.uuid4()))
    columns = await store.client.fetch_columns(
        account.account_id, result.mailbox_id, Column.LOCATION | Column.INTERNALDATE | Column.SIZE
    )
    assert columns.internaldates[0] == 5
    bodies = await store.client.read_bodies(account.account_id, columns.locations)
    assert [bytes(body) for body in bodies] == [item.body for item in items]
    chunks = [chunk async for chunk in store.client.stream_body(account.account_id, columns.locations[0], 17)]
    assert b"".join(chunks) == LARGE[17:]
    assert len(chunks) > 1


async def test_a_large_delivery_goes_in_chunks(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SMALL", 100)
    recipients = [Recipient("ada", prefix=b"Delivered-To: ada\r\n"), Recipient("bob", "Junk")]
    outcomes = await store.client.deliver(recipients, LARGE, request_id=str(uuid.uuid4()))
    assert [outcome.reason for outcome in outcomes] == ["", ""]
    account = await store.client.open_account("ada", create=False)
    columns = await store.client.fetch_columns(account.account_id, outcomes[0].mailbox_id, Column.LOCATION)
    (body,) = await store.client.read_bodies(account.account_id, columns.locations)
    assert body == b"Delivered-To: ada\r\n" + LARGE


async def test_an_upload_above_the_limit_is_refused_before_it_comes(
    store: StoreFixture, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.reconfigure(maxmessagesize=65_536)
    with pytest.raises(StoreError) as caught:
        await store.client.append(account.account_id, INBOX, [AppendItem(LARGE)], Quota(), request_id=str(uuid.uuid4()))
    assert caught.value.reason is Reason.MESSAGE_TOO_LARGE
    assert caught.value.metadata["limit"] == "65536"


async def test_many_bodies_come_over_several_replies(store: StoreFixture) -> None:
    bodies = [b"Subject: %d\r\n\r\n" % number + b"x" * (number * 60_000) for number in range(30)]
    bodies.append(b"Subject: last\r\n\r\n" + b"y" * 2_500_000)
    account = await store.account("bob", *bodies)
    inbox = await store.client.get_mailbox(account.account_id, INBOX)
    columns = await store.client.fetch_columns(account.account_id, inbox.mailbox_id, Column.LOCATION)
    assert list(await store.client.read_bodies(account.account_id, columns.locations)) == bodies
    assert await store.client.read_bodies(account.account_id, []) == []


async def test_a_stream_goes_on_where_it_was_after_an_outage(store: StoreFixture) -> None:
    account = await store.account("bob", LARGE * 4)
    inbox = await store.client.get_mailbox(account.account_id, INBOX)
    columns = await store.client.fetch_columns(account.account_id, inbox.mailbox_id, Column.LOCATION)
    chunks = store.client.stream_body(account.account_id, columns.locations[0])
    read = await anext(chunks)
    await store.stop()
    await store.start()
    read += b"".join([chunk async for chunk in chunks])
    assert read == LARGE * 4


async def test_a_body_that_is_not_the_accounts_is_not_found(store: StoreFixture, account: Account) -> None:
    for digest in (b"x" * 32, b"y" * 32):
        with pytest.raises(StoreError) as caught:
            await store.client.read_bodies(account.account_id, [BodyRef(digest, 10, 0, 0)])
        assert caught.value.reason is Reason.MESSAGE_NOT_FOUND


async def test_columns_come_whole_over_several_replies(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await store.account("bob", *(b"Subject: %d\r\n\r\n" % number for number in range(30)))
    monkeypatch.setattr("services.store.servicers.messages.COLUMN_ROWS", 7)
    inbox = await store.client.get_mailbox(account.account_id, INBOX)
    everything = ~Column(0)
    columns = await store.client.fetch_columns(account.account_id, inbox.mailbox_id, everything)
    assert columns == await store.store.fetch_columns(account.account_id, inbox.mailbox_id, everything)
    monkeypatch.setattr("services.store.servicers.messages.COLUMN_BYTES", 100)
    assert columns == await store.client.fetch_columns(account.account_id, inbox.mailbox_id, everything)
    some = await store.client.fetch_columns(account.account_id, inbox.mailbox_id, Column.SIZE, [3, 5])
    assert some.uids == array("I", [3, 5])


async def test_long_headers_are_read_few_at_a_time(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [b"Subject: %b\r\n\r\n" % (b"%d" % number * 5_000) for number in range(10, 40)]
    account = await store.account("carl", *messages)
    inbox = await store.client.get_mailbox(account.account_id, INBOX)
    where, wanted = (account.account_id, inbox.mailbox_id), Column.ENVELOPE | Column.SIZE
    expected = await store.store.fetch_columns(*where, wanted)
    monkeypatch.setattr("services.store.servicers.messages.READ_BYTES", 35_000)
    monkeypatch.setattr("services.store.servicers.messages.FIRST_ROWS", 8)
    monkeypatch.setattr("services.store.servicers.messages.LEAST_ROWS", 2)
    real = store.store.fetch_columns
    read: list[tuple[int, int]] = []

    async def noted(*arguments: Any) -> Columns:
        columns = await real(*arguments)
        read.append((len(columns.uids), sum(map(len, columns.envelopes))))
        return columns

    monkeypatch.setattr(store.store, "fetch_columns", noted)
    assert await store.client.fetch_columns(*where, wanted, range(1, 31)) == expected
    assert read[0][0] == 8
    assert max(size for _, size in read[1:]) < 40_000
    assert sum(rows for rows, _ in read) == 30
    assert await store.client.fetch_columns(*where, wanted) == expected
    assert await store.client.fetch_columns(*where, wanted, []) == Columns()
    with pytest.raises(StoreError) as caught:
        await store.client.fetch_columns(account.account_id, MailboxId(999), wanted, [])
    assert caught.value.reason is Reason.MAILBOX_NOT_FOUND


async def test_accounts_come_in_pages(store: StoreFixture) -> None:
    names = sorted(f"user{number}" for number in range(7))
    for name in names:
        await store.client.open_account(name)
    found, token = [], ""
    while True:
        page = await store.client.list_accounts(page_size=3, page_token=token)
        found += [account.name for account in page.accounts]
        token = page.token
        if not token:
            break
    assert found == names
    with pytest.raises(StoreError) as caught:
        await store.client.list_accounts(page_size=-1)
    assert caught.value.reason is Reason.INVALID_ARGUMENT


@pytest.mark.rfc("1939", "8")
async def test_a_process_that_ends_gives_its_maildrops_up(store: StoreFixture, account: Account) -> None:
    first, second = await store.connect("pop"), await store.connect("pop")
    await first.open_maildrop(account.account_id)
    with pytest.raises(StoreError) as caught:
        await second.open_maildrop(account.account_id)
    assert caught.value.reason is Reason.MAILDROP_IN_USE
    await first.close()
    drop = await _opened(second, account)
    await second.commit_maildrop(account.account_id, drop.lock, drop.uids, [])
    await second.commit_maildrop(account.account_id, drop.lock, drop.uids, [])  # a repeat
    assert (await store.client.get_mailbox(account.account_id, INBOX)).messages == 0


async def test_a_maildrop_that_has_not_changed_does_not_come_again(store: StoreFixture, account: Account) -> None:
    client = await store.connect("pop")
    first = await client.open_maildrop(account.account_id)
    await client.release_maildrop(account.account_id, first.lock)
    again = await client.open_maildrop(account.account_id)
    assert again.lock != first.lock
    assert again.uids is first.uids
    assert again == replace(first, lock=again.lock)
    await client.commit_maildrop(account.account_id, again.lock, first.uids[:1], [])
    less = await client.open_maildrop(account.account_id)
    assert less.uids == first.uids[1:]
    assert less.status.modseq > first.status.modseq


async def test_a_listing_of_another_past_is_not_taken_for_the_present(store: StoreFixture, account: Account) -> None:
    client = await store.connect("pop")
    drop = await client.open_maildrop(account.account_id)
    await client.release_maildrop(account.account_id, drop.lock)
    # What a store that was restored from a backup may come to: the same number for other messages.
    other = replace(drop, status=replace(drop.status, uidnext=99), uids=array("I", [98]))
    client._listings.put(account.account_id, other)
    again = await client.open_maildrop(account.account_id)
    assert (again.status, again.uids, list(again.locations)) == (drop.status, drop.uids, list(drop.locations))


async def _opened(client: StoreClient, account: Account) -> Maildrop:
    """The maildrop, as soon as nobody else has it."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(StoreError):
                return await client.open_maildrop(account.account_id)
            await asyncio.sleep(0.01)


async def test_a_lock_is_lost_with_the_store(store: StoreFixture, account: Account) -> None:
    drop = await store.client.open_maildrop(account.account_id)
    await store.stop()
    await store.start()
    with pytest.raises(StoreError) as caught:
        await store.client.commit_maildrop(account.account_id, drop.lock, [1], [])
    assert caught.value.reason is Reason.MAILDROP_LOCK_LOST
    await store.client.release_maildrop(account.account_id, drop.lock)


async def test_a_maildrop_whose_session_went_meanwhile_is_given_up(
    store: StoreFixture, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store.store.open_maildrop
    locked = asyncio.Event()

    async def slow(*arguments: Any, **rest: Any) -> Any:
        drop = await real(*arguments, **rest)
        locked.set()
        await asyncio.sleep(0.05)
        return drop

    monkeypatch.setattr(store.store, "open_maildrop", slow)
    call = asyncio.create_task(store.client.open_maildrop(account.account_id))
    await locked.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert await _opened(store.client, account)


async def test_a_maildrop_of_many_messages_comes_whole(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.store.servicers.maildrop.CHUNK", 7)
    account = await store.account("bob", *(b"Subject: %d\r\n\r\n" % number for number in range(30)))
    drop = await store.client.open_maildrop(account.account_id)
    assert list(drop.uids) == list(range(1, 31))
    assert len(drop.sizes) == len(drop.locations) == 30
    assert list(await store.client.read_bodies(account.account_id, drop.locations[-1:])) == [b"Subject: 29\r\n\r\n"]


async def test_calls_are_observed(store: StoreFixture, account: Account) -> None:
    calls = Calls()
    client = await store.connect("imap", calls)
    await client.get_mailbox(account.account_id, INBOX)
    with pytest.raises(StoreError):
        await client.get_mailbox(account.account_id, "None")
    assert calls.ended == [("get_mailbox", "ok"), ("get_mailbox", "MAILBOX_NOT_FOUND")]
