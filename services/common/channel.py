"""The transport half of a client's connection: writing with back pressure, reading or not, TLS, and a polite end.

`services.common.connection` stands on it; a protocol sees both as one object. What the client leaves unread is bounded
by the transport's write buffer and by producers that wait in `drain`; how long, by the write clock.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import BaseTransport, Future, Protocol, ReadTransport, WriteTransport, sleep
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from services.common.limits import without_slot
from services.common.listening import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS, Listener
from services.common.peer import LOCAL_ADDRESS, Forwarded, Peer, is_local, text_address
from services.common.telemetry import session_logger
from services.common.tls import CERTIFICATE_REFUSED, CertificateUnavailable, channel_bindings

if TYPE_CHECKING:
    from services.common.streamserver import StreamServer

WRITE_BUFFER: Final = 65_536
HELD: Final = 16_384
"""Answers to commands that came together leave together, up to so many bytes: each write is a system call and a packet
(RFC 2920 section 3.2 asks for it of SMTP).
"""
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 65_536

# Why no command is looked at; 0 when one may be. Together one number, because it is tested for each piece of input.
RUNNING: Final = 1
"""A command runs."""
UNREAD: Final = 2
"""The client does not read what was sent."""
RESTING: Final = 4
"""The client had its share of the loop's turn."""
SHAKING: Final = 8
"""TLS is being set up."""
CLOSING: Final = 16
"""Nothing more is said."""
LOST: Final = 32
"""The transport is gone."""


