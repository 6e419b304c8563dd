"""Mailboxes that this process knows: opened again, made anew, renamed, claimed, let go of."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.common.domain import INBOX, AppendItem, MailboxDelta, Quota, Rows
from services.common.options import ImapOptions
from tests.support.imap import Client, fill, local_imap

MESSAGE = b"Subject: number %d\r\n\r\nText.\r\n"


async def _exists(client: Client, mailbox: str) -> int:
    lines = await client.ok(f"SELECT {mailbox}")
    return next(int(line.split()[1]) for line in lines if line.endswith(b"EXISTS"))


async def _eventually(holds: Callable[[], bool]) -> None:
    for _ in range(4000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError


async def test_select_sees_what_was_acknowledged_elsewhere() -> None:
    async with local_imap([MESSAGE % 1]) as running:
        client = await running.client()
        account_id = (await running.store.open_account("anna@example.com")).account_id
        for count in range(1, 6):
            assert await _exists(client, INBOX) == count
            await running.store.append(
                account_id, INBOX, [AppendItem(MESSAGE % count)], Quota(), request_id=f"r{count}"
            )


@pytest.mark.rfc("9051", "6.3.6")
async def test_a_name_may_come_to_mean_another_mailbox() -> None:
    async with local_imap() as running:
        client, account_id = await running.client(), await fill(running.store, [])
        await running.store.create_mailbox(account_id, "One")
        await running.store.create_mailbox(account_id, "Two")
        await fill(running.store, [MESSAGE % 1], mailbox="One")
        await fill(running.store, [MESSAGE % 1, MESSAGE % 2], mailbox="Two")
        assert await _exists(client, "One") == 1
        assert await _exists(client, "Two") == 2
        await running.store.rename_mailbox(account_id, "One", "Three")
        await running.store.rename_mailbox(account_id, "Two", "One")
        assert await _exists(client, "One") == 2
        assert await _exists(client, "Three") == 1
        await client.ok("UNSELECT")
        await running.store.delete_mailbox(account_id, "One")
        await running.store.create_mailbox(account_id, "One")
        assert await _exists(client, "One") == 0


@pytest.mark.rfc("3501", "2.3.2")
async def test_recent_is_claimed_by_select_and_by_leaving() -> None:
    async with local_imap([MESSAGE % 1]) as running:
        client, account_id = await running.client(), await fill(running.store, [])
        assert b"* 1 RECENT" in await client.ok("EXAMINE INBOX")
        assert b"* 1 RECENT" in await client.ok("SELECT INBOX")
        assert b"* 0 RECENT" in await client.ok("SELECT INBOX")
        await running.store.append(account_id, INBOX, [AppendItem(MESSAGE % 2)], Quota(), request_id="r")
        for _ in range(4000):
            if b"* 1 RECENT" in await client.ok("NOOP"):
                break
            await asyncio.sleep(0.005)
        await client.ok("UNSELECT")
        await running.service.mailboxes.close()
        status = await running.store.get_mailbox(account_id, INBOX)
        assert status.recent_from == status.uidnext
        assert b"* 0 RECENT" in await client.ok("SELECT INBOX")


async def test_mailboxes_nobody_looks_at_are_let_go_of_when_memory_is_short() -> None:
    async with local_imap(imap=ImapOptions(cachebytes=1_048_576)) as running:
        client, account_id = await running.client(), await fill(running.store, [])
        for number in range(250):
            await running.store.create_mailbox(account_id, f"box{number}")
            await client.ok(f"SELECT box{number}")
        mailboxes = running.service.mailboxes
        everything = await running.store.list_mailboxes(account_id)
        kept = [status for status in everything if mailboxes.get(account_id, status.mailbox_id) is not None]
        assert 100 < len(kept) < 250
        assert await _exists(client, "box0") == 0


async def test_sessions_share_one_mailbox() -> None:
    async with local_imap([MESSAGE % number for number in range(20)]) as running:
        clients = await asyncio.gather(*(running.client(select="INBOX") for _ in range(8)))
        account_id = await fill(running.store, [])
        shared = running.service.mailboxes.get(
            account_id, (await running.store.get_mailbox(account_id, INBOX)).mailbox_id
        )
        assert shared is not None
        assert len(shared.views) == 8
        assert all(view.uids is shared.uids for view in shared.views)
        await clients[0].ok("STORE 3 +FLAGS.SILENT (\\Deleted)")
        await clients[0].ok("EXPUNGE")
        assert sum(view.uids is shared.uids for view in shared.views) == 1
        for client in clients:
            await client.ok("NOOP")
        assert all(view.uids is shared.uids for view in shared.views)
        assert shared.ghosts == {}
        for client in clients:
            await client.close()
        await _eventually(lambda: not shared.views)


async def test_nothing_is_kept_of_messages_that_no_session_knows() -> None:
    async with local_imap([MESSAGE % 1]) as running:
        silent, busy = await running.client(select="INBOX"), await running.client(select="INBOX")
        account_id = await fill(running.store, [])
        status = await running.store.get_mailbox(account_id, INBOX)
        shared = running.service.mailboxes.get(account_id, status.mailbox_id)
        assert shared is not None
        target = await running.store.create_mailbox(account_id, "elsewhere")
        items = [AppendItem(MESSAGE % 2)]
        for uid in range(2, 7):
            await running.store.append(account_id, INBOX, items, Quota(), request_id=f"in-{uid}")
            await _eventually(lambda: len(shared.uids) == 2)
            await running.store.copy_messages(
                account_id, status.mailbox_id, [uid], target.name, Quota(), move=True, request_id=f"out-{uid}"
            )
            await _eventually(lambda: len(shared.uids) == 1)
        assert shared.ghosts == {}
        for client in (silent, busy):
            assert await client.ok("FETCH 1 UID") == [b"* 1 FETCH (UID 1)"]
            assert await client.ok("NOOP") == []


async def test_a_mailbox_told_anew_is_compared_with_what_was_known() -> None:
    """The store no longer knows what went since: sessions hear of it all the same."""
    async with local_imap([MESSAGE % number for number in range(6)]) as running:
        client = await running.client(select="INBOX")
        account_id = await fill(running.store, [])
        whole = await running.store.sync_mailbox(account_id, INBOX)
        shared = running.service.mailboxes.get(account_id, whole.status.mailbox_id)
        assert shared is not None
        modseq = whole.status.modseq + 1
        left = Rows(array("I", [1, 4, 6, 7]), array("Q", [0] * 4), array("Q", [modseq] * 4))
        status = replace(whole.status, modseq=modseq, messages=4, uidnext=8)
        assert shared.apply(replace(whole, status=status, changed=left))
        assert list(shared.uids) == [1, 4, 6, 7]
        told = await client.ok("NOOP")
        assert told[:4] == [b"* 5 EXPUNGE", b"* 3 EXPUNGE", b"* 2 EXPUNGE", b"* 4 EXISTS"]


async def test_messages_that_come_back_with_a_restored_store_are_seen_by_new_sessions() -> None:
    """Those that were there see the mailbox emptied: their numbers cannot be made to fit."""
    async with local_imap([MESSAGE % number for number in range(4)]) as running:
        client, other = await running.client(select="INBOX"), await running.client()
        account_id = await fill(running.store, [])
        before = await running.store.sync_mailbox(account_id, INBOX)
        await client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
        await client.ok("EXPUNGE")
        modseq = (await running.store.get_mailbox(account_id, INBOX)).modseq + 1
        status = replace(before.status, modseq=modseq)
        restored = replace(before, status=status, changed=replace(before.changed, modseqs=array("Q", [modseq] * 4)))
        real = running.service.mailboxes._store.sync_mailbox

        async def sync(*arguments: Any, **rest: Any) -> MailboxDelta:
            await real(*arguments, **rest)
            return restored

        running.service.mailboxes._store.sync_mailbox = sync  # type: ignore[method-assign]
        assert await _exists(other, INBOX) == 4
        assert await client.ok("NOOP") == [b"* 3 EXPUNGE", b"* 2 EXPUNGE", b"* 1 EXPUNGE"]
        assert await _exists(client, INBOX) == 4
