"""What the store does by itself: texts are made, leavings cleared, across restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.common.domain import AppendItem, Recipient, TextField, TextKey
from services.common.mime.text import SearchText, search_text
from services.store.backends import Database, Transaction
from services.store.embedded import EmbeddedStore
from services.store.mailstore import MailStore, indexing, reaping
from services.store.mailstore import store as store_module
from services.store.mailstore.store import RECIPIENTS_AT_ONCE
from tests.support.stores import FREE, OPTIONS, mail, request


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[MailStore, Database]]:
    """A store with its background work under way."""
    engine = await EmbeddedStore.open(str(folder), OPTIONS)
    store = MailStore(engine.database, engine.bodies, OPTIONS)
    store.start()
    try:
        yield store, engine.database
    finally:
        await store.close()
        await engine.close()


async def rows_come_to(database: Database, table: str, count: int) -> None:
    """Wait until a table has so many rows."""

    async def rule(tx: Transaction) -> object:
        return (await tx.fetch(f"SELECT count(*) FROM {table}"))[0][0]

    for _ in range(4000):
        if await database.read(rule) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{table} never came to {count} rows")


async def test_texts_are_made_and_dropped(tmp_path: Path) -> None:
    async with running(tmp_path) as (store, database):
        await store.deliver([Recipient("a@example.org")] * 3, mail(), request_id=request())
        await rows_come_to(database, "text_queue", 0)
        await rows_come_to(database, "texts", 3)
        await store.delete_account("a@example.org")
        for table in ("texts", "text_queue", "contents", "messages", "requests"):
            await rows_come_to(database, table, 0)


async def test_what_was_left_undone_is_done_after_a_restart(tmp_path: Path) -> None:
    engine = await EmbeddedStore.open(str(tmp_path), OPTIONS)
    store = MailStore(engine.database, engine.bodies, OPTIONS)
    account = await store.open_account("a@example.org")
    await store.create_mailbox(account.account_id, "Old")
    items = [AppendItem(mail())] * 2
    await store.append(account.account_id, "Old", items, FREE, request_id=request())
    await store.append(account.account_id, "INBOX", items, FREE, request_id=request())
    await store.delete_mailbox(account.account_id, "Old")
    await store.close()
    await engine.close()
    async with running(tmp_path) as (_, database):
        await rows_come_to(database, "messages", 2)
        await rows_come_to(database, "contents", 2)
        await rows_come_to(database, "text_queue", 0)
        await rows_come_to(database, "texts", 2)


async def test_work_that_fails_oddly_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: set[str] = set()

    def failing_once(module: object, name: str) -> None:
        real = getattr(module, name)

        async def rule(*arguments: object) -> object:
            if name not in failures:
                failures.add(name)
                raise OverflowError
            return await real(*arguments)

        monkeypatch.setattr(module, name, rule)

    failing_once(indexing, "_keep")
    failing_once(reaping, "clear")
    monkeypatch.setattr(indexing, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(store_module, "SWEEP_SECONDS", 0.01)
    async with running(tmp_path) as (store, database):
        await store.deliver([Recipient("a@example.org")], mail(), request_id=request())
        await rows_come_to(database, "texts", 1)
        await store.delete_account("a@example.org")
        await rows_come_to(database, "messages", 0)
    assert failures == {"_keep", "clear"}


async def test_of_a_large_delivery_that_fails_half_way_each_recipient_hears_the_truth(tmp_path: Path) -> None:
    engine = await EmbeddedStore.open(str(tmp_path), OPTIONS)
    store = MailStore(engine.database, engine.bodies, OPTIONS)
    recipients = [Recipient(f"user{number}@example.org") for number in range(RECIPIENTS_AT_ONCE + 2)]
    last = await store.open_account(recipients[-1].account)

    async def bar(tx: Transaction) -> None:
        await tx.execute(
            "CREATE TRIGGER bar BEFORE INSERT ON messages"
            f" WHEN NEW.account_id = {int(last.account_id)} BEGIN SELECT RAISE(ABORT, 'no'); END"
        )

    await engine.database.write(bar)
    results = await store.deliver(recipients, mail(), request_id=request())
    assert [each.reason for each in results] == [""] * RECIPIENTS_AT_ONCE + ["INTERNAL"] * 2
    assert (await store.open_account(recipients[0].account)).used_messages == 1
    await store.close()
    await engine.close()


async def test_an_account_that_is_damaged_keeps_no_others_from_their_mail(tmp_path: Path) -> None:
    engine = await EmbeddedStore.open(str(tmp_path), OPTIONS)
    store = MailStore(engine.database, engine.bodies, OPTIONS)
    recipients = [Recipient(f"user{number}@example.org") for number in range(3)]
    damaged = (await store.open_account(recipients[1].account)).account_id
    await engine.database.write(lambda tx: tx.execute("DELETE FROM mailboxes WHERE account_id = $1", damaged))
    results = await store.deliver(recipients, mail(), request_id=request())
    assert [each.reason for each in results] == ["", "STORAGE_CORRUPT", ""]
    await store.close()
    await engine.close()


async def test_a_message_that_trips_the_reader_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tripping(body: bytes) -> SearchText:
        if b"Subject: trap" in body:
            raise ValueError
        return search_text(body)

    monkeypatch.setattr(indexing, "search_text", tripping)
    async with running(tmp_path) as (store, database):
        for subject in ("trap", "other"):
            [result] = await store.deliver([Recipient("a@example.org")], mail(subject), request_id=request())
        await rows_come_to(database, "texts", 1)
        account = await store.open_account("a@example.org")
        keys = [TextKey(TextField.TEXT, "some text")]
        [answer] = await store.search_text(account.account_id, result.mailbox_id, keys)
        assert list(answer) == [2]


class Noted(indexing.Indexer):
    """Notes that it came to work; there is nothing to do."""

    def __init__(self, rested: Callable[[], float]) -> None:
        unused: Any = None
        super().__init__(unused, unused, unused, rested)
        self.came = asyncio.Event()

    async def step(self) -> bool:
        self.came.set()
        return False


async def test_texts_wait_for_a_quiet_moment_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "QUIET_SECONDS", 0.001)
    rested = 0.0
    indexer = Noted(lambda: rested)
    task = asyncio.create_task(indexer.run())
    await asyncio.sleep(0.02)
    assert not indexer.came.is_set()
    rested = 1.0
    await asyncio.wait_for(indexer.came.wait(), 10)
    rested = 0.0
    monkeypatch.setattr(indexing, "PATIENCE_SECONDS", 0.01)
    indexer.came.clear()
    indexer.poke()
    await asyncio.wait_for(indexer.came.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
