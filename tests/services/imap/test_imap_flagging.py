"""Flag changes that share a call: everybody gets what came of their own messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from services.common.domain import (
    DELETED,
    FLAGGED,
    SEEN,
    AppendItem,
    FlagChange,
    FlagEdit,
    FlagEdited,
    FlagOperation,
    Quota,
)
from services.common.errors import Reason, StoreError
from services.common.store import Store
from services.imap.flagging import FlagWrites
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


class _Counting:
    """The store, counting."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls = 0

    async def modify_each(self, edits: Sequence[FlagEdit]) -> Sequence[FlagEdited | StoreError]:
        """Pass it on."""
        self.calls += 1
        return await self._store.modify_each(edits)


async def test_sessions_that_change_a_message_each_share_a_call() -> None:
    async with local_imap([MESSAGE % number for number in range(9)]) as running:
        shared = await _mailbox(running)
        store = _Counting(running.store)
        flags = FlagWrites(cast("Store", store))
        bits = [(SEEN, FLAGGED, DELETED)[uid % 3] for uid in range(1, 10)]
        work = [flags.edit(shared, uid, FlagOperation.ADD, bit) for uid, bit in enumerate(bits, 1)]
        results = await asyncio.gather(*work, flags.edit(shared, 77, FlagOperation.ADD, SEEN))
        assert store.calls == 1
        assert [result.flags for result in results] == [*bits, 0]
        assert [bool(result.modseq) for result in results] == [True] * 9 + [False]
        assert list(shared.flags) == bits
        status = await running.store.get_mailbox(shared.account_id, "INBOX")
        assert (shared.status.modseq, shared.status.unseen, shared.status.deleted) == (
            status.modseq, status.unseen, status.deleted,
        )  # fmt: skip


async def test_one_of_many_is_refused_alone() -> None:
    async with local_imap([MESSAGE % number for number in range(3)]) as running:
        shared, flags = await _mailbox(running), running.service.flags
        made = await running.store.create_mailbox(shared.account_id, "Short-lived")
        await running.store.append(
            shared.account_id, made.name, [AppendItem(MESSAGE % 9)], Quota(), request_id="short-lived"
        )
        client = await running.client(select="Short-lived")
        lost = running.service.mailboxes.get(shared.account_id, made.mailbox_id)
        assert lost is not None
        await running.store.delete_mailbox(shared.account_id, made.name)
        work = [flags.edit(box, uid, FlagOperation.ADD, FLAGGED) for box, uid in ((shared, 1), (lost, 1), (shared, 2))]
        first, refused, last = await asyncio.gather(*work, return_exceptions=True)
        assert isinstance(refused, StoreError)
        assert refused.reason is Reason.MAILBOX_NOT_FOUND
        assert isinstance(first, FlagEdited)
        assert isinstance(last, FlagEdited)
        assert list(shared.flags) == [FLAGGED, FLAGGED, 0]
        await client.ok("LOGOUT")


async def test_one_who_gives_up_does_not_take_the_others_of_the_call_along() -> None:
    async with local_imap([MESSAGE % number for number in range(3)]) as running:
        shared, flags = await _mailbox(running), running.service.flags
        first, gone, last = [flags.edit(shared, uid, FlagOperation.ADD, FLAGGED) for uid in (1, 2, 3)]
        gone.cancel()
        assert [(await future).flags for future in (first, last)] == [FLAGGED, FLAGGED]
        assert list(shared.flags) == [FLAGGED] * 3