class Channel(Protocol):
    """Bytes to and from one client."""

    __slots__ = (
        "_deadline",
        "_delivered",
        "_early",
        "_eof",
        "_held",
        "_linger",
        "_reading",
        "_state",
        "_task",
        "_transport",
        "_unread_deadline",
        "_waiter",
        "address",
        "due",
        "encrypted",
        "forwarded",
        "listener",
        "local",
        "received",
        "sent",
        "server",
        "tls",
    )

    def __init__(self, server: StreamServer, listener: Listener) -> None:
        self.server = server
        self.listener = listener
        self.address = ""
        """The client's IP address, or `peer.LOCAL_ADDRESS` on a Unix socket."""
        self.local = False
        """Whether the client is on this machine: a loopback address or a Unix socket."""
        self.forwarded: Forwarded | None = None
        """What a balancer or front end that is believed says of its client; None where none spoke."""
        self.tls = listener.tls
        """Whether TLS protects what the client sends, wherever it ends."""
        self.encrypted = listener.tls
        """Whether TLS ends here."""
        self.received = 0
        self.sent = 0
        self.due = 0
        self._deadline = 0.0
        self._delivered = 0
        self._early: list[bytes] | None = None
        self._eof = False
        self._held: bytes | None = None
        self._linger = 0
        self._reading = True
        self._state = 0
        self._task: Future[Any] | None = None
        self._transport: WriteTransport = cast("WriteTransport", None)
        self._unread_deadline = 0.0
        self._waiter: Future[None] | None = None

    @property
    def peer(self) -> Peer:
        """The client's end as it is now, as the rules of a login look at it. Made when asked for."""
        server_address = self.server_address or LOCAL_ADDRESS
        if not self.tls:
            return Peer(self.address, server_address, local=self.local)
        told = self.forwarded
        if told is not None and (told.tls or told.relayed):
            return Peer(
                self.address, server_address, tls=True, cipherbits=told.cipherbits, local=self.local, proxied_tls=True
            )
        connection = self._transport.get_extra_info("ssl_object")
        cipher = connection.cipher() or ("", "", 0)
        return Peer(
            self.address,
            server_address,
            tls=True,
            cipherbits=cipher[2],
            version=connection.version() or "",
            local=self.local,
            certificate=connection.getpeercert(True) if self.client_certificate else None,
        )

    @property
    def bindings(self) -> dict[str, bytes]:
        """What a login can be bound to, by the binding's name (RFC 5929). Made when asked for."""
        connection = self._transport.get_extra_info("ssl_object")
        proxied = self.forwarded is not None and (self.forwarded.tls or self.forwarded.relayed)
        return {} if connection is None or proxied else channel_bindings(connection)

    @property
    def client_certificate(self) -> dict[str, Any] | None:
        """The verified certificate of the client as `ssl.SSLSocket.getpeercert` has it; None without one."""
        return self._transport.get_extra_info("peercert") or None

    @property
    def tls_available(self) -> bool:
        """Whether STARTTLS can be offered: there is a certificate, TLS is not on yet, and this is the client's end."""
        if self.tls or self.encrypted or (self.forwarded is not None and self.forwarded.relayed):
            return False
        return self.server.tls is not None and self.server.tls.available

    @property
    def server_address(self) -> str:
        """The IP address that the client connected to, "" on a Unix socket."""
        if self.forwarded is not None and self.forwarded.server_address:
            return self.forwarded.server_address
        name = self._transport.get_extra_info("sockname")
        return str(name[0]).removeprefix("::ffff:") if isinstance(name, tuple) else ""

    def write(self, data: bytes) -> None:
        """Queue bytes for the client; nothing once it is gone."""
        if data and not self._state & LOST:
            size = len(data)
            self.sent += size
            self.server.traffic.sent += size
            held = self._held
            if held is None:
                self._transport.write(data)
            elif size + len(held) <= HELD:
                self._held = held + data if held else data
            else:
                self._release()
                self._transport.write(data)
                self._held = b""

    async def drain(self) -> None:
        """Let others run, and wait (without a slot) until the client has read enough.

        Long answers call it every 256 KiB or so. Raises ConnectionResetError once the client is gone.
        """
        if not self._state & (UNREAD | LOST):
            await sleep(0)
        if self._state & UNREAD and not self._state & LOST:
            async with without_slot():
                self._waiter = self.server.loop.create_future()
                await self._waiter
        if self._state & LOST:
            raise ConnectionResetError

    def abort(self) -> None:
        """Cut the connection now; what was not delivered is lost. A running command is left alone."""
        if not self._state & LOST and self._transport is not None:
            self._transport.abort()

    # ---- inside -----------------------------------------------------------------------------------------------------
    def _pump(self) -> None:
        """Go on with what may have become possible."""
        raise NotImplementedError

    def _release(self) -> None:
        """Write what was held, and hold no more."""
        held, self._held = self._held, None
        if held and not self._state & LOST:
            self._transport.write(held)

    def _take(self, transport: BaseTransport) -> None:
        self._transport = cast("WriteTransport", transport)
        self.address = text_address(transport.get_extra_info("peername"))
        self.local = is_local(self.address)
        if self.forwarded is not None:
            self._believe(self.forwarded)
        if self.listener.tls:
            self._transport.set_write_buffer_limits(high=WRITE_BUFFER)

    def _believe(self, forwarded: Forwarded) -> None:
        """The client is somebody else than the other end of the connection, which speaks for it.

        It is on this machine only where both are. An address "" is the other end's own.
        """
        self.forwarded = forwarded
        if forwarded.address:
            other_end = text_address(self._transport.get_extra_info("peername"))
            self.address = forwarded.address
            self.local = is_local(other_end) and is_local(forwarded.address)
        self.tls = self.encrypted if forwarded.tls is None else forwarded.tls

    def pause_writing(self) -> None:
        """The write buffer is full (asyncio.Protocol)."""
        self._state |= UNREAD
        self._delivered = self._delivered_now()
        self._unread_deadline = self.server.wheel.now + self.server.options.value.writetimeout
        self.server.wheel.schedule(self, self._unread_deadline)

    def resume_writing(self) -> None:
        """It has room again (asyncio.Protocol)."""
        self._state &= ~UNREAD
        self._wake_writer()
        self._pump()

    def _client_reads(self, now: float) -> bool:
        """Whether anything was delivered since the write clock was started; if so it starts again."""
        delivered = self._delivered_now()
        if delivered <= self._delivered:
            return False
        self._delivered = delivered
        self._unread_deadline = now + self.server.options.value.writetimeout
        return True

    def _delivered_now(self) -> int:
        return self.sent - self._transport.get_write_buffer_size()

    def _wake_writer(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _pause_reading(self) -> None:
        if self._reading and not self._state & LOST:
            self._reading = False
            cast("ReadTransport", self._transport).pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and not self._state & (LOST | RUNNING | UNREAD | RESTING | SHAKING):
            self._reading = True
            cast("ReadTransport", self._transport).resume_reading()

    def _close(self, *, linger: bool) -> None:
        """Nothing more is said; let what was written arrive.

        Closing while unread input lies in the socket would reset the connection and could take the last words with
        it. So where the client may still be sending (`linger`) its input is dropped for a moment first.
        """
        self._release()
        self._state |= CLOSING
        wheel = self.server.wheel
        if linger and not self._eof and self._transport.can_write_eof():
            self._deadline = wheel.now + LINGER_SECONDS
            self._transport.write_eof()
            self._resume_reading()
        else:
            self._deadline = wheel.now + self.server.options.value.writetimeout
            self._transport.close()
        wheel.schedule(self, self._deadline)

    def _set_aside(self, data: bytes) -> None:
        """Input that no command may come from."""
        if self._state & SHAKING:
            # Decrypted already: the handshake is over and its task is about to go on.
            self._early = [*(self._early or ()), data]
            return
        self._linger += len(data)
        if self._linger > LINGER_BYTES:
            self.abort()

    def _shake_hands(self, then: Callable[[], None]) -> None:
        """STARTTLS: put TLS below, then go on."""
        self._release()
        self._state |= SHAKING
        self._pause_reading()
        self._task = self.server.loop.create_task(self._handshake(then))

    async def _handshake(self, then: Callable[[], None]) -> None:
        transport: WriteTransport | None = None
        try:
            transport = cast("WriteTransport | None", await self._start_tls())
        except (OSError, ssl.SSLError, CertificateUnavailable, RuntimeError) as error:
            if isinstance(error, ssl.SSLCertVerificationError):
                session_logger("tls", address=self.address).warning(CERTIFICATE_REFUSED, why=error.verify_message)
            # RuntimeError: the client was gone before the handshake could begin.
            self._transport.abort()
        self._task = None
        if transport is None or self._state & LOST:
            # A transport that is lost during the handshake does not tell us by itself.
            self.connection_lost(None)
            return
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._transport, self.tls, self.encrypted, self._reading = transport, True, True, True
        self._state &= ~SHAKING
        then()
        early, self._early = self._early, None
        for data in early or ():
            self.data_received(data)
        self._pump()

    async def _start_tls(self) -> asyncio.Transport | None:
        tls = self.server.tls
        if tls is None:
            raise CertificateUnavailable
        return await self.server.loop.start_tls(
            self._transport,
            self,
            tls.context,
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )

    def look(self, now: float) -> float | None:
        """The wheel's turn: act on what ran out (`services.common.clocks.Timed`)."""
        raise NotImplementedError
