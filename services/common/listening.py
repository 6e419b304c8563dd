"""Sockets to listen on, opened by our own hand: their permissions, their options, and stale Unix sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Final

from services.common.telemetry import session_logger
from services.common.tls import CertificateUnavailable, ServerTls

BACKLOG: Final = 1024
ACCEPTS: Final = 64
"""Clients accepted in one turn of the loop."""
ACCEPT_PAUSE: Final = 1.0
HANDSHAKE_SECONDS: Final = 30.0
SHUTDOWN_SECONDS: Final = 5.0
TCP_OPTIONS: Final[tuple[tuple[int, int], ...]] = (
    (socket.TCP_NODELAY, 1),
    (socket.TCP_KEEPIDLE, 120),
    (socket.TCP_KEEPINTVL, 30),
    (socket.TCP_KEEPCNT, 4),
)
"""Answers leave at once; a client that vanished is noticed after four minutes, however long the idle clock is."""
_UMASK: Final = Lock()


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen: `host` and `port` (0: any free one), or the Unix socket `path` with the permissions `mode`.

    `host` is an address, a name, or "" for every address, IPv4 and IPv6.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False
    """TLS from the first byte (RFC 8314)."""
    mode: int = 0o600

    def __str__(self) -> str:
        return self.path or f"{f'[{self.host}]' if ':' in self.host else self.host or '*'}:{self.port}"


async def open_socket(listener: Listener, *, reuse_port: bool = False) -> socket.socket:
    """A bound socket. Raises OSError, EADDRINUSE also for a Unix socket that somebody answers on."""
    if listener.path:
        return bind_path(listener)
    return bind_port(await _resolve(listener), reuse_port=reuse_port)


Address = tuple[str | int | bytes, ...]


async def _resolve(listener: Listener) -> tuple[int, Address]:
    if listener.host in ("", "*"):
        any6 = socket.has_dualstack_ipv6()
        return (socket.AF_INET6, ("::", listener.port)) if any6 else (socket.AF_INET, ("0.0.0.0", listener.port))
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return family, address


def bind_port(where: tuple[int, Address], *, reuse_port: bool = False) -> socket.socket:
    """Bind a TCP socket. What is set on it holds for the accepted ones too (Linux)."""
    family, address = where
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address[0] == "::" else 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in TCP_OPTIONS:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def bind_path(listener: Listener) -> socket.socket:
    """Bind a Unix socket with its permissions from the first moment on; one that nobody answers on is replaced."""
    os.makedirs(os.path.dirname(listener.path) or ".", exist_ok=True)
    _remove_stale(listener.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with _UMASK:
            umask = os.umask(0o777 & ~listener.mode)
            try:
                sock.bind(listener.path)
            finally:
                os.umask(umask)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(errno.EADDRINUSE, "a file that is no socket is in the way", path)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)


def remove_path(listener: Listener) -> None:
    """Take a Unix socket's name away after it was closed."""
    if listener.path:
        with suppress(FileNotFoundError):
            os.unlink(listener.path)


class TlsAcceptor:
    """Accepts clients on a TLS port, each with the context of the moment, and bounds what is shaking hands.

    `room` is asked before anything is spent on a client: at False it is cut without a word.
    """

    def __init__(
        self, sock: socket.socket, connect: Callable[[], asyncio.Protocol], tls: ServerTls, room: Callable[[int], bool]
    ) -> None:
        self.sockets = (sock,)
        self._loop = asyncio.get_running_loop()
        self._connect = connect
        self._tls = tls
        self._room = room
        self._shaking: set[asyncio.Task[None]] = set()
        sock.listen(BACKLOG)
        self._loop.add_reader(sock.fileno(), self._accept)

    def __len__(self) -> int:
        """Clients that are shaking hands."""
        return len(self._shaking)

    def close(self) -> None:
        """No more clients; those that are shaking hands are cut."""
        (sock,) = self.sockets
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        for task in self._shaking:
            task.cancel()

    def _accept(self) -> None:
        (sock,) = self.sockets
        for _ in range(ACCEPTS):
            try:
                client, _ = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            if self._room(len(self._shaking)):
                client.setblocking(False)
                self._start(client)
            else:
                client.close()

    def _start(self, client: socket.socket) -> None:
        task = self._loop.create_task(self._shake_hands(client))
        self._shaking.add(task)
        task.add_done_callback(self._shaking.discard)

    async def _shake_hands(self, client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._connect,
                client,
                ssl=self._tls.context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except (OSError, ssl.SSLError, CertificateUnavailable, asyncio.CancelledError):
            client.close()

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


def bound(sock: socket.socket) -> tuple[str, int]:
    """The address and port of a listening socket; port 0 with a Unix socket's path."""
    name = sock.getsockname()
    return (name[0], name[1]) if isinstance(name, tuple) else (str(name), 0)
