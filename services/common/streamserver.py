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
from time import time
from typing import Final, Protocol

from services.common.accepting import Acceptor
from services.common.accessoptions import AccessOptions
from services.common.badguys import BadGuys
from services.common.clocks import Wheel
from services.common.connection import Connection
from services.common.domain import SessionInfo
from services.common.door import PROXY, Door, TurnedAway
from services.common.farewell import Clock
from services.common.hostnames import HostNames
from services.common.limits import CommandSlots
from services.common.listening import BACKLOG, Listener, bound, open_socket, remove_path
from services.common.live import Live
from services.common.peer import Forwarded
from services.common.sessions import SessionRegistry
from services.common.telemetry import NO_OBSERVER, Observer, session_logger
from services.common.tls import CertificateUnavailable, ServerTls
from services.common.tracing import Tracer

__all__ = ["Listener", "SessionOptions", "StreamServer", "TurnedAway"]

DATA_SECONDS: Final = 300
"""How long data may stop coming in (Clock.DATA) where the service has no `literaltimeout`."""
MAX_TURNED_AWAY: Final = 100
"""Clients that are being told that there is no room; those above are cut without a word."""
GOODBYE_SHARE: Final = 0.6
"""The part of the drain window over which goodbyes are spread; the rest is for commands that still run."""
CUT_SHARE: Final = 0.95
DRAIN_STEP: Final = 0.05


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
        tracer: Tracer | None = None,
        access: Live[AccessOptions] | None = None,
        names: HostNames | None = None,
        badguys: BadGuys | None = None,
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
        self.tracer = tracer
        self.loop = asyncio.get_running_loop()
        self.wheel = Wheel(self.loop, tick)
        self.patience: list[float] = []
        self.draining = False
        self.door = Door(service, options, self.registry, access, names, badguys)
        self._waiting: set[Connection] = set()
        self._connect = connect
        self._servers: list[tuple[Listener, asyncio.Server | Acceptor]] = []
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

    async def _open(self, listener: Listener, reuse_port: bool) -> asyncio.Server | Acceptor:
        def connect(header: Forwarded | None = None) -> Connection:
            connection = self._connect(self, listener)
            connection.forwarded = header
            return connection

        sock = await open_socket(listener, reuse_port=reuse_port)
        if listener.tls or listener.proxied:
            return Acceptor(sock, connect, self, tls=self.tls if listener.tls else None, proxied=listener.proxied)
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
            if not connection.unjudged:
                self.door.let_in(connection)
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
        if self.draining or connection.unjudged or len(self._waiting) >= self.options.value.maxsessions:
            return False
        return self.door.needs_names(connection)

    async def find_names(self, connection: Connection) -> None:
        """Look up what the filters want to know of a client that waits."""
        self._waiting.add(connection)
        try:
            await self.door.find_names(connection)
        finally:
            self._waiting.discard(connection)

    async def rejudge(self, connection: Connection) -> TurnedAway | None:
        """Judge a client that was let in already by the address that it has now; why it must go, or None."""
        if self.needs_names(connection):
            await self.find_names(connection)
        why = self.door.judge(connection)
        if why is None:
            self.registry.moved(connection.session_id, connection.address)
            self.door.let_in(connection)
        else:
            self.observer.session_refused(self.service, why.value)
        return why

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

    # ---- asked by the acceptors -------------------------------------------------------------------------------------
    def has_room(self, waiting: int) -> bool:
        """Whether a client may send its header or shake hands, if only to be told that there is no room."""
        return len(self._connections) + waiting < self.options.value.maxsessions + MAX_TURNED_AWAY

    def trusts(self, address: str) -> bool:
        """Whether a balancer at the address is believed."""
        return self.door.trusts(address)

    def cut_off(self, address: str, why: str) -> None:
        """A client of a proxy port was cut because of its header."""
        self.observer.session_refused(self.service, PROXY)
        session_logger(self.service, address=address).warning("PROXY header refused", why=why)

    # ---- inside -----------------------------------------------------------------------------------------------------
    def _obstacle(self, connection: Connection) -> TurnedAway | None:
        if self.draining:
            return TurnedAway.DRAINING
        why = None if connection.unjudged else self.door.judge(connection)
        if why is None and len(self._connections) >= self.options.value.maxsessions:
            return TurnedAway.PROCESS
        return why

    def _take_options(self, options: SessionOptions) -> None:
        self.observer.session_limit(self.service, options.maxsessions)
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
