"""Listening for clients: ports and Unix sockets, how many may be there at once, and how they are sent away.

server = StreamServer("imap", front_end.connect, options, refusals=front_end.refusals)
await server.listen([Listener(host="127.0.0.1", port=143), Listener(host="127.0.0.1", port=993, tls=True)])
...
await server.drain(30)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from time import time
from typing import Final, Protocol

from services.common.access.patterns import HostName, NameNeeded, host
from services.common.access.realms import SessionLimits
from services.common.access.service import ServiceFilters
from services.common.clocks import Wheel
from services.common.connection import Clock, Connection
from services.common.domain import SessionInfo
from services.common.hostnames import HostNames
from services.common.limits import CommandSlots
from services.common.listening import BACKLOG, Listener, TlsAcceptor, bound, open_socket, remove_path
from services.common.live import Live
from services.common.sessions import SessionRegistry
from services.common.telemetry import NO_OBSERVER, Observer
from services.common.tls import CertificateUnavailable, ServerTls

__all__ = ["Listener", "SessionOptions", "StreamServer", "TurnedAway"]

DATA_SECONDS: Final = 300
"""How long data may stop coming in (Clock.DATA) where the service has no `literaltimeout`."""
MAX_TURNED_AWAY: Final = 100
"""Clients that are being told that there is no room; those above are cut without a word."""
GOODBYE_SHARE: Final = 0.6
"""The part of the drain window over which goodbyes are spread; the rest is for commands that still run."""
CUT_SHARE: Final = 0.95
DRAIN_STEP: Final = 0.05


class TurnedAway(Enum):
    """Why a client that connects is not let in. A protocol has its words for each in a table (`refusals`)."""

    PROCESS = "process"
    ADDRESS = "address"
    DRAINING = "draining"
    FILTER = "filter"


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


class StreamServer:
    """All listeners of one service in this process, and its connections. To be made in a running event loop.

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
        observer: Observer = NO_OBSERVER,
        slots: CommandSlots | None = None,
        tls: ServerTls | None = None,
        names: HostNames | None = None,
        tick: float = 1.0,
    ) -> None:
        self.service = service
        self.options = options
        self.refusals = refusals
        self.registry = SessionRegistry() if registry is None else registry
        self.observer = observer
        self.traffic = observer.traffic(service)
        self.slots = slots or CommandSlots(lambda: options.value.maxthreads)
        self.tls = tls
        self.loop = asyncio.get_running_loop()
        self.wheel = Wheel(self.loop, tick)
        self.patience: list[float] = []
        self.draining = False
        self._filters = ServiceFilters()
        self._limits = SessionLimits()
        self._names = names or HostNames()
        self._waiting: set[Connection] = set()
        self._connect = connect
        self._servers: list[tuple[Listener, asyncio.Server | TlsAcceptor]] = []
        self._connections: set[Connection] = set()
        self._turned_away: set[Connection] = set()
        self._empty = asyncio.Event()
        self._take_options(options.value)
        options.subscribe(self._take_options)

    def __len__(self) -> int:
        """Clients that were let in and are still there."""
        return len(self._connections)

    async def listen(self, listeners: Sequence[Listener], *, reuse_port: bool = False) -> None:
        """Open all of them, or none. A TLS listener needs a certificate. Raises OSError, CertificateUnavailable."""
        if any(listener.tls for listener in listeners) and not (self.tls and self.tls.available):
            raise CertificateUnavailable
        try:
            for listener in listeners:
                self._servers.append((listener, await self._open(listener, reuse_port)))
        except OSError:
            self.stop_listening()
            raise

    async def _open(self, listener: Listener, reuse_port: bool) -> asyncio.Server | TlsAcceptor:
        def connect() -> Connection:
            return self._connect(self, listener)

        sock = await open_socket(listener, reuse_port=reuse_port)
        if listener.tls and self.tls is not None:
            return TlsAcceptor(sock, connect, self.tls, self._has_room)
        if listener.path:
            return await self.loop.create_unix_server(connect, sock=sock, backlog=BACKLOG)
        return await self.loop.create_server(connect, sock=sock, backlog=BACKLOG)

    @property
    def addresses(self) -> list[tuple[Listener, str, int]]:
        """What is listened on really: the listener, the address or path, the port."""
        return [(listener, *bound(sock)) for listener, server in self._servers for sock in server.sockets]

    # ---- called by the connections ----------------------------------------------------------------------------------
    def admit(self, connection: Connection) -> TurnedAway | None:
        """Count a client that has connected; why it must go again, or None."""
        why = self._obstacle(connection)
        if why is None:
            self._connections.add(connection)
            self.observer.session_opened(self.service)
            registry = self.registry
            info = SessionInfo(
                connection.session_id, self.service, "", connection.address, int(time()), registry.process
            )
            registry.opened(info, connection.kick)
            return None
        self.observer.session_refused(self.service, why.value)
        self._turned_away.add(connection)
        if len(self._turned_away) > MAX_TURNED_AWAY:
            connection.abort()
        return why

    def needs_names(self, connection: Connection) -> bool:
        """Whether the filters need host names to judge this client: `find_names` first, then `admit`.

        Where as many clients wait for that as may be connected, no more names are looked up: they are unknown.
        """
        if not self._filters.names or self.draining or len(self._waiting) >= self.options.value.maxsessions:
            return False
        try:
            self._filters.decide(self.service, host(connection.address), host(connection.server_address))
        except NameNeeded:
            return True
        return False

    async def find_names(self, connection: Connection) -> None:
        """Look up what the filters want to know of a client that waits for its greeting."""
        self._waiting.add(connection)
        try:
            client = await self._names.find(connection.address)
            there = connection.server_address
            server = await self._names.find(there) if self._filters.server_names else HostName()
            connection.ends = host(connection.address, client), host(there, server)
        finally:
            self._waiting.discard(connection)

    def forget(self, connection: Connection) -> None:
        """The client is gone."""
        self.wheel.forget(connection)
        self._turned_away.discard(connection)
        if connection in self._connections:
            self._connections.discard(connection)
            self.registry.closed(connection.session_id)
            self.observer.session_closed(self.service)
            if not self._connections:
                self._empty.set()

    def _has_room(self, shaking: int) -> bool:
        """Whether a TLS client may shake hands, if only to be told that there is no room."""
        return len(self._connections) + shaking < self.options.value.maxsessions + MAX_TURNED_AWAY

    def _obstacle(self, connection: Connection) -> TurnedAway | None:
        options = self.options.value
        if self.draining:
            return TurnedAway.DRAINING
        if self._filters and not self._passes(connection):
            return TurnedAway.FILTER
        if len(self._connections) >= options.maxsessions:
            return TurnedAway.PROCESS
        limit = self._limits.of(connection.address)
        if limit and self.registry.from_address(connection.address) >= limit:
            connection.log.info("connection limit reached", limit=limit)
            return TurnedAway.ADDRESS
        return None

    def _passes(self, connection: Connection) -> bool:
        """Whether the service's filters let the client in."""
        client, server = connection.ends or (
            host(connection.address, HostName()),
            host(connection.server_address, HostName()),
        )
        decision = self._filters.decide(self.service, client, server)
        if not decision.allowed:
            connection.log.info("refused by filter", rule=decision.rule or "none", why=decision.because)
        return decision.allowed

    def _take_options(self, options: SessionOptions) -> None:
        self.observer.session_limit(self.service, options.maxsessions)
        self._filters = ServiceFilters(getattr(options, "domainallowed", ()), getattr(options, "domainnotallowed", ()))
        self._limits = SessionLimits(getattr(options, "connlimits", ()), options.maxsessionsperaddress)
        # In the order of Clock.
        self.patience = [
            float(options.logintimeout),
            options.idletimeout * 60.0,
            float(getattr(options, "literaltimeout", DATA_SECONDS)),
        ]
        assert len(self.patience) == len(Clock)  # noqa: S101 - two halves of one table

    # ---- the end ----------------------------------------------------------------------------------------------------
    def stop_listening(self) -> None:
        """Close the listeners; who is connected stays."""
        for listener, server in self._servers:
            server.close()
            remove_path(listener)
        self._servers.clear()

    async def drain(self, seconds: float) -> None:
        """Stop listening, let each session finish its command and say goodbye, spread over the window, and cut what is
        left before `seconds` are over.
        """
        self.draining = True
        self.stop_listening()
        start = self.loop.time()
        await self._say_goodbye(start, seconds * GOODBYE_SHARE)
        if self._connections:
            self._empty.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._empty.wait(), max(0.0, start + seconds * CUT_SHARE - self.loop.time()))
        await self.close()

    async def _say_goodbye(self, start: float, window: float) -> None:
        leaving = list(self._connections)
        for number, connection in enumerate(leaving):
            wait = start + window * number / len(leaving) - self.loop.time()
            if wait > DRAIN_STEP:
                await asyncio.sleep(wait)
            connection.begin_drain()

    async def close(self) -> None:
        """Cut everything now, and let what was cut release what it holds."""
        self.draining = True
        self.stop_listening()
        ending = [connection.cancel() for connection in (*self._connections, *self._turned_away, *self._waiting)]
        tasks = [task for task in ending if task is not None]
        if tasks:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), DRAIN_STEP * 10)
        # The transports tell of their end in the loop's next turn.
        await asyncio.sleep(0)
        self.wheel.stop()
