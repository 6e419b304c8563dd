"""Several sessions on one mailbox: what each is told, checked against what is true."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.common.domain import INBOX, SYSTEM_FLAGS, AccountId, AppendItem, Quota
from services.common.store import Store
from services.store.backends.memory import open_memory
from services.store.mailstore import MailStore
from tests.support.imap import Client, LocalFeed, RunningImap, StoreBodies, fill, imap_service, rescued
from tests.support.mirror import Mirror, Seen

FLAGS = (b"\\Seen", b"\\Flagged", b"\\Deleted", b"$Work")
MESSAGE = b"Subject: message %d\r\n\r\nText.\r\n"


@asynccontextmanager
async def two_processes(messages: int) -> AsyncIterator[tuple[RunningImap, RunningImap, Store, AccountId]]:
    """Two front ends that share nothing but the store."""
    database, bodies = await open_memory()
    store = MailStore(database, bodies)
    feeds = [LocalFeed(store.hub), LocalFeed(store.hub)]
    try:
        account_id = await fill(store, [MESSAGE % number for number in range(messages)])
        async with (
            imap_service(store, feeds[0], StoreBodies(store)) as first,
            imap_service(store, feeds[1], StoreBodies(store)) as second,
        ):
            yield first, second, store, account_id
    finally:
        for feed in feeds:
            await feed.close()
        await store.close()
        await bodies.close()
        await database.close()


class Player:
    """One session that does things at random and believes what it is told."""

    def __init__(self, client: Client, chance: random.Random) -> None:
        self.client = client
        self.chance = chance
        self.mirror = Mirror()

    async def start(self) -> None:
        """Select and look."""
        self.mirror.take("SELECT", await self.client.ok("SELECT INBOX"))
        if self.mirror.messages:
            await self.say("FETCH 1:* (UID FLAGS)")

    async def say(self, command: str) -> None:
        """Do a command that may be refused only for messages that are gone."""
        lines = await self.client.do(command)
        self.mirror.take(command, lines[:-1])
        assert lines[-1].startswith((b"OK", b"NO [EXPUNGEISSUED]")), (command, lines[-1])

    async def play(self, steps: int) -> None:
        """Some random commands."""
        for _ in range(steps):
            await self.chance.choice(
                (self.noop, self.fetch, self.store, self.store, self.expunge, self.append, self.idle)
            )()
            if self.chance.random() < 0.3:
                await asyncio.sleep(0)

    async def noop(self) -> None:
        await self.say(self.chance.choice(("NOOP", "CHECK", "UID FETCH 1:* (UID FLAGS)")))

    async def fetch(self) -> None:
        if count := len(self.mirror.messages):
            first = self.chance.randint(1, count)
            await self.say(f"FETCH {first}:{self.chance.randint(first, count)} (UID FLAGS)")

    async def store(self) -> None:
        if not (count := len(self.mirror.messages)):
            return
        first = self.chance.randint(1, count)
        last = min(count, first + self.chance.randint(0, 2))
        flag, operation = self.chance.choice(FLAGS), self.chance.choice(("+", "-", ""))
        silent = self.chance.random() < 0.5
        command = f"STORE {first}:{last} {operation}FLAGS{'.SILENT' if silent else ''} ({flag.decode()})"
        if silent:
            # What the client works out comes before what it is told in the answer.
            self.mirror.stored_silently(range(first, last + 1), operation, flag)
        await self.say(command)

    async def expunge(self) -> None:
        if self.chance.random() < 0.4:
            await self.say("EXPUNGE")

    async def append(self) -> None:
        if self.chance.random() < 0.5:
            await self.say("APPEND INBOX {12+}\r\nSubject: x\r\n")

    async def idle(self) -> None:
        tag = self.client.send("IDLE")
        assert (await self.client.line()).startswith(b"+")
        await asyncio.sleep(0)
        self.client.writer.write(b"DONE\r\n")
        self.mirror.take("IDLE", (await self.client.answer(tag))[:-1])


async def _truth(store: Store, account_id: AccountId) -> list[Seen]:
    delta = await store.sync_mailbox(account_id, INBOX)
    names = {bit: name.encode() for bit, name in SYSTEM_FLAGS.items()}
    names |= {1 << 8 + bit: keyword.encode() for bit, keyword in enumerate(delta.status.keywords)}
    rows = zip(delta.changed.uids, delta.changed.flags, strict=True)
    return [Seen(uid, frozenset(name for bit, name in names.items() if flags & bit)) for uid, flags in rows]


async def _settled(services: tuple[RunningImap, ...], store: Store, account_id: AccountId) -> None:
    """Wait until the feeds have brought everything."""
    status = await store.get_mailbox(account_id, INBOX)
    for running in services:
        for _ in range(4000):
            shared = running.service.mailboxes.get(account_id, status.mailbox_id)
            if shared is None or shared.known >= status.modseq:
                break
            await asyncio.sleep(0.005)


@pytest.mark.rfc("9051", "7")
@pytest.mark.rfc("2180", "4.1")
@pytest.mark.parametrize("seed", range(12))
async def test_mirrors_agree_with_the_store(seed: int) -> None:
    chance = random.Random(seed)
    async with two_processes(6) as (first, second, store, account_id):
        players = [Player(await (first, first, second, second)[n].client(), chance) for n in range(4)]
        for player in players:
            await player.start()
        await asyncio.gather(*(player.play(20) for player in players))
        await _settled((first, second), store, account_id)
        truth = await _truth(store, account_id)
        for player in players:
            await player.say("NOOP")
            _compare(player.mirror, truth)


def _compare(mirror: Mirror, truth: list[Seen]) -> None:
    assert len(mirror.messages) == len(truth)
    for seen, true in zip(mirror.messages, truth, strict=True):
        assert seen.uid in (0, true.uid)
        assert seen.flags is None or seen.flags == true.flags


@pytest.mark.rfc("9051", "7.5.1")
async def test_view_is_kept_while_another_process_expunges() -> None:
    async with two_processes(5) as (first, second, _, _):
        reader, other = await first.client(select="INBOX"), await second.client(select="INBOX")
        watcher = await first.client(select="INBOX")
        await reader.ok("FETCH 1:* (FLAGS)")
        await other.ok("STORE 2:3 +FLAGS (\\Deleted)")
        await _until(watcher, b"* 3 FETCH (UID 3 FLAGS (\\Deleted))")
        await rescued(first, 2, 3)
        await other.ok("EXPUNGE")
        await _until(watcher, b"* 2 EXPUNGE")
        fetched = await reader.ok("FETCH 1:4 (UID BODY.PEEK[])")
        for number, response in enumerate(fetched[:4], 1):
            assert response.startswith(b"* %d FETCH (UID %d BODY[]" % (number, number))
            assert b"message %d" % (number - 1) in response
        assert not any(b"EXPUNGE" in response for response in fetched)
        responses = await reader.ok("NOOP")
        assert responses[:2] == [b"* 3 EXPUNGE", b"* 2 EXPUNGE"]
        assert [line.split()[-1] for line in await reader.ok("UID SEARCH ALL")] == [b"5"]


async def _until(client: Client, wanted: bytes) -> None:
    for _ in range(4000):
        if wanted in await client.ok("NOOP"):
            return
        await asyncio.sleep(0.005)
    raise AssertionError(wanted)


@pytest.mark.rfc("9051", "6.4.6")
async def test_silent_store_is_told_to_others_only() -> None:
    async with two_processes(3) as (first, second, _, _):
        here, beside, there = (
            await first.client(select="INBOX"),
            await first.client(select="INBOX"),
            await second.client(select="INBOX"),
        )
        assert await here.ok("STORE 2 +FLAGS.SILENT (\\Flagged)") == []
        assert await here.ok("NOOP") == []
        assert await beside.ok("NOOP") == [b"* 2 FETCH (UID 2 FLAGS (\\Flagged))"]
        await _until(there, b"* 2 FETCH (UID 2 FLAGS (\\Flagged))")


@pytest.mark.rfc("9051", "6.4.6")
async def test_silent_store_tells_what_somebody_else_changed() -> None:
    async with two_processes(2) as (first, second, store, account_id):
        here, there = await first.client(select="INBOX"), await second.client(select="INBOX")
        await there.ok("STORE 1 +FLAGS (\\Answered)")
        told = await here.ok("STORE 1 +FLAGS.SILENT (\\Flagged)")
        await _settled((first, second), store, account_id)
        told += await here.ok("NOOP")
        assert any(b"\\Answered \\Flagged" in line for line in told)


@pytest.mark.rfc("9051", "6.3.13")
async def test_idle_is_told_at_once() -> None:
    async with two_processes(1) as (first, _, store, account_id):
        idler = await first.client(select="INBOX")
        tag = idler.send("IDLE")
        assert await idler.line() == b"+ idling"
        await store.append(account_id, INBOX, [AppendItem(MESSAGE % 9)], Quota(), request_id="x")
        assert await idler.line(1.0) == b"* 2 EXISTS"
        assert await idler.line(1.0) == b"* 2 RECENT"
        idler.writer.write(b"done\r\n")
        assert (await idler.answer(tag))[-1].endswith(b"OK IDLE completed")


async def test_deleted_mailbox_is_empty_to_its_sessions() -> None:
    async with two_processes(1) as (first, second, store, account_id):
        await store.create_mailbox(account_id, "Gone")
        await fill(store, [MESSAGE % 1, MESSAGE % 2], mailbox="Gone")
        here, there = await first.client(select="Gone"), await second.client()
        await there.ok("DELETE Gone")
        await _until(here, b"* 2 EXPUNGE")
        assert await here.ok("FETCH 1:* FLAGS") == []
        assert (await here.do("SELECT Gone"))[-1].startswith(b"NO [NONEXISTENT]")
