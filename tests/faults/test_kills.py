"""`kill -9` of the store and of front ends under load, again and again: nothing acknowledged is lost or doubled.

MAILKEEP_KILLS sets how many rounds; each kills the store once and a front end once, at random moments: most of them
while messages come in, the others while it starts and finds its way back.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.support.processes import Processes
from tests.support.running import PASSWORD, USER, RunningServices

KILLS = int(os.environ.get("MAILKEEP_KILLS", "50"))
SERVICES = ("store", "lmtp", "imap")
SENDERS = 4
LOADED = 0.8
"""Share of the kills that wait for load."""

pytestmark = [pytest.mark.faults, pytest.mark.timeout(60 + KILLS * 12)]


class Ledger:
    """What was sent, and what of it was acknowledged."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = 0
        self.acknowledged: Counter[bytes] = Counter()
        self.sent: set[bytes] = set()
        self._news = asyncio.Event()

    def message(self) -> bytes:
        self._count += 1
        filling = self._random.randbytes(self._random.randint(10, 20_000)).hex().encode()
        lines = b"\r\n".join(filling[n : n + 76] for n in range(0, len(filling), 76))
        body = b"Subject: message %d\r\n\r\n%b\r\n" % (self._count, lines)
        self.sent.add(digest(body))
        return body

    def acknowledge(self, body: bytes) -> None:
        self.acknowledged[digest(body)] += 1
        self._news.set()

    async def grows(self) -> None:
        """Wait until something is acknowledged."""
        self._news.clear()
        await asyncio.wait_for(self._news.wait(), 40)


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


async def answer(reader: asyncio.StreamReader) -> bytes:
    line = await asyncio.wait_for(reader.readline(), 45)
    if not line:
        raise ConnectionError("closed")
    return line


async def deliver(services: RunningServices, ledger: Ledger, stop: asyncio.Event) -> None:
    """LMTP deliveries, one connection after another as they are cut."""
    while not stop.is_set():
        with contextlib.suppress(OSError, ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", services.lmtp)
            with contextlib.closing(writer):
                await answer(reader)
                writer.write(b"LHLO test\r\n")
                while (await answer(reader))[3:4] == b"-":
                    pass
                while not stop.is_set():
                    await deliver_one(reader, writer, ledger)
        await asyncio.sleep(0.02)


async def deliver_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ledger: Ledger) -> None:
    body = ledger.message()
    writer.write(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<%b>\r\nDATA\r\n" % USER.encode())
    replies = [await answer(reader) for _ in range(3)]
    if not replies[2].startswith(b"354"):
        writer.write(b"RSET\r\n")
        await answer(reader)
        await asyncio.sleep(0.05)
        return
    writer.write(body + b".\r\n")
    if (await answer(reader)).startswith(b"250"):
        ledger.acknowledge(body)


async def append(services: RunningServices, ledger: Ledger, stop: asyncio.Event) -> None:
    """IMAP APPENDs, one connection after another as they are cut."""
    while not stop.is_set():
        with contextlib.suppress(OSError, ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", services.imap)
            with contextlib.closing(writer):
                await answer(reader)
                writer.write(f'a LOGIN {USER} "{PASSWORD}"\r\n'.encode())
                if b"a OK" in await tagged(reader):
                    while not stop.is_set():
                        await append_one(reader, writer, ledger)
        await asyncio.sleep(0.02)


async def append_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ledger: Ledger) -> None:
    body = ledger.message()
    writer.write(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(body), body))
    if b"a OK" in await tagged(reader):
        ledger.acknowledge(body)


async def tagged(reader: asyncio.StreamReader) -> bytes:
    while True:
        line = await answer(reader)
        if line.startswith(b"a "):
            return line
        if line.startswith(b"* BYE"):
            raise ConnectionError("BYE")


async def stored(services: RunningServices) -> list[bytes]:
    """Digest of each message of INBOX, without the lines that LMTP put before it, in UID order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", services.imap, limit=1 << 20)
    await answer(reader)
    writer.write(f'a LOGIN {USER} "{PASSWORD}"\r\n'.encode())
    assert b"a OK" in await tagged(reader)
    writer.write(b"a SELECT INBOX\r\n")
    assert b"a OK" in await tagged(reader)
    writer.write(b"a UID FETCH 1:* (UID BODY.PEEK[])\r\n")
    found, uids = [], []
    while not (line := await answer(reader)).startswith(b"a "):
        if line.endswith(b"}\r\n"):
            uids.append(int(line.split(b"UID ")[1].split()[0]))
            literal = await reader.readexactly(int(line[line.rindex(b"{") + 1 : -3]))
            found.append(digest(literal[literal.index(b"Subject: message ") :]))
            await answer(reader)
    writer.close()
    assert uids == sorted(set(uids)), "UIDs rise and are never used twice"
    return found


async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown where the test fails
    chance = random.Random(seed)
    processes = Processes(tmp_path / "data")
    services = processes.services
    try:
        processes.start(*SERVICES)
        ledger, stop = Ledger(seed), asyncio.Event()
        senders = [deliver(services, ledger, stop) for _ in range(SENDERS)]
        load = [
            asyncio.create_task(each) for each in [*senders, *(append(services, ledger, stop) for _ in range(SENDERS))]
        ]
        loaded = sum([await kill(processes, SERVICES[1 + number % 2], ledger, chance) for number in range(KILLS)])
        await ledger.grows()
        stop.set()
        await asyncio.wait_for(asyncio.gather(*load), 60)
        print("kills", KILLS, "under load", loaded, "acknowledged", sum(ledger.acknowledged.values()))  # noqa: T201
        for name in SERVICES:
            processes.await_ready(name)
        await verify(services, ledger)
        assert not [fault for name in SERVICES for fault in processes.faults(name)]
    finally:
        processes.stop()


async def kill(processes: Processes, front_end: str, ledger: Ledger, chance: random.Random) -> bool:
    """One round; whether messages were coming in when the store was killed."""
    loaded = chance.random() < LOADED
    if loaded:
        await ledger.grows()
    await asyncio.sleep(chance.uniform(0.0, 0.3 if loaded else 1.0))
    processes.kill("store")
    processes.spawn("store")
    await asyncio.sleep(chance.uniform(0.0, 0.5))
    processes.kill(front_end)
    processes.spawn(front_end)
    return loaded


async def verify(services: RunningServices, ledger: Ledger) -> None:
    found = Counter(await stored(services))
    assert sum(ledger.acknowledged.values()) > KILLS * 10, "the load was real"
    assert not ledger.acknowledged - found, "acknowledged, and not there"
    assert set(found) <= ledger.sent, "something that nobody sent"
    assert max(found.values()) == 1, "something twice"
    report = services.command("store", "check", "--json").stdout
    assert '"findings": []' in report, report
