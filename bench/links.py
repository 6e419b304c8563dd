"""Client ends of the protocols, as lean as Python allows: they count bytes and look for the end of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any, Self

_TAIL = 1024
PATIENCE = 120.0
"""Seconds that an operation may take, before it is given up."""


class Link(asyncio.Protocol):
    """A connection on which one request at a time waits for its answer."""

    def __init__(self) -> None:
        self.received = 0
        self.tail = b""
        self._waiter: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect and read the greeting."""
        loop = asyncio.get_running_loop()
        link = cls()
        link._waiter = loop.create_future()
        await loop.create_connection(lambda: link, "127.0.0.1", port)
        await link._answer()
        return link

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.tail = data[-_TAIL:] if len(data) >= _TAIL else (self.tail + data)[-_TAIL:]
        if self._waiter is not None and not self._waiter.done() and self.complete():
            self.answered(self._waiter)

    def answered(self, waiter: asyncio.Future[bytes]) -> None:
        """The answer in `tail` is complete."""
        waiter.set_result(self.tail)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionError("the server closed the connection"))

    def complete(self) -> bool:
        """Whether the tail ends an answer."""
        return self.tail.endswith(b"\r\n")

    def send(self, data: bytes) -> None:
        """Write without waiting."""
        if self._transport is None:
            raise ConnectionError("not connected")
        self._transport.write(data)

    async def request(self, data: bytes) -> bytes:
        """Write and wait for the end of the answer; returns its tail."""
        self._waiter = asyncio.get_running_loop().create_future()
        self.tail = b""
        self.send(data)
        return await self._answer()

    async def _answer(self) -> bytes:
        if self._waiter is None:
            raise ConnectionError("nothing was asked")
        return await self._waiter

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.close()


class ImapLink(Link):
    """IMAP: an answer ends with the tagged line."""

    _tag = b"* OK"
    _count = 0
    _next: Callable[[], bytes | None] | None = None

    def complete(self) -> bool:
        if not self.tail.endswith(b"\r\n"):
            return False
        start = self.tail.rfind(b"\r\n", 0, -2) + 2
        last = self.tail[start if start > 1 else 0 :]
        return last.startswith((self._tag, b"+ "))

    async def command(self, text: bytes) -> bytes:
        """Run one command. Raises RuntimeError where it is refused."""
        self._count += 1
        self._tag = b"t%d " % self._count
        answer = await self.request(self._tag + text + b"\r\n")
        # Not the tag from above: `repeat` may have gone on.
        if self._tag + b"OK" not in answer and not answer.startswith(b"+ "):
            raise RuntimeError(f"{text[:60]!r}: {answer[-200:]!r}")
        return answer

    async def repeat(self, text: Callable[[], bytes], end: float) -> int:
        """Run commands one after another until `end` (perf_counter), at least one; how many it were.

        The next one is sent where the answer arrives, without a task in between: what is measured is the server.
        """
        done = 0

        def following() -> bytes | None:
            nonlocal done
            done += 1
            return text() if perf_counter() < end else None

        self._next = following
        try:
            await self.command(text())
        finally:
            self._next = None
        return done

    def answered(self, waiter: asyncio.Future[bytes]) -> None:
        if self._next is None or self._tag + b"OK" not in self.tail or (text := self._next()) is None:
            waiter.set_result(self.tail)
            return
        self._count += 1
        self._tag = b"t%d " % self._count
        self.tail = b""
        self.send(self._tag + text + b"\r\n")

    async def login(self, user: str, password: str) -> None:
        """LOGIN."""
        await self.command(f'LOGIN "{user}" "{password}"'.encode())

    async def append(self, mailbox: bytes, body: bytes) -> None:
        """APPEND with a synchronising literal, as most clients do."""
        await self.command(b"APPEND %b {%d}" % (mailbox, len(body)))
        answer = await self.request(body + b"\r\n")
        if b"OK" not in answer:
            raise RuntimeError(f"APPEND: {answer[-200:]!r}")


class PopLink(Link):
    """POP3: one line, or lines up to a lone dot."""

    _multiline = False

    def complete(self) -> bool:
        if self._multiline and not self.tail.startswith(b"-ERR"):
            return self.tail.endswith(b"\r\n.\r\n")
        return self.tail.endswith(b"\r\n")

    async def command(self, text: bytes, *, multiline: bool = False) -> bytes:
        """Run one command. Raises RuntimeError where it is refused."""
        self._multiline = multiline
        answer = await self.request(text + b"\r\n")
        if answer.startswith(b"-ERR"):
            raise RuntimeError(f"{text[:60]!r}: {answer[:200]!r}")
        return answer


class LmtpLink(Link):
    """LMTP: lines up to one without a hyphen after the code."""

    def complete(self) -> bool:
        if not self.tail.endswith(b"\r\n"):
            return False
        start = self.tail.rfind(b"\r\n", 0, -2) + 2
        last = self.tail[start if start > 1 else 0 :]
        return last[3:4] == b" "

    async def command(self, text: bytes) -> bytes:
        """Run one command. Raises RuntimeError where it is refused."""
        answer = await self.request(text + b"\r\n")
        if answer[:1] not in b"23":
            raise RuntimeError(f"{text[:60]!r}: {answer[:200]!r}")
        return answer

    async def deliver(self, recipient: str, body: bytes) -> None:
        """One message to one recipient; `body` has its dots stuffed."""
        await self.command(b"MAIL FROM:<bench@example.org>")
        await self.command(f"RCPT TO:<{recipient}>".encode())
        await self.command(b"DATA")
        await self.command(body + b"\r\n.")
