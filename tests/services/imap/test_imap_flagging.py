"""Flag changes that share a call: everybody gets what came of their own messages."""

from __future__ import annotations

import asyncio

import pytest

from services.common.domain import DELETED, FLAGGED, SEEN, FlagChange, FlagOperation
from services.common.errors import Reason, StoreError
from services.imap.sharedmailbox import SharedMailbox
from tests.support.imap import RunningImap, local_imap

MESSAGE = b"Subject: number %d\r\n\r\nText.\r\n"
FLAG = FlagChange(FlagOperation.ADD, FLAGGED)


async def _mailbox(running: RunningImap) -> SharedMailbox:
    await running.client(select="INBOX")
    account_id = (await running.store.open_account("anna@example.com")).account_id
    shared = running.service.mailboxes.get(
        account_id, (await running.store.get_mailbox(account_id, "INBOX")).mailbox_id
    )
    assert shared is not None
    return shared


async def test_each_gets_its_own_messages() -> None:
    async with local_imap([MESSAGE % number for number in range(30)]) as running:
        shared, flags = await _mailbox(running), running.service.flags
        wanted = [[n, n + 1] for n in range(1, 29)]
        results = await asyncio.gather(*(flags.modify(shared, uids, FLAG) for uids in wanted))
        assert [list(result.rows.uids) for result in results] == wanted
        assert all(mask == FLAGGED for result in results for mask in result.rows.flags)
        assert all(mask & FLAGGED for mask in shared.flags[:29])


async def test_different_changes_are_kept_apart() -> None:
    async with local_imap([MESSAGE % 1]) as running:
        shared, flags = await _mailbox(running), running.service.flags
        changes = [FlagChange(FlagOperation.ADD, bit) for bit in (SEEN, FLAGGED, DELETED, SEEN)]
        await asyncio.gather(*(flags.modify(shared, [1], change) for change in changes))
        assert shared.flags[0] == SEEN | FLAGGED | DELETED


async def test_a_refusal_reaches_all_who_share_it() -> None:
    async with local_imap([MESSAGE % number for number in range(3)]) as running:
        shared, flags = await _mailbox(running), running.service.flags
        bad = FlagChange(FlagOperation.ADD, 0, ("not a keyword",))
        work = [flags.modify(shared, [1], FLAG), *(flags.modify(shared, [uid], bad) for uid in (1, 2, 3))]
        first, *refused = await asyncio.gather(*work, return_exceptions=True)
        assert not isinstance(first, BaseException)
        for error in refused:
            assert isinstance(error, StoreError)
            assert error.reason is Reason.KEYWORD_INVALID
        assert list((await flags.modify(shared, [2], FLAG)).rows.uids) == [2]


async def test_one_who_gives_up_does_not_take_the_others_along() -> None:
    async with local_imap([MESSAGE % number for number in range(3)]) as running:
        shared, flags = await _mailbox(running), running.service.flags
        tasks = [asyncio.ensure_future(flags.modify(shared, [uid], FLAG)) for uid in (1, 2, 3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        assert list((await tasks[2]).rows.uids) == [3]
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        await tasks[0]
