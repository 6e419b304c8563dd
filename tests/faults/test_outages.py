"""The store stands still or is gone: sessions stay, commands wait for it and then say so, and all goes on after it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.peers import Peer, deliver, imap, lmtp, peer, pop, pop_login
from tests.support.processes import CONTENT, Processes, eventually, processes
from tests.support.running import OTHER

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
MESSAGE = b"Subject: hello\r\n\r\n" + CONTENT
WAIT = 2.0
SOON = 10.0
"""A second, on a machine with other work; nothing polls as often."""
NOTICED = 40.0
"""Seconds after which a connection that does not answer pings is given up, and some."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes(tmp_path_factory.mktemp("outages"), STORE_STOREWAIT="2") as made:
        yield made


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Services that wait for a store for as long as it takes to start on a machine with other work."""
    with processes(tmp_path_factory.mktemp("patient"), STORE_STOREWAIT="60") as made:
        yield made


@pytest.fixture(autouse=True)
def store_is_there(running: Processes) -> Iterator[None]:
    """Whatever a test did to it, and however it ended."""
    yield
    running.revive("store")
    for name in ("store", "imap", "pop", "lmtp"):
        running.await_ready(name)


async def restart(running: Processes) -> None:
    """The store, and that the others have found it."""
    await asyncio.to_thread(running.start, "store")
    for name in ("imap", "pop", "lmtp"):
        await asyncio.to_thread(running.await_ready, name)


async def test_commands_say_so_and_sessions_stay(running: Processes) -> None:
    ports = running.services
    async with imap(ports.imap) as mail, pop(ports.pop, OTHER) as drop, lmtp(ports.lmtp) as agent:
        running.kill("store")
        await asyncio.to_thread(eventually, lambda: running.page("imap", "/readyz")[0] == 503)
        assert running.page("imap", "/healthz")[0] == 200
        started = time.monotonic()
        listed, delivered, left = await asyncio.gather(
            mail.ask(b'STATUS "INBOX" (MESSAGES)'), deliver(agent, MESSAGE), another_login(ports.pop)
        )
        assert time.monotonic() - started >= WAIT / 2
        assert listed[-1].startswith(b"a NO [UNAVAILABLE]")
        assert delivered.startswith(b"451 4.3.0")
        assert left.startswith(b"-ERR [SYS/TEMP]")
        for service, command in (("imap", "STATUS"), ("lmtp", "DATA"), ("pop", "PASS")):
            labels = f'{{command="{command}",result="error",service="{service}"}}'
            counted = await asyncio.to_thread(running.metric, service, f"mailkeep_command_seconds_count{labels}")
            assert counted == 1, f"an outage is no refusal: {service}"
        assert (await mail.done(b"NOOP"))[-1].startswith(b"a OK")
        assert (await drop.reply(b"STAT")).startswith(b"+OK")

        await restart(running)
        assert (await deliver(agent, MESSAGE)).startswith(b"250")
        await hears(mail, b" EXISTS")
        assert (await drop.reply(b"QUIT")).startswith(b"+OK")


async def hears(client: Peer, what: bytes) -> None:
    """Wait until a NOOP tells it: the feed looks for the store once a second."""
    async with asyncio.timeout(30.0):
        while not any(what in line for line in await client.done(b"NOOP")):  # noqa: ASYNC110 - a NOOP is how to ask
            await asyncio.sleep(0.05)


async def another_login(port: int) -> bytes:
    async with peer(port) as client:
        await client.reply()
        return await pop_login(client)


async def test_a_command_waits_for_a_store_that_comes_back(patient: Processes) -> None:
    running = patient
    async with imap(running.services.imap) as mail:
        running.send("store", signal.SIGSTOP)
        asking = asyncio.create_task(mail.ask(b'STATUS "INBOX" (MESSAGES)'))
        await asyncio.sleep(1.0)
        assert not asking.done()
        running.send("store", signal.SIGCONT)
        assert (await asking)[-1].startswith(b"a OK")
        asking = asyncio.create_task(mail.ask(b"CREATE while-it-was-away"))
        running.kill("store")
        running.spawn("store")
        assert (await asking)[-1].startswith(b"a OK")


async def test_a_store_that_stands_still_is_given_up(running: Processes) -> None:
    ports = running.services
    async with imap(ports.imap) as mail, lmtp(ports.lmtp) as agent:
        running.send("store", signal.SIGSTOP)
        started = time.monotonic()
        found, delivered, opened = await asyncio.gather(
            mail.ask(b'STATUS "INBOX" (MESSAGES)'), deliver(agent, MESSAGE), another_login(ports.pop)
        )
        assert time.monotonic() - started < NOTICED
        running.send("store", signal.SIGCONT)
        assert found[-1].startswith(b"a NO [UNAVAILABLE]")
        assert delivered.startswith(b"451 4.3.0")
        assert opened.startswith(b"-ERR [SYS/TEMP]")
        await asyncio.to_thread(running.await_ready, "imap")
        await mail.done(b'STATUS "INBOX" (MESSAGES)')


async def test_idle_hears_of_what_came_after_an_outage(running: Processes) -> None:
    ports = running.services
    async with imap(ports.imap) as mail, lmtp(ports.lmtp) as agent:
        await mail.send(b"a IDLE\r\n")
        assert (await mail.line()).startswith(b"+")
        running.kill("store")
        await restart(running)
        assert (await deliver(agent, MESSAGE)).startswith(b"250")
        assert b" EXISTS" in await mail.line()
        await mail.send(b"DONE\r\n")
        assert (await mail.response())[-1].startswith(b"a OK")


async def test_idle_hears_of_other_processes_at_once(running: Processes) -> None:
    ports = running.services
    async with imap(ports.imap) as mail, lmtp(ports.lmtp) as agent:
        await mail.send(b"a IDLE\r\n")
        assert (await mail.line()).startswith(b"+")
        for _ in range(3):
            assert (await deliver(agent, MESSAGE)).startswith(b"250")
            assert b" EXISTS" in await mail.line(SOON)
            assert b" RECENT" in await mail.line(SOON)
        async with pop(ports.pop) as drop:
            assert (await drop.reply(b"DELE 1")).startswith(b"+OK")
            assert (await drop.reply(b"QUIT")).startswith(b"+OK")
        assert await mail.line(SOON) == b"* 1 EXPUNGE\r\n"
