"""LMTP over sockets beyond what a transcript can show: awkward messages, memory, clocks, reloads, cut connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.common.directory import AddressUnknown
from services.common.errors import Reason
from services.common.farewell import Farewell
from services.common.live import Live
from services.common.options import Configuration, LmtpOptions
from services.lmtp import handlers
from services.lmtp.commands import NOBODY, SYNTAX
from services.lmtp.commands import Path as Address
from services.lmtp.frontend import LmtpFrontEnd
from services.lmtp.handlers import COMMANDS
from services.lmtp.recipients import REMEMBERED_SECONDS, Recipients, split_folder
from services.lmtp.replies import FAULTS, OVER_QUOTA, REASONS, Text, for_reason
from tests.support.awkward import Awkward, awkward_messages
from tests.support.lmtp import USER, LmtpService, lmtp_service, messages, people
from tests.support.store import StoreFixture

LHLO = b"LHLO client.example.org\r\n"
ENVELOPE = b"MAIL FROM:<sender@example.org>\r\nRCPT TO:<anna@example.com>\r\n"
PREFIX = b"Return-Path: <sender@example.org>\r\nDelivered-To: anna@example.com\r\n"


async def test_of_several_processes_one_listens_on_the_unix_socket(store: StoreFixture, tmp_path: Path) -> None:
    configuration = Live(Configuration("", lmtp=LmtpOptions(socket=str(tmp_path / "lmtp.sock"), numprocesses=2)))
    fronts = [LmtpFrontEnd(configuration, store.client, people(), worker=worker) for worker in (0, 1)]
    assert [[bool(listener.path) for listener in front.listeners()] for front in fronts] == [[False, True], [False]]


class Client:
    """One connection that has said LHLO."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, service: LmtpService) -> Client:
        client = cls(*await service.connect())
        await client.line()
        await client.say(LHLO)
        await client.until(b"250 ")
        return client

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), 30)

    async def until(self, start: bytes) -> bytes:
        while not (line := await self.line()).startswith(start):
            assert line, "the server closed"
        return line

    async def deliver(self, body: bytes) -> bytes:
        """By DATA."""
        await self.say(ENVELOPE + b"DATA\r\n")
        await self.until(b"354")
        await self.say((b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
        return await self.line()

    async def deliver_chunks(self, body: bytes, size: int = 100_000) -> bytes:
        """By BDAT."""
        await self.say(ENVELOPE.replace(b"g>", b"g> BODY=BINARYMIME", 1))
        await self.until(b"250 2.1.5")
        for start in range(0, len(body), size):
            chunk = body[start : start + size]
            await self.say(b"BDAT %d\r\n" % len(chunk) + chunk)
            assert await self.line() == Text.CHUNK.value
        await self.say(b"BDAT 0 LAST\r\n")
        return await self.line()


@pytest.fixture
async def store() -> AsyncIterator[StoreFixture]:
    async with StoreFixture(role="lmtp") as fixture:
        yield fixture


@pytest.fixture
async def service(store: StoreFixture) -> AsyncIterator[LmtpService]:
    async with lmtp_service(store.client) as running:
        yield running


def small(kind: Awkward) -> bool:
    return len(kind.body) < 300_000


AWKWARD = [kind for kind in awkward_messages(420) if small(kind)]


@pytest.mark.parametrize("start", range(0, len(AWKWARD), 60))
async def test_awkward_messages_come_out_as_they_went_in(store: StoreFixture, service: LmtpService, start: int) -> None:
    """By DATA where it can carry them, else by BDAT."""
    client = await Client.open(service)
    bodies = [(kind.body, kind.ends_with_crlf and not kind.has_nul) for kind in AWKWARD[start : start + 60]]
    for body, by_data in bodies:
        reply = await (client.deliver(body) if by_data else client.deliver_chunks(body))
        assert reply == Text.DELIVERED.value
    assert await messages(store.store, USER) == [PREFIX + body for body, _ in bodies]


async def test_twenty_megabytes(store: StoreFixture, service: LmtpService) -> None:
    (large,) = [kind.body for kind in awkward_messages(420) if kind.name == "20 MB"]
    client = await Client.open(service)
    assert await client.deliver(large) == Text.DELIVERED.value
    assert await client.deliver_chunks(large, 1_000_000) == Text.DELIVERED.value
    assert [len(body) for body in await messages(store.store, USER)] == [len(PREFIX) + len(large)] * 2


async def test_one_body_for_all_recipients(store: StoreFixture, service: LmtpService) -> None:
    client = await Client.open(service)
    count = 200
    recipients = b"".join(b"RCPT TO:<anna+%d@example.com>\r\n" % number for number in range(count))
    await client.say(b"MAIL FROM:<>\r\n" + recipients + b"DATA\r\n")
    await client.until(b"354")
    await client.say(b"text\r\n.\r\n")
    assert [await client.line() for _ in range(count)] == [Text.DELIVERED.value] * count
    assert len(service.directory.asked) == 1
    assert len(await messages(store.store, USER)) == count


async def test_memory_for_arriving_messages_is_bounded(store: StoreFixture) -> None:
    """Who announces a size waits for it; who does not and grows too far is told to come again."""
    options = LmtpOptions(inflightbytes=1_048_576)
    async with lmtp_service(store.client, lmtp=options) as service:
        first, second, third = [await Client.open(service) for _ in range(3)]
        await first.say(ENVELOPE.replace(b"g>", b"g> SIZE=1000000", 1) + b"DATA\r\n")
        await first.until(b"354")
        await second.say(ENVELOPE + b"DATA\r\n")
        await second.until(b"354")
        await second.say((b"x" * 70 + b"\r\n") * 5_000 + b".\r\n")
        assert await second.line() == Text.NO_MEMORY.value
        await third.say(ENVELOPE.replace(b"g>", b"g> SIZE=900000", 1) + b"DATA\r\n")
        await third.until(b"250 2.1.5")
        await first.say(b"small after all\r\n.\r\n")
        assert await first.line() == Text.DELIVERED.value
        await third.until(b"354")
        third.writer.close()
        await second.say(ENVELOPE.replace(b"g>", b"g> SIZE=1000000", 1) + b"DATA\r\n")
        await second.until(b"354")


async def test_chunks_wait_for_memory_too(store: StoreFixture) -> None:
    async with lmtp_service(store.client, lmtp=LmtpOptions(inflightbytes=1_048_576)) as service:
        first, second = [await Client.open(service) for _ in range(2)]
        await first.say(ENVELOPE.replace(b"g>", b"g> SIZE=1000000", 1) + b"DATA\r\n")
        await first.until(b"354")
        body = b"x" * 500_000
        await second.say(ENVELOPE + b"BDAT %d LAST\r\n" % len(body) + body)
        await second.until(b"250 2.1.5")
        await first.say(b".\r\n")
        assert await first.line() == Text.DELIVERED.value
        assert await second.line() == Text.DELIVERED.value


async def test_no_memory_in_time(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "MEMORY_SECONDS", 0.02)
    async with lmtp_service(store.client, lmtp=LmtpOptions(inflightbytes=1_048_576)) as service:
        first, second = [await Client.open(service) for _ in range(2)]
        large = ENVELOPE.replace(b"g>", b"g> SIZE=1000000", 1)
        await first.say(large + b"DATA\r\n")
        await first.until(b"354")
        await second.say(large + b"DATA\r\n")
        assert await second.until(b"452") == Text.NO_MEMORY.value
        await second.say(b"BDAT 4\r\nabcdBDAT 0 LAST\r\n")
        assert [await second.line(), await second.line()] == [Text.NO_MEMORY.value] * 2
        await second.say(b"NOOP\r\n")
        assert await second.line() == Text.OK.value


async def test_a_cut_connection_delivers_nothing_and_frees_its_memory(store: StoreFixture) -> None:
    async with lmtp_service(store.client, lmtp=LmtpOptions(inflightbytes=1_048_576)) as service:
        for _ in range(3):
            client = await Client.open(service)
            await client.say(ENVELOPE.replace(b"g>", b"g> SIZE=1000000", 1) + b"DATA\r\n")
            await client.until(b"354")
            await client.say(b"half a message\r\n.\r")
            client.writer.close()
            await service.emptied()
        assert await messages(store.store, USER) == []


async def test_a_message_that_stops_coming(store: StoreFixture) -> None:
    async with lmtp_service(store.client) as service:
        client = await Client.open(service)
        service.server.patience[2] = 0.05
        await client.say(ENVELOPE + b"DATA\r\n")
        await client.until(b"354")
        await client.say(b"half a message\r\n")
        assert await client.line() == Text.TIMEOUT.value
        assert await client.line() == b""


async def test_a_client_that_says_nothing(store: StoreFixture) -> None:
    async with lmtp_service(store.client) as service:
        service.server.patience[1] = 0.0
        reader, _ = await service.connect()
        lines = (await asyncio.wait_for(reader.read(), 30)).splitlines(keepends=True)
        assert lines[1:] == [Text.TIMEOUT.value]


async def test_options_are_taken_up_while_it_runs(service: LmtpService) -> None:
    configuration = service.configuration
    service.configuration.replace(
        replace(configuration.value, lmtp=replace(configuration.value.lmtp, allowedclients=("192.0.2.0/24",)))
    )
    reader, _ = await service.connect()
    assert await reader.readline() == Text.NOT_ALLOWED.value


async def test_everyone_reaches_the_socket(store: StoreFixture, tmp_path: Path) -> None:
    path = tmp_path / "lmtp"
    async with lmtp_service(store.client, path=path) as service:
        assert path.stat().st_mode & 0o777 == 0o666
        client = await Client.open(service)
        assert await client.deliver(b"text\r\n") == Text.DELIVERED.value


async def test_addresses_are_remembered_until_the_directory_changes() -> None:
    now = 0.0
    directory = people()
    recipients = Recipients(directory, lambda: now)
    assert recipients.remembered(USER) is None
    entry = await recipients.lookup(USER)
    assert recipients.remembered(USER) is entry
    now = REMEMBERED_SECONDS
    assert recipients.remembered(USER) is None
    await recipients.lookup(USER)
    directory.generation += 1
    assert recipients.remembered(USER) is None
    with pytest.raises(AddressUnknown):
        await recipients.lookup("nobody@example.com")
    assert recipients.remembered("nobody@example.com") is None


def test_folders_of_addresses() -> None:
    for (local, domain), expected in {
        ("anna", "x"): ("anna@x", ""),
        ("anna+a+b", "x"): ("anna@x", "a+b"),
        ("anna+", "x"): ("anna@x", ""),
        ("anna+INBOX", "x"): ("anna@x", ""),
        ("+anna", "x"): ("+anna@x", ""),
        ("postmaster", ""): ("postmaster", ""),
    }.items():
        assert split_folder(Address("", local, domain)) == expected
    assert split_folder(NOBODY) == ("", "")


def test_the_tables_are_complete() -> None:
    assert set(REASONS) == set(Reason)
    assert {row.verb for row in SYNTAX.values()} - {"HELO", "EHLO"} == set(COMMANDS)
    assert set(OVER_QUOTA) == {"temporary", "permanent"}
    assert len(FAULTS) == len(type(next(iter(FAULTS))))
    assert for_reason("NO_SUCH_REASON", "temporary") == Text.TEMPORARY.value
    for text in Text:
        assert text.value.endswith(b"\r\n")
        assert text.value[:3] == b"354" or text.value[4:5] == text.value[:1]
    assert len(Farewell)
