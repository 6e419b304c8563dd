"""Searches wait for one another, and nobody else for them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from services.common.domain import TextField, TextKey
from services.store.backends.sqlite import READERS
from services.store.embedded import EmbeddedStore
from services.store.mailstore import MailStore, search
from services.store.mailstore.search import AT_ONCE
from tests.support.stores import OPTIONS


async def test_long_searches_leave_a_thread_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert AT_ONCE < READERS
    real, go_on, begun = search._find, threading.Event(), threading.Semaphore(0)

    async def slow(tx: object, index: object, asked: object) -> object:
        begun.release()
        go_on.wait(10)
        return await real(tx, index, asked)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "_find", slow)
    engine = await EmbeddedStore.open(str(tmp_path), OPTIONS)
    store = MailStore(engine.database, engine.bodies, OPTIONS)
    account = await store.open_account("a@example.org")
    inbox = await store.get_mailbox(account.account_id, "INBOX")
    key = TextKey(TextField.BODY, "word")
    searches = [
        asyncio.create_task(store.search_text(account.account_id, inbox.mailbox_id, [key])) for _ in range(READERS + 2)
    ]
    for _ in range(AT_ONCE):
        await asyncio.to_thread(begun.acquire)
    try:
        async with asyncio.timeout(30):
            assert await store.list_mailboxes(account.account_id)
        assert not any(task.done() for task in searches)
    finally:
        go_on.set()
    assert [list(found) for (found,) in await asyncio.gather(*searches)] == [[]] * len(searches)
    await store.close()
    await engine.close()
