"""Clients and processes that go without a word: nothing half is stored, and what they held is free at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.peers import Peer, envelope, imap, lmtp, peer, pop, pop_login
from tests.support.processes import CONTENT, Processes, eventually, processes
from tests.support.running import USER

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
SIZE = 24 << 20
HALF = SIZE // 2
KEPT = 8 << 20
"""What may be left of HALF in the allocator."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes(tmp_path_factory.mktemp("cut")) as made:
        yield made


async def sessions_end(running: Processes, name: str) -> None:
    sample = f'mailkeep_sessions{{service="{name}"}}'
    await asyncio.to_thread(eventually, lambda: running.metric(name, sample) == 0)


async def messages(running: Processes) -> bytes:
    async with imap(running.services.imap, mailbox=b"") as client:
        return (await client.done(b'STATUS "INBOX" (MESSAGES)'))[0]


async def begin_append(client: Peer) -> None:
    await client.send(b"a APPEND INBOX {%d+}\r\nSubject: half\r\n\r\n%b" % (SIZE, CONTENT), b"x" * HALF)


async def test_half_an_append_is_none(running: Processes) -> None:
    assert b"MESSAGES 0" in await messages(running)
    await sessions_end(running, "imap")
    before = running.memory("imap")
    for _ in range(3):
        async with imap(running.services.imap) as client:
            await begin_append(client)
            client.cut()
        await sessions_end(running, "imap")
    assert running.memory("imap") - before < HALF + KEPT, "three halves would be 36 MiB"
    assert b"MESSAGES 0" in await messages(running)


async def test_memory_for_appends_is_given_back(running: Processes) -> None:
    """More halves, one after another, than `imap.inflightbytes` has room for at once."""
    for _ in range(12):
        async with imap(running.services.imap) as client:
            await client.send(b"a APPEND INBOX {%d}\r\n" % SIZE)
            assert (await client.line()).startswith(b"+")
            client.cut()
    async with imap(running.services.imap) as client:
        await client.send(b"a APPEND INBOX {%d}\r\n" % SIZE)
        assert (await client.line()).startswith(b"+")


async def test_half_a_delivery_is_none(running: Processes) -> None:
    before = running.memory("lmtp")
    for command in (b"DATA", b"BDAT %d LAST" % SIZE, b"DATA"):
        async with lmtp(running.services.lmtp) as client:
            await envelope(client)
            await client.send(command, b"\r\n")
            if command == b"DATA":
                assert (await client.reply()).startswith(b"354")
            await client.send(b"Subject: half\r\n\r\n", b"x" * 70 + b"\r\n", (b"y" * 76 + b"\r\n") * (HALF // 78))
            client.cut()
        await sessions_end(running, "lmtp")
    assert running.memory("lmtp") - before < HALF + KEPT, "three halves would be 36 MiB"
    assert b"MESSAGES 0" in await messages(running)


async def opens_again(port: int) -> None:
    """Try until the maildrop opens: long before keepalive would tell that its holder is gone."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while True:
        async with peer(port) as client:
            await client.reply()
            answer = await pop_login(client)
            if answer.startswith(b"+OK"):
                return
            assert answer.startswith(b"-ERR [IN-USE]"), answer
            assert loop.time() - started < 15.0
        await asyncio.sleep(0.02)


async def test_the_maildrop_is_free_when_its_client_is_cut(running: Processes) -> None:
    port = running.services.pop
    async with pop(port) as client:
        async with peer(port) as second:
            await second.reply()
            assert (await pop_login(second)).startswith(b"-ERR [IN-USE]")
        client.cut()
        await opens_again(port)


async def test_the_maildrop_is_free_when_its_process_is_killed(running: Processes) -> None:
    port = running.services.pop
    async with pop(port):
        running.kill("pop")
        await asyncio.to_thread(running.start, "pop")
        await opens_again(port)


async def test_a_killed_front_end_leaves_no_session_behind(running: Processes) -> None:
    async with imap(running.services.imap):
        await asyncio.to_thread(eventually, lambda: USER in running.services.command("who").stdout)
        running.kill("imap")
        await asyncio.to_thread(eventually, lambda: USER not in running.services.command("who").stdout)
        await asyncio.to_thread(running.start, "imap")
