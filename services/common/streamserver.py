"""Listening for clients: ports and Unix sockets, how many may be there at once, and how they are sent away.

    server = StreamServer("imap", lambda server, listener: ImapConnection(server, listener, service), options, ...)
    await server.listen([Listener(host="127.0.0.1", port=143), Listener(host="127.0.0.1", port=993, tls=True)])
    ...
    await server.drain(30)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from services.common.clocks import Wheel
from services.common.connection import Clock, Connection
from services.common.limits import CommandSlots
from services.common.live import Live
from services.common.sessions import SessionRegistry
from services.common.telemetry import Observer
from services.common.tls import ServerTls


class TurnedAway(Enum):
    """Why a client that connects is not let in. A protocol has its words for each in a table (`refusals`)."""

    PROCESS = "process"
    ADDRESS = "address"
    DRAINING = "draining"


class SessionOptions(Protocol):
    """The options that a StreamServer and its connections use; every front end's options have them."""

    @property
    def maxsessions(self) -> int: ...
    @property
    def maxsessionsperuser(self) -> int: ...
    @property
    def maxsessionsperaddress(self) -> int: ...
    @property
    def maxthreads(self) -> int: ...
    @property
    def logintimeout(self) -> int: ...
    @property
    def idletimeout(self) -> int: ...
    @property
    def writetimeout(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen: `host` and `port` (0: any free one), or the Unix socket `path` with the permissions `mode`."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False
    """TLS from the first byte (RFC 8314)."""
    mode: int = 0o600


DATA_SECONDS: Final = 300
"""How long data may stop coming in (Clock.DATA) where the service has no `literaltimeout`."""


class StreamServer:
    """All listeners of one service in this process, and its connections.

    `connect` makes the connection object. `refusals` are the last (and only) words to clients that are turned away.
    """

    def __init__(
        self,
        service: str,
        connect: Callable[[StreamServer, Listener], Connection],
        options: Live[SessionOptions],
        *,
        refusals: Mapping[TurnedAway, bytes],
        registry: SessionRegistry | None = None,
        observer: Observer | None = None,
        slots: CommandSlots | None = None,
        tls: ServerTls | None = None,
        tick: float = 1.0,
    ) -> None:
        """In a running event loop."""
        self.service = service
        self.options = options
        self.refusals = refusals
        self.registry = registry or SessionRegistry()
        self.slots = slots or CommandSlots(lambda: options.value.maxthreads)
        self.tls = tls
        self.loop = asyncio.get_running_loop()
        self.wheel = Wheel(self.loop, tick)
        self.draining = False

    async def listen(self, listeners: Sequence[Listener], *, reuse_port: bool = False) -> None:
        """Open all of them, or none. A TLS listener needs `tls` to have a certificate. Raises OSError."""

    @property
    def addresses(self) -> list[tuple[Listener, str, int]]:
        """What is listened on really: the listener, address (or path) and port."""

    async def drain(self, seconds: float) -> None:
        """Stop listening, let each session finish its command and say goodbye, spread over the window; cut what is
        left before `seconds` are over.
        """

    async def close(self) -> None:
        """Cut everything now."""
