"""A client that asks for much and reads nothing: bounded memory, others are served meanwhile, and it is closed.

One command may run at a time: whoever waits for a client to read holds no slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.peers import Peer, imap, peer, pop, pop_login
from tests.support.processes import CONTENT, Processes, eventually, processes
from tests.support.running import OTHER, PASSWORD, USER

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
MESSAGES = 120
LARGE = 24 << 20
BODY = b"Subject: large\r\n\r\n" + CONTENT + b"\r\n" + (b"z" * 78 + b"\r\n") * 6000
WRITE_SECONDS = 5
ROOM = 16 << 20
"""Above it, answers would be piling up: the mailbox has 80 MiB, and the kernel's buffers are not counted."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    seconds = str(WRITE_SECONDS)
    with processes(
        tmp_path_factory.mktemp("slow"),
        IMAP_WRITETIMEOUT=seconds, POP_WRITETIMEOUT=seconds, IMAP_CACHEBYTES="8388608",
        IMAP_MAXTHREADS="1", POP_MAXTHREADS="1",
    ) as made:  # fmt: skip
        asyncio.run(fill(made))
        yield made


async def fill(running: Processes) -> None:
    async with imap(running.services.imap) as client:
        for _ in range(MESSAGES):
            await client.send(b"a APPEND INBOX {%d+}\r\n" % len(BODY), BODY, b"\r\n")
            assert (await client.response())[-1].startswith(b"a OK")
        large = BODY * (LARGE // len(BODY))
        await client.send(b"a APPEND INBOX {%d+}\r\n" % len(large), large, b"\r\n")
        assert (await client.response())[-1].startswith(b"a OK")


async def stuck(port: int) -> Peer:
    """A connection that reads what it has to, and no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    client = Peer(reader, writer)
    assert await client.line()
    return client


async def gone(running: Processes, name: str) -> None:
    sample = f'mailkeep_sessions{{service="{name}"}}'
    await asyncio.to_thread(eventually, lambda: running.metric(name, sample) == 0, WRITE_SECONDS + 60.0)


COMMANDS = (
    b"FETCH 1:* BODY.PEEK[]",
    b"FETCH %d BODY.PEEK[]" % (MESSAGES + 1),
    b"FETCH 1:* (BODY.PEEK[1] BINARY.PEEK[])",
)


async def test_imap(running: Processes) -> None:
    async with imap(running.services.imap, OTHER):
        pass  # a password's first check takes 19 MiB
    before = running.memory("imap")
    clients = []
    for command in COMMANDS:
        client = await stuck(running.services.imap)
        await client.send(f'a LOGIN {USER} "{PASSWORD}"\r\nb SELECT INBOX\r\n'.encode())
        await client.response()
        await client.response(b"b")
        await client.send(b"c " + command + b"\r\n" + b"d NOOP\r\n" * 20_000)
        clients.append(client)
    highest = 0
    for _ in range(15):
        await asyncio.sleep(0.1)
        highest = max(highest, running.memory("imap") - before)
        async with imap(running.services.imap, OTHER) as other:
            await asyncio.wait_for(other.done(b"NOOP"), 30.0)
    assert highest < ROOM
    await gone(running, "imap")
    for client in clients:
        client.cut()


async def test_pop(running: Processes) -> None:
    async with pop(running.services.pop), pop(running.services.pop, OTHER):
        pass
    before = running.memory("pop")
    client = await stuck(running.services.pop)
    assert (await pop_login(client)).startswith(b"+OK")
    await client.send(b"RETR %d\r\n" % (MESSAGES + 1) + b"".join(b"RETR %d\r\n" % n for n in range(1, MESSAGES)) * 20)
    highest = 0
    for _ in range(15):
        await asyncio.sleep(0.1)
        highest = max(highest, running.memory("pop") - before)
        async with peer(running.services.pop) as other:
            await other.reply()
            assert (await asyncio.wait_for(pop_login(other, OTHER), 30.0)).startswith(b"+OK")
            await other.reply(b"QUIT")
    assert highest < ROOM
    await gone(running, "pop")
    client.cut()
