"""`kill -9` of the store and of front ends under load, again and again: nothing acknowledged is lost or doubled.

MAILKEEP_KILLS sets how many rounds; each kills the store once and a front end once, at random moments.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.running import PASSWORD, USER, RunningServices

KILLS = int(os.environ.get("MAILKEEP_KILLS", "50"))
SERVICES = ("store", "lmtp", "imap")
SENDERS = 4

pytestmark = [pytest.mark.faults, pytest.mark.timeout(60 + KILLS * 12)]


class Processes:
    """The services one by one, each killed and started again at will."""

    def __init__(self, services: RunningServices) -> None:
        self._services = services
        self._log = open(services.data / "services.log", "ab")  # noqa: SIM115 - closed in `stop`
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        self._running[name] = subprocess.Popen(
            [sys.executable, "-m", f"services.{name}"],
            env=self._services.environ, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def kill(self, name: str) -> None:
        process = self._running[name]
        assert process.poll() is None, (
            f"{name} ended by itself:\n{(self._services.data / 'services.log').read_text()[-4000:]}"
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.start(name)

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        self._log.close()


class Ledger:
    """What was sent, and what of it was acknowledged."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = 0
        self.acknowledged: Counter[bytes] = Counter()
        self.sent: set[bytes] = set()

    def message(self) -> bytes:
        self._count += 1
        filling = self._random.randbytes(self._random.randint(10, 20_000)).hex().encode()
        lines = b"\r\n".join(filling[n : n + 76] for n in range(0, len(filling), 76))
        body = b"Subject: message %d\r\n\r\n%b\r\n" % (self._count, lines)
        self.sent.add(digest(body))
        return body


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
        ledger.acknowledged[digest(body)] += 1


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
        ledger.acknowledged[digest(body)] += 1


async def tagged(reader: asyncio.StreamReader) -> bytes:
    while True:
        line = await answer(reader)
        if line.startswith(b"a "):
            return line
        if line.startswith(b"* BYE"):
            raise ConnectionError("BYE")


async def ready(services: RunningServices) -> None:
    """Wait until a delivery and a login could work."""
    for port in (services.lmtp, services.imap):
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                break


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
    services = RunningServices(tmp_path / "data")
    services.data.mkdir()
    services.command("account", "add", USER, "--password-stdin", given=PASSWORD + "\n")
    processes = Processes(services)
    try:
        for name in SERVICES:
            processes.start(name)
        await ready(services)
        ledger, stop = Ledger(seed), asyncio.Event()
        senders = [deliver(services, ledger, stop) for _ in range(SENDERS)]
        load = [
            asyncio.create_task(each) for each in [*senders, *(append(services, ledger, stop) for _ in range(SENDERS))]
        ]
        for number in range(KILLS):
            await asyncio.sleep(chance.uniform(0.2, 1.5))
            processes.kill("store")
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            processes.kill(SERVICES[1 + number % 2])
            assert all(not task.done() for task in load)
        await asyncio.sleep(3)
        stop.set()
        await asyncio.wait_for(asyncio.gather(*load), 60)
        await verify(services, ledger)
    finally:
        processes.stop()


async def verify(services: RunningServices, ledger: Ledger) -> None:
    found = Counter(await stored(services))
    assert sum(ledger.acknowledged.values()) > KILLS, "the load was real"
    assert not ledger.acknowledged - found, "acknowledged, and not there"
    assert set(found) <= ledger.sent, "something that nobody sent"
    assert max(found.values()) == 1, "something twice"
    report = services.command("store", "check", "--json").stdout
    assert '"findings": []' in report, report
