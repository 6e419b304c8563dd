"""A tiny line protocol over the real connection and server code, for the tests of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from services.common.connection import Answer, Connection
from services.common.farewell import Clock, Farewell
from services.common.later import Later
from services.common.limits import without_slot
from services.common.linebuffer import LineBuffer
from services.common.live import Live
from services.common.options import ImapOptions
from services.common.streamserver import Listener, StreamServer, TurnedAway

REFUSALS: Final = {why: f"away {why.value}\n".encode() for why in TurnedAway}
HERE: Final = Listener(host="127.0.0.1")


@dataclass
class Shared:
    """What the test and all connections see."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    ended: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    secured: int = 0
    futures: list[asyncio.Future[str]] = field(default_factory=list)
    """What the answers of `later` hang on, in order."""
    connections: list[LineConnection] = field(default_factory=list)


class LineConnection(Connection):
    """Lines in, `echo LINE` out; a few words do something else."""

    __slots__ = ("_lines", "shared")

    def __init__(self, server: StreamServer, listener: Listener, shared: Shared) -> None:
        super().__init__(server, listener)
        self.shared = shared
        self._lines = LineBuffer(8192)
        shared.connections.append(self)

    def greeting(self) -> bytes:
        return b"hello\n"

    def feed(self, data: bytes) -> None:
        self._lines.feed(data)

    def discard(self) -> None:
        self._lines.clear()

    def secured(self) -> None:
        self.shared.secured += 1

    def ended(self) -> None:
        self.shared.ended.append(self.session_id)

    def farewell(self, why: Farewell) -> bytes:
        return f"bye {why.name}\n".encode()

    def failure(self, error: Exception) -> bytes:
        self.result = "error"
        return b"failed\n"

    def step(self) -> Answer | None:
        line = self._lines.next_line()
        if line is None:
            return None
        word, _, argument = line.decode().partition(" ")
        self.command = "echo"
        handler = WORDS.get(word)
        return b"echo %b\n" % line if handler is None else handler(self, argument)

    def _user(self, name: str) -> bytes:
        return b"in\n" if self.admit(name) else b"too many\n"

    def _quit(self, _: str) -> bytes:
        self.close()
        return b"bye\n"

    def _bad(self, _: str) -> bytes:
        self.result = "bad"
        return b"what\n"

    def _starttls(self, _: str) -> bytes:
        self.start_tls()
        return b"go\n"

    def _data(self, _: str) -> bytes:
        self.set_clock(Clock.DATA)
        return b"send\n"

    def _big(self, size: str) -> bytes:
        return b"x" * int(size) + b"\n"

    async def _wait(self, _: str) -> bytes:
        await self.shared.gate.wait()
        self.shared.finished.append(self.session_id)
        return b"waited\n"

    async def _idle(self, _: str) -> bytes:
        async with without_slot():
            await self.shared.gate.wait()
        return b"idled\n"

    async def _fail(self, _: str) -> bytes:
        await asyncio.sleep(0)
        raise ValueError

    def _later(self, how: str) -> Later[str]:
        async def slowly(result: str) -> bytes:
            await asyncio.sleep(0)
            return b"slowly %b\n" % result.encode()

        def reply(result: str) -> bytes | Coroutine[Any, Any, bytes]:
            self.shared.finished.append(self.session_id)
            return slowly(result) if how == "slow" else b"later %b\n" % result.encode()

        self.shared.futures.append(self.server.loop.create_future())
        return Later(self.shared.futures[-1], reply)

    async def _stream(self, megabytes: str) -> bytes:
        for _ in range(int(megabytes) * 16):
            self.write(b"y" * 65_536)
            await self.drain()
        return b"\n"


WORDS: Final[dict[str, Callable[[LineConnection, str], Answer]]] = {
    "user": LineConnection._user,
    "quit": LineConnection._quit,
    "bad": LineConnection._bad,
    "starttls": LineConnection._starttls,
    "data": LineConnection._data,
    "big": LineConnection._big,
    "wait": LineConnection._wait,
    "idle": LineConnection._idle,
    "fail": LineConnection._fail,
    "later": LineConnection._later,
    "stream": LineConnection._stream,
}


@dataclass
class Client:
    """One side of a socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, text: str) -> None:
        """Send a line."""
        self.writer.write(text.encode() + b"\n")
        await self.writer.drain()

    async def line(self) -> str:
        """The next line; "" at the end."""
        return (await self.reader.readline()).decode().rstrip("\n")

    async def ask(self, text: str) -> str:
        """Send a line, get a line."""
        await self.say(text)
        return await self.line()

    async def close(self) -> None:
        """Go."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@dataclass
class LineServer:
    """A running server and the way to it."""

    server: StreamServer
    shared: Shared
    options: Live[Any]
    clients: list[Client] = field(default_factory=list)

    async def connect(self, number: int = 0, **options: Any) -> Client:
        """A new client of the listener with that number; nothing read yet."""
        listener, host, port = self.server.addresses[number]
        if listener.path:
            client = Client(*await asyncio.open_unix_connection(listener.path))
        else:
            client = Client(*await asyncio.open_connection(host, port, **options))
        self.clients.append(client)
        return client

    async def greeted(self, number: int = 0, **options: Any) -> Client:
        """A new client that has read the greeting."""
        client = await self.connect(number, **options)
        assert await client.line() == "hello"
        return client

    def set(self, **changes: Any) -> None:
        """Reload options."""
        self.options.replace(replace(self.options.value, **changes))


@asynccontextmanager
async def line_server(*listeners: Listener, tick: float = 0.02, **rest: Any) -> AsyncIterator[LineServer]:
    """The server for the time of a test; arguments that StreamServer does not know are options."""
    known = {
        key: rest.pop(key)
        for key in ("tls", "observer", "registry", "slots", "names", "access", "badguys")
        if key in rest
    }
    options: Live[Any] = Live(ImapOptions(**rest))
    shared = Shared()
    server = StreamServer(
        "line", lambda at, where: LineConnection(at, where, shared), options, refusals=REFUSALS, tick=tick, **known
    )
    await server.listen(listeners or (HERE,))
    running = LineServer(server, shared, options)
    try:
        yield running
    finally:
        for client in running.clients:
            await client.close()
        await server.close()
