"""Raw connections of a mail client or agent, for tests that want to see (and to send) every byte."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from tests.support.running import PASSWORD, USER

LIMIT: Final = 1 << 26
SECONDS: Final = 50.0
_LITERAL: Final = re.compile(rb"\{(\d+)\}\r\n\Z")


class Peer:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def line(self, seconds: float = SECONDS) -> bytes:
        """The next line; b"" at the end."""
        return await asyncio.wait_for(self.reader.readline(), seconds)

    async def send(self, *pieces: bytes) -> None:
        """Write, and wait until the system has taken it."""
        self.writer.writelines(pieces)
        await asyncio.wait_for(self.writer.drain(), SECONDS)

    async def rest(self, seconds: float = SECONDS) -> bytes:
        """Everything up to the end of the connection."""
        found = b""
        with suppress(ConnectionError):
            while data := await asyncio.wait_for(self.reader.read(1 << 16), seconds):
                found += data
        return found

    async def response(self, tag: bytes = b"a") -> list[bytes]:
        """IMAP: the lines of a response up to the tagged one, literals as lines of their own."""
        lines: list[bytes] = []
        while True:
            line = await self.line()
            assert line, f"closed after {lines[-3:]}"
            lines.append(line)
            if literal := _LITERAL.search(line):
                lines.append(await asyncio.wait_for(self.reader.readexactly(int(literal[1])), SECONDS))
            elif line.startswith(tag + b" "):
                return lines

    async def ask(self, command: bytes) -> list[bytes]:
        """IMAP: one command under the tag `a`, and its response."""
        await self.send(b"a ", command, b"\r\n")
        return await self.response()

    async def done(self, command: bytes) -> list[bytes]:
        """IMAP: one command that succeeds."""
        lines = await self.ask(command)
        assert lines[-1].startswith(b"a OK"), lines[-1]
        return lines

    async def reply(self, command: bytes = b"") -> bytes:
        """POP3 and LMTP: the (last) line of the reply to a command."""
        if command:
            await self.send(command, b"\r\n")
        while (line := await self.line())[3:4] == b"-" and line[:3].isdigit():
            pass
        return line

    def cut(self) -> None:
        """Gone without a word: RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


@asynccontextmanager
async def peer(
    port: int, *, limit: int = LIMIT, tls: ssl.SSLContext | None = None, source: str = "127.0.0.1"
) -> AsyncIterator[Peer]:
    """A connection from an address of this machine, before its greeting was read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit, ssl=tls, local_addr=(source, 0))
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


@asynccontextmanager
async def imap(port: int, user: str = USER, mailbox: bytes = b"INBOX") -> AsyncIterator[Peer]:
    """Logged in, with a mailbox selected unless it is b""."""
    async with peer(port) as client:
        assert (await client.line()).startswith(b"* OK")
        await client.done(f'LOGIN {user} "{PASSWORD}"'.encode())
        if mailbox:
            await client.done(b"SELECT " + mailbox)
        yield client


@asynccontextmanager
async def pop(port: int, user: str = USER) -> AsyncIterator[Peer]:
    """Logged in."""
    async with peer(port) as client:
        assert (await client.reply()).startswith(b"+OK")
        assert (await pop_login(client, user)).startswith(b"+OK")
        yield client


async def pop_login(client: Peer, user: str = USER) -> bytes:
    """The answer to PASS."""
    await client.reply(f"USER {user}".encode())
    return await client.reply(f"PASS {PASSWORD}".encode())


@asynccontextmanager
async def lmtp(port: int) -> AsyncIterator[Peer]:
    """Greeted."""
    async with peer(port) as client:
        assert (await client.reply()).startswith(b"220")
        assert (await client.reply(b"LHLO test")).startswith(b"250")
        yield client


async def envelope(client: Peer, user: str = USER) -> None:
    """LMTP: MAIL and RCPT."""
    assert (await client.reply(b"MAIL FROM:<a@example.org>")).startswith(b"250")
    assert (await client.reply(f"RCPT TO:<{user}>".encode())).startswith(b"250")


async def deliver(client: Peer, body: bytes, user: str = USER) -> bytes:
    """LMTP: the reply for the one recipient of a message (which has no line that starts with a dot)."""
    await envelope(client, user)
    assert (await client.reply(b"DATA")).startswith(b"354")
    await client.send(body, b"\r\n.\r\n")
    return await client.reply()
