"""Input that nobody sends in good faith: answered or closed, in bounded memory, and others are served meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest

from tests.support.peers import Peer, envelope, imap, lmtp, peer, pop
from tests.support.processes import CONTENT, Processes, eventually, processes
from tests.support.running import OTHER

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
ROOM = 24 << 20
FLOOD = 48 << 20
PATIENCE = 30.0
"""Seconds within which somebody else gets an answer; with other work on the machine."""
SERVICES = {"imap": b"* BAD", "pop": b"-ERR", "lmtp": b"500"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes(tmp_path_factory.mktemp("hostile")) as made:
        yield made


@asynccontextmanager
async def others_are_served(running: Processes) -> AsyncIterator[None]:
    """Somebody works with another account all the while."""
    done = asyncio.Event()

    async def work(client: Peer) -> None:
        while not done.is_set():
            await asyncio.wait_for(client.done(b"NOOP"), PATIENCE)
            await asyncio.wait_for(client.done(b'STATUS "INBOX" (MESSAGES)'), PATIENCE)
            await asyncio.sleep(0.01)

    async with imap(running.services.imap, OTHER) as client:
        worker = asyncio.create_task(work(client))
        try:
            yield
        finally:
            done.set()
            await worker


async def flood(client: Peer, piece: bytes, size: int) -> bytes:
    """Send and send until the server has had enough; what it said."""

    async def push() -> None:
        with suppress(ConnectionError):
            for _ in range(size // len(piece)):
                await client.send(piece)

    pushing = asyncio.create_task(push())
    first = await client.line()
    await pushing
    return first


@pytest.mark.parametrize(("name", "answer"), SERVICES.items())
async def test_an_endless_line(running: Processes, name: str, answer: bytes) -> None:
    before = running.memory(name)
    async with others_are_served(running), peer(getattr(running.services, name)) as client:
        await client.line()
        assert (await flood(client, b"x" * 65_536, FLOOD)).startswith(answer)
        assert running.memory(name) - before < ROOM


@pytest.mark.parametrize("name", SERVICES)
async def test_thousands_of_bad_commands_end_the_session(running: Processes, name: str) -> None:
    async with others_are_served(running), peer(getattr(running.services, name)) as client:
        with suppress(ConnectionError):
            await client.send(b"rubbish \xff\xfe\r\n\r\n" * 5000)
        said = await client.rest()
    assert 0 < said.count(b"\r\n") < 100


HUGE = (
    (b"a LOGIN {4294967295}", b"a BAD"),
    (b"a LOGIN {99999999999999999999+}", b"a BAD"),
    (b"a LOGIN {1000}", b"+"),
)


@pytest.mark.parametrize(("command", "answer"), HUGE)
async def test_a_huge_literal_before_login(running: Processes, command: bytes, answer: bytes) -> None:
    async with peer(running.services.imap) as client:
        await client.line()
        await client.send(command, b"\r\n")
        assert (await client.line()).startswith(answer)


APPENDS = (
    (b"a APPEND INBOX {99999999999}", b"a NO [TOOBIG]"),
    (b"a APPEND INBOX ~{99999999999}", b"a NO [TOOBIG]"),
    (b"a SEARCH SUBJECT {99999999}", b"a BAD"),
    (b"a APPEND INBOX {52428801}", b"a NO [TOOBIG]"),
)


@pytest.mark.parametrize(("command", "answer"), APPENDS)
async def test_a_huge_literal_is_refused_and_the_session_stays(
    running: Processes, command: bytes, answer: bytes
) -> None:
    async with imap(running.services.imap) as client:
        await client.send(command, b"\r\n")
        assert (await client.line()).startswith(answer)
        await client.done(b"NOOP")


async def test_a_huge_message_to_lmtp(running: Processes) -> None:
    before = running.memory("lmtp")
    async with lmtp(running.services.lmtp) as client:
        assert (await client.reply(b"MAIL FROM:<a@example.org> SIZE=99999999999")).startswith(b"552 5.3.4")
        await envelope(client)
        assert (await client.reply(b"DATA")).startswith(b"354")
        for _ in range(80):
            await client.send((b"x" * 78 + b"\r\n") * 13_107)
        assert running.memory("lmtp") - before < ROOM + (67 << 20), "what may be kept of one message"
        await client.send(b".\r\n")
        assert (await client.reply()).startswith(b"552 5.3.4")
        assert (await client.reply(b"NOOP")).startswith(b"250")
        await envelope(client)
        await client.send(b"BDAT 99999999999 LAST\r\n")
    await asyncio.to_thread(eventually, lambda: running.memory("lmtp") - before < ROOM)


NESTED = (
    b"SEARCH " + b"(" * 20_000 + b"ALL" + b")" * 20_000,
    b"SEARCH " + b"NOT " * 10_000 + b"ALL",
    b"SEARCH " + b"OR ALL " * 8_000 + b"ALL ALL",
    b"FETCH 1 " + b"(" * 20_000 + b"FLAGS" + b")" * 20_000,
    b"FETCH 1 BODY[" + b"1." * 20_000 + b"1]",
    b"FETCH " + b"1," * 30_000 + b"1 FLAGS",
    b"LIST (" * 10_000,
    b"UID SEARCH RETURN (" + b"MIN " * 10_000 + b") ALL",
    b'LIST "" "' + b"*" * 30_000 + b'"',
    b'LIST "" "' + b"*a" * 15_000 + b'"',
    b"STORE 1 FLAGS (" + b"k " * 20_000 + b"k)",
    b"CREATE " + b"a/" * 20_000 + b"a",
)


@pytest.mark.parametrize("command", NESTED, ids=lambda command: command[:12].decode())
async def test_deep_nesting_and_long_lists(running: Processes, command: bytes) -> None:
    async with others_are_served(running), imap(running.services.imap) as client:
        lines = await client.ask(command)
        assert lines[-1][2:4] in (b"OK", b"NO", b"BA")
        await client.done(b"NOOP")


def parts() -> bytes:
    part = b"--b\r\nContent-Type: text/plain\r\n\r\n%b %%d\r\n" % CONTENT
    head = b"Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    return head + b"".join([part % number for number in range(20_000)]) + b"--b--\r\n"


def levels() -> bytes:
    heads = [b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(5_000)]
    return b"Subject: levels\r\nMIME-Version: 1.0\r\n" + b"".join(heads) + b"\r\n" + CONTENT + b"\r\n"


def messages_in_messages() -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * 5_000 + b"Subject: inner\r\n\r\n" + CONTENT + b"\r\n"


def header() -> bytes:
    lines = [b"X-Line-%d: %b\r\n" % (number, b"h" * 60) for number in range(14_000)]
    return b"Subject: header\r\n" + b"".join(lines) + b"\r\n" + CONTENT + b"\r\n"


def addresses() -> bytes:
    return b"Subject: to\r\nTo: " + b",\r\n ".join([b"a%d@example.org" % n for n in range(50_000)]) + b"\r\n\r\nx\r\n"


def folded() -> bytes:
    return b"Subject: " + b"=?utf-8?q?x?=\r\n " * 60_000 + b"\r\nFrom: " + b"(" * 200_000 + b"\r\n\r\nx\r\n"


def parameters() -> bytes:
    values = b"".join([b";\r\n a*%d=%b" % (n, b"v" * 20) for n in range(20_000)])
    return b"Content-Type: text/plain" + values + b"\r\n\r\nx\r\n"


MONSTERS: tuple[Callable[[], bytes], ...] = (
    parts, levels, messages_in_messages, header, addresses, folded, parameters,
)  # fmt: skip


@pytest.mark.parametrize("make", MONSTERS, ids=lambda make: make.__name__)
async def test_monstrous_messages_are_kept_and_read(running: Processes, make: Callable[[], bytes]) -> None:
    body = make()
    async with others_are_served(running), imap(running.services.imap) as client:
        await client.send(b"a APPEND INBOX {%d+}\r\n" % len(body), body, b"\r\n")
        assert (await client.response())[-1].startswith(b"a OK")
        lines = await client.done(
            b"FETCH * (ENVELOPE BODYSTRUCTURE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (TO X-LINE-9)])"
        )
        assert b"RFC822.SIZE %d" % len(body) in b"".join(lines)
        await client.done(b"FETCH * (BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[19999] BINARY.SIZE[1])")
        await client.done(b"SEARCH OR BODY nowhere HEADER X-Line-13999 hh")
        assert body in await client.done(b"FETCH * BODY.PEEK[]")
        async with pop_of(running) as drop:
            number = (await drop.reply(b"STAT")).split()[1]
            assert (await drop.reply(b"TOP %b 3" % number)).startswith(b"+OK")
        await client.done(b"STORE 1:* +FLAGS.SILENT (\\Deleted)")
        await client.done(b"EXPUNGE")


def pop_of(running: Processes) -> AbstractAsyncContextManager[Peer]:
    return pop(running.services.pop)
