"""Sockets to listen on, opened by our own hand: their permissions, their options, and stale Unix sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Final, Protocol

BACKLOG: Final = 1024
HANDSHAKE_SECONDS: Final = 30.0
SHUTDOWN_SECONDS: Final = 5.0
TCP_OPTIONS: Final[tuple[tuple[int, int], ...]] = (
    (socket.TCP_NODELAY, 1),
    (socket.TCP_KEEPIDLE, 120),
    (socket.TCP_KEEPINTVL, 30),
    (socket.TCP_KEEPCNT, 4),
)
"""Answers leave at once; a client that vanished is noticed after four minutes, however long the idle clock is."""
EVERYWHERE: Final = frozenset({"", "*"})
"""What an option says that means every address."""
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
    proxied: bool = False
    """Connections come from a balancer and begin with a PROXY header."""

    def __str__(self) -> str:
        return self.path or f"{f'[{self.host}]' if ':' in self.host else self.host or '*'}:{self.port}"


class MailPorts(Protocol):
    """The options that say where POP3 and IMAP listen."""

    @property
    def listen(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def enablesslport(self) -> bool: ...
    @property
    def sslport(self) -> int: ...
    @property
    def proxyport(self) -> int: ...
    @property
    def proxysslport(self) -> int: ...


def mail_listeners(options: MailPorts, *, tls: bool) -> list[Listener]:
    """Where a service listens; ports that begin with TLS only where there is a certificate (`tls`)."""
    found = [Listener(options.listen, options.port)]
    if options.enablesslport and tls:
        found.append(Listener(options.listen, options.sslport, tls=True))
    if options.proxyport:
        found.append(Listener(options.listen, options.proxyport, proxied=True))
    if options.proxysslport and tls:
        found.append(Listener(options.listen, options.proxysslport, tls=True, proxied=True))
    return found


async def open_socket(listener: Listener, *, reuse_port: bool = False) -> socket.socket:
    """A bound socket. Raises OSError, EADDRINUSE also for a Unix socket that somebody answers on."""
    if listener.path:
        return bind_path(listener)
    return bind_port(await _resolve(listener), reuse_port=reuse_port)


Address = tuple[str | int | bytes, ...]


def any_address() -> str:
    """The address that stands for all of this machine's: of both families where one socket can have them."""
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"


async def _resolve(listener: Listener) -> tuple[int, Address]:
    if listener.host in EVERYWHERE:
        host = any_address()
        return socket.AF_INET6 if ":" in host else socket.AF_INET, (host, listener.port)
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


def bound(sock: socket.socket) -> tuple[str, int]:
    """The address and port of a listening socket; port 0 with a Unix socket's path."""
    name = sock.getsockname()
    return (name[0], name[1]) if isinstance(name, tuple) else (str(name), 0)
