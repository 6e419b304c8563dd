"""How many may come, who has to wait, and what those are told who may not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress

import pytest

from services.common.tls import write_self_signed
from tests.support.peers import Peer, imap, lmtp, peer, pop, pop_login
from tests.support.processes import CONTENT, Processes, eventually, processes
from tests.support.running import OTHER, PASSWORD, USER

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
SESSIONS = 6
PER_USER = 2
PER_ADDRESS = 4
ELSEWHERE = "127.0.0.2"
DELAY = 6
"""Seconds in which a login and a command of somebody else are done on the slowest machine."""
OPTIONS = {"MAXSESSIONS": SESSIONS, "MAXSESSIONSPERUSER": PER_USER, "MAXSESSIONSPERADDRESS": PER_ADDRESS}
FULL = {"imap": b"* BYE [LIMIT]", "pop": b"-ERR [SYS/TEMP]", "lmtp": b"421 4.7.0"}
WELCOME = {"imap": b"* OK", "pop": b"+OK", "lmtp": b"220"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    data = tmp_path_factory.mktemp("limits")
    write_self_signed(data / "cert.pem", data / "key.pem")
    options = {f"{name}_{option}": str(value) for name in ("IMAP", "POP", "LMTP") for option, value in OPTIONS.items()}
    options |= {"IMAP_MAXTHREADS": "2", "POP_MAXTHREADS": "2", "IMAP_LOGINTIMEOUT": "8", "POP_LOGINTIMEOUT": "8"}
    options |= {"DIRECTORY_FAILDELAY": str(DELAY)}
    with processes(data, TLS_CERTFILE="cert.pem", TLS_KEYFILE="key.pem", **options) as made:
        yield made


async def opened(stack: AsyncExitStack, port: int, source: str = "127.0.0.1") -> tuple[Peer, bytes]:
    """A connection from an address, and the first line it gets."""
    client = await stack.enter_async_context(peer(port, source=source))
    return client, await client.line()


async def nobody(running: Processes, name: str) -> None:
    sample = f'mailkeep_sessions{{service="{name}"}}'
    await asyncio.to_thread(eventually, lambda: running.metric(name, sample) == 0)


@pytest.mark.parametrize("name", FULL)
async def test_sessions_of_an_address_and_of_a_process(running: Processes, name: str) -> None:
    await nobody(running, name)
    port = getattr(running.services, name)
    async with AsyncExitStack() as stack:
        for _ in range(PER_ADDRESS):
            assert (await opened(stack, port))[1].startswith(WELCOME[name])
        client, refusal = await opened(stack, port)
        assert refusal.startswith(FULL[name])
        assert await client.rest() == b""
        for _ in range(SESSIONS - PER_ADDRESS):
            assert (await opened(stack, port, ELSEWHERE))[1].startswith(WELCOME[name])
        client, refusal = await opened(stack, port, ELSEWHERE)
        assert refusal.startswith(FULL[name])
        assert await client.rest() == b""
        for reason in ("address", "process"):
            assert running.metric(name, f'mailkeep_sessions_refused_total{{reason="{reason}",service="{name}"}}') >= 1
    await nobody(running, name)
    async with AsyncExitStack() as stack:
        assert (await opened(stack, port))[1].startswith(WELCOME[name])


async def test_sessions_of_a_user(running: Processes) -> None:
    port = running.services.imap
    async with imap(port), imap(port), peer(port) as third:
        await third.line()
        command = f'LOGIN {USER} "{PASSWORD}"'.encode()
        assert (await third.ask(command))[-1].startswith(b"a NO [LIMIT]")
        assert (await third.ask(f'LOGIN {OTHER} "{PASSWORD}"'.encode()))[-1].startswith(b"a OK")


WAITING = ((b"a IDLE\r\n", b"+"), (b"a APPEND INBOX {1000}\r\n", b"+"), (b"a APPEND INBOX {1000+}\r\nhalf", b""))


@pytest.mark.parametrize(("command", "answer"), WAITING, ids=["idle", "asked for a literal", "half a literal"])
async def test_clients_that_wait_or_are_waited_for_hold_no_slot(
    running: Processes, command: bytes, answer: bytes
) -> None:
    """Two commands may run at once."""
    port = running.services.imap
    await nobody(running, "imap")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(imap(port, user)) for user in (USER, USER, OTHER)]
        for client in clients:
            await client.send(command)
            if answer:
                assert (await client.line()).startswith(answer)
        async with imap(port, OTHER) as other:
            await other.done(b"STATUS INBOX (MESSAGES)")
        assert running.metric("imap", "mailkeep_commands_running") == 0


def test_threads_are_made_on_demand_and_end(running: Processes) -> None:
    """Of maxthreads=2; metrics pages are rendered in them."""

    def made() -> float:
        return running.metric("imap", "mailkeep_threads")

    eventually(lambda: made() == 1, pause=1.5)
    quiet = running.threads("imap")
    with ThreadPoolExecutor(12) as crowd:
        eventually(lambda: max(crowd.map(lambda _: made(), range(24))) == 2)
        assert running.threads("imap") <= quiet + 1
    eventually(lambda: made() == 1 and running.threads("imap") <= quiet, pause=1.5)


async def test_one_maildrop_is_one_client_s(running: Processes) -> None:
    port = running.services.pop
    async with pop(port), peer(port) as second:
        await second.reply()
        assert (await pop_login(second)).startswith(b"-ERR [IN-USE]")
        assert (await pop_login(second, OTHER)).startswith(b"+OK")


async def test_failed_logins_wait_and_hold_nobody_up(running: Processes) -> None:
    """Four clients in their delay, and two commands at once allowed: the fifth is served all the same."""
    port, loop = running.services.imap, asyncio.get_running_loop()

    async def fail() -> float:
        async with peer(port) as client:
            await client.line()
            started = loop.time()
            assert b"a NO [AUTHENTICATIONFAILED]" in (await client.ask(f"LOGIN {USER} {CONTENT.decode()}".encode()))[-1]
            return loop.time() - started

    failing = [asyncio.create_task(fail()) for _ in range(PER_ADDRESS - 1)]
    await asyncio.sleep(0.5)
    async with imap(port) as client:
        await client.done(b"STATUS INBOX (MESSAGES)")
        assert not any(task.done() for task in failing)
    assert min(await asyncio.gather(*failing)) >= DELAY / 2


async def test_a_client_that_does_not_log_in_has_to_go(running: Processes) -> None:
    async with peer(running.services.imap) as mail, peer(running.services.pop) as drop:
        for client in (mail, drop):
            await client.line()
            await client.send(b"a NO", b"OP\r\n")
        said = await asyncio.gather(mail.rest(), drop.rest())
        assert b"* BYE" in said[0]


async def test_handshakes_that_never_end(running: Processes) -> None:
    """On the TLS port and after STARTTLS; they take no session and hold nobody up."""
    before = running.memory("imap")
    silent = [await asyncio.open_connection("127.0.0.1", running.services.imaps) for _ in range(60)]
    try:
        async with peer(running.services.imap) as client:
            await client.line()
            assert (await client.ask(b"STARTTLS"))[-1].startswith(b"a OK")
            async with imap(running.services.imap) as other:
                await other.done(b"NOOP")
            await client.send(b"\x16\x03\x01\xff\xff" + b"\0" * 1000)
            with suppress(ConnectionError):
                await client.rest()
        assert running.memory("imap") - before < 24 << 20
        assert running.metric("imap", 'mailkeep_sessions{service="imap"}') <= 1
    finally:
        for _, writer in silent:
            writer.transport.abort()


async def test_tls_clients_are_capped_too(running: Processes) -> None:
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    await nobody(running, "imap")
    async with AsyncExitStack() as stack:
        for _ in range(PER_ADDRESS):
            client = await stack.enter_async_context(peer(running.services.imaps, tls=context))
            assert (await client.line()).startswith(b"* OK")
        client = await stack.enter_async_context(peer(running.services.imaps, tls=context))
        assert (await client.line()).startswith(FULL["imap"])


async def test_lmtp_clients_from_elsewhere(running: Processes) -> None:
    """`lmtp.allowedclients` is 127.0.0.0/8 unless told otherwise; here a client of it has its say."""
    async with lmtp(running.services.lmtp) as client:
        assert (await client.reply(b"NOOP")).startswith(b"250")
