"""SIGTERM: not ready, nobody new, running commands finish, goodbyes spread over the window, an end in time with code 0.

All services are asked at once, each with clients of every kind.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from tests.support.peers import Peer, envelope, imap, lmtp, peer, pop
from tests.support.processes import CONTENT, Processes, eventually, processes
from tests.support.running import OTHER

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
WINDOW = 4.0
LATE = 10.0
"""What an end may take beyond the window, on a machine with other work."""
BODY = b"Subject: large\r\n\r\n" + CONTENT + b"\r\n" + (b"z" * 78 + b"\r\n") * 50_000


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Processes]:
    seconds = str(int(WINDOW))
    names = ("IMAP", "POP", "LMTP", "STORE")
    with processes(tmp_path, **{f"{name}_DRAINSECONDS": seconds for name in names}) as made:
        yield made


async def ended(running: Processes, name: str, started: float) -> float:
    """Wait for the end; seconds that it took."""
    assert await asyncio.to_thread(running.ended, name, WINDOW + 10) == 0
    return time.monotonic() - started


async def bye(client: Peer) -> tuple[float, bytes]:
    """When the goodbye came, and what it was."""
    line = await client.line()
    return time.monotonic(), line


async def refused(port: int) -> bool:
    """Whether nobody listens any more."""
    with suppress(ConnectionRefusedError):
        async with peer(port):
            return False
    return True


async def test_idle_clients_are_let_go_one_by_one(running: Processes) -> None:
    port = running.services.imap
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(imap(port, mailbox=b"INBOX")) for _ in range(8)]
        for client in clients[::2]:
            await client.send(b"a IDLE\r\n")
            assert (await client.line()).startswith(b"+")
        started = time.monotonic()
        running.send("imap", signal.SIGTERM)
        leaving = [asyncio.create_task(bye(client)) for client in clients]
        await asyncio.to_thread(eventually, lambda: running.page("imap", "/readyz") == (503, "draining: not ready\n"))
        assert running.page("imap", "/healthz")[0] == 200
        assert await refused(port)
        said = sorted(await asyncio.gather(*leaving))
        assert all(line.startswith(b"* BYE [UNAVAILABLE]") for _, line in said)
        assert said[-1][0] - said[0][0] > WINDOW / 4, "one by one"
        assert await ended(running, "imap", started) < WINDOW + LATE


async def test_running_commands_finish(running: Processes) -> None:
    ports = running.services
    async with imap(ports.imap) as mail, pop(ports.pop, OTHER) as drop, lmtp(ports.lmtp) as agent:
        await envelope(agent)
        assert (await agent.reply(b"DATA")).startswith(b"354")
        await mail.send(b"a APPEND INBOX {%d+}\r\n" % len(BODY), BODY[:1000])
        running.send("store", signal.SIGSTOP)
        await drop.send(b"QUIT\r\n")
        await mail.send(BODY[1000:], b"\r\n")
        await agent.send(b"Subject: late\r\n\r\n", CONTENT)
        await asyncio.sleep(0.3)
        started = time.monotonic()
        for name in ("imap", "pop", "lmtp"):
            running.send(name, signal.SIGTERM)
        await asyncio.sleep(0.3)
        await agent.send(b"\r\n.\r\n")
        running.send("store", signal.SIGCONT)
        assert (await mail.response())[-1].startswith(b"a OK")
        assert (await mail.line()).startswith(b"* BYE")
        assert (await drop.reply()).startswith(b"+OK")
        assert (await agent.reply()).startswith(b"250")
        assert (await agent.reply()).startswith(b"421 4.3.2")
        for name in ("imap", "pop", "lmtp"):
            assert await ended(running, name, started) < WINDOW + LATE


async def test_nobody_can_hold_it_up(running: Processes) -> None:
    """Clients that do not read, or stop in the middle of a message or a line; commands that wait for the store."""
    ports = running.services
    async with imap(ports.imap) as mail:
        await mail.send(b"a APPEND INBOX {%d+}\r\n" % len(BODY), BODY, b"\r\n")
        assert (await mail.response())[-1].startswith(b"a OK")
    async with AsyncExitStack() as stack:
        await stuck(stack, running)
        waiting = await stack.enter_async_context(imap(ports.imap, OTHER))
        running.kill("store")
        await waiting.send(b"a STATUS INBOX (MESSAGES)\r\n")
        await asyncio.sleep(0.2)
        started = time.monotonic()
        for name in ("imap", "pop", "lmtp"):
            running.send(name, signal.SIGTERM)
        for name in ("imap", "pop", "lmtp"):
            assert await ended(running, name, started) < WINDOW + LATE


async def stuck(stack: AsyncExitStack, running: Processes) -> None:
    ports = running.services
    slow = await stack.enter_async_context(imap(ports.imap))
    slow.reader._limit = 1024  # type: ignore[attr-defined]
    await slow.send(b"a FETCH 1 BODY.PEEK[]\r\n" * 50)
    slow = await stack.enter_async_context(pop(ports.pop))
    slow.reader._limit = 1024  # type: ignore[attr-defined]
    await slow.send(b"RETR 1\r\n" * 50)
    half = await stack.enter_async_context(imap(ports.imap))
    await half.send(b"a APPEND INBOX {1000000+}\r\nhalf")
    half = await stack.enter_async_context(imap(ports.imap))
    await half.send(b"a NO")
    half = await stack.enter_async_context(lmtp(ports.lmtp))
    await envelope(half)
    await half.send(b"DATA\r\nhalf")


async def test_the_store_ends_in_time_with_front_ends_attached(running: Processes) -> None:
    async with imap(running.services.imap) as mail:
        await mail.send(b"a IDLE\r\n")
        await mail.line()
        started = time.monotonic()
        running.send("store", signal.SIGTERM)
        assert await ended(running, "store", started) < WINDOW + LATE
        await asyncio.to_thread(eventually, lambda: running.page("imap", "/readyz")[0] == 503)
        await asyncio.to_thread(running.start, "store")
        await asyncio.to_thread(running.await_ready, "imap")
        await mail.send(b"DONE\r\n")
        assert (await mail.response())[-1].startswith(b"a OK")
        await mail.done(b"STATUS INBOX (MESSAGES)")
