"""Accepting clients by our own hand, where something comes before the protocol: a PROXY header, a TLS handshake."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol

from services.common.access.proxyheader import HeaderError, HeaderReader
from services.common.listening import BACKLOG, HANDSHAKE_SECONDS, SHUTDOWN_SECONDS
from services.common.peer import Forwarded, text_address
from services.common.telemetry import session_logger
from services.common.tls import CERTIFICATE_REFUSED, CertificateUnavailable, ServerTls

ACCEPTS: Final = 64
"""Clients accepted in one turn of the loop."""
ACCEPT_PAUSE: Final = 1.0
HEADER_SECONDS: Final = 5.0
"""In which a balancer's header has to be there: it sends it at once, and may lose a packet (section 2 of its text)."""

Connect = Callable[[Forwarded | None], asyncio.Protocol]


class Guard(Protocol):
    """What the acceptor asks its server."""

    def has_room(self, waiting: int) -> bool:
        """Whether anything may be spent on one more client, if only to tell it that there is no room."""

    def trusts(self, address: str) -> bool:
        """Whether a balancer at the address is believed."""

    def cut_off(self, address: str, why: str) -> None:
        """A client was cut because of its header."""


class Acceptor:
    """Accepts the clients of one port and bounds those that are not through yet: no room, and one is cut.

    `tls` None: no handshake. `proxied`: each connection begins with a PROXY header, and only from trusted addresses.
    """

    def __init__(
        self, sock: socket.socket, connect: Connect, guard: Guard, *, tls: ServerTls | None, proxied: bool
    ) -> None:
        self.sockets = (sock,)
        self._loop = asyncio.get_running_loop()
        self._connect = connect
        self._guard = guard
        self._tls = tls
        self._proxied = proxied
        self._waiting: set[asyncio.Task[None]] = set()
        sock.listen(BACKLOG)
        self._loop.add_reader(sock.fileno(), self._accept)

    def __len__(self) -> int:
        """Clients that are not through yet."""
        return len(self._waiting)

    def close(self) -> None:
        """No more clients; those that are not through yet are cut."""
        (sock,) = self.sockets
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        for task in self._waiting:
            task.cancel()

    def _accept(self) -> None:
        (sock,) = self.sockets
        for _ in range(ACCEPTS):
            try:
                client, name = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            if self._guard.has_room(len(self._waiting)):
                client.setblocking(False)
                self._start(client, text_address(name))
            else:
                client.close()

    def _start(self, client: socket.socket, address: str) -> None:
        task = self._loop.create_task(self._let_through(client, address))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _let_through(self, client: socket.socket, address: str) -> None:
        try:
            header = await self._header(client, address) if self._proxied else None
            await self._hand_over(client, header)
        except (HeaderError, TimeoutError) as error:
            self._guard.cut_off(address, str(error) or "the header did not come")
            client.close()
        except (OSError, ssl.SSLError, CertificateUnavailable, asyncio.CancelledError) as error:
            if isinstance(error, ssl.SSLCertVerificationError):
                session_logger("tls", address=address).warning(CERTIFICATE_REFUSED, why=error.verify_message)
            client.close()

    async def _header(self, client: socket.socket, address: str) -> Forwarded:
        """Raises HeaderError, TimeoutError, OSError."""
        if not self._guard.trusts(address):
            raise HeaderError("not from access.trustedproxies")
        reader = HeaderReader()
        async with asyncio.timeout(HEADER_SECONDS):
            while reader.wanted:
                data = await self._receive(client, reader.wanted)
                if not data:
                    raise ConnectionResetError
                reader.feed(data)
        return reader.header

    async def _receive(self, client: socket.socket, size: int) -> bytes:
        try:
            # Most often it is there, and a header of version 1 is read in many small pieces.
            return client.recv(size)
        except (BlockingIOError, InterruptedError):
            return await self._loop.sock_recv(client, size)

    async def _hand_over(self, client: socket.socket, header: Forwarded | None) -> None:
        """From here on the client is the protocol's, after its handshake where there is one."""
        if self._tls is None:
            await self._loop.connect_accepted_socket(lambda: self._connect(header), client)
            return
        await self._loop.connect_accepted_socket(
            lambda: self._connect(header),
            client,
            ssl=self._tls.context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )

    def _pause(self, error: OSError) -> None:
        """No descriptors or no memory: the client stays in the backlog, and we do not spin."""
        (sock,) = self.sockets
        self._loop.remove_reader(sock.fileno())
        self._loop.call_later(ACCEPT_PAUSE, self._go_on)
        session_logger("listen").warning("cannot accept", why=error.strerror)

    def _go_on(self) -> None:
        (sock,) = self.sockets
        if sock.fileno() >= 0:
            self._loop.add_reader(sock.fileno(), self._accept)
