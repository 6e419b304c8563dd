"""`StoreServer`: the store's rules behind a Unix socket and, where it is asked for, TCP with mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from services.common.framesocket import MAX_SOCKET_PATH, frames_path
from services.common.listening import EVERYWHERE, any_address
from services.common.options import StoreOptions
from services.common.storeclient.channel import MAX_MESSAGE, Options
from services.common.tracing import Tracer
from services.store.framelane import FrameLane
from services.store.mailstore import MailStore
from services.store.processes import Processes
from services.store.servicers.desk import CommandObserver, Desk, MaintenanceWork
from services.store.servicers.registration import TABLES, service_handlers
from services.store.uploads import UploadRoom

_log = logging.getLogger(__name__)

MAX_CALLS: Final = 4_000
"""Calls of their own, and streams, at once; more are refused with RESOURCE_EXHAUSTED."""
CONNECTION_SECONDS: Final = 1_800
"""Age at which a connection over TCP is asked to go, so that callers find new replicas."""
_GRACE_SECONDS: Final = 600
"""How long it may still be used; the long streams end by themselves in the first part of it."""

SERVER_OPTIONS: Final[Options] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # A front end that is gone without a word gives its maildrops up within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    # Our own clients' pings bunch up behind a bulk transfer; who may connect at all is trusted not to flood.
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1 << 20),
    # A second store on the same port shall fail instead of taking every other call.
    ("grpc.so_reuseport", 0),
]
_TCP_OPTIONS: Final[Options] = [
    ("grpc.max_connection_age_ms", CONNECTION_SECONDS * 1000),
    ("grpc.max_connection_age_grace_ms", _GRACE_SECONDS * 1000),
]


class ListenError(Exception):
    """A socket or port cannot be listened on; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class TcpListener:
    """Where to listen for calls from other machines, and the files of mutual TLS."""

    address: str
    certfile: str
    keyfile: str
    cafile: str


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where the store listens; `socket` is the path of the Unix socket."""

    socket: str
    tcp: TcpListener | None = None


def listeners_of(options: StoreOptions, data: str) -> Listeners:
    """What the options say; relative paths are below the data folder."""
    socket = str(Path(data, options.socket).absolute())
    if not options.listen:
        return Listeners(socket)
    files = [str(Path(data, name)) for name in (options.certfile, options.keyfile, options.cafile)]
    host = any_address() if options.listen in EVERYWHERE else options.listen
    return Listeners(
        socket, TcpListener(f"[{host}]:{options.port}" if ":" in host else f"{host}:{options.port}", *files)
    )


class StoreServer:
    """One gRPC server. To be made in a running event loop, by whoever holds the store's folder."""

    def __init__(
        self,
        rules: MailStore,
        maintenance: MaintenanceWork,
        listeners: Listeners,
        largest: Callable[[], int],
        observer: CommandObserver | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """`largest` gives the most octets of one message; `observer` is told of every call."""
        self._listeners = listeners
        tcp = listeners.tcp is not None
        # Not all at once, and after the connection was asked to go: the next stream is on a new one.
        age = CONNECTION_SECONDS * random.uniform(1.15, 1.3) if tcp else None  # noqa: S311
        self.desk = Desk(
            rules,
            rules.hub,
            Processes(rules.release_owner),
            maintenance,
            UploadRoom(largest),
            observer=observer,
            tracer=tracer,
            stream_seconds=age,
        )
        self._server = grpc.aio.server(
            options=[*SERVER_OPTIONS, *(_TCP_OPTIONS if tcp else [])], maximum_concurrent_rpcs=MAX_CALLS
        )
        self._server.add_generic_rpc_handlers(tuple(service_handlers(self.desk)))
        self._frames = FrameLane(self.desk, frames_path(listeners.socket))
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.port = 0
        """The TCP port that is listened on, 0 for none."""

    @property
    def socket(self) -> str:
        """The path of the Unix socket."""
        return self._listeners.socket

    async def start(self) -> None:
        """Listen and answer. Raises ListenError."""
        self._open_socket()
        if self._listeners.tcp is not None:
            self.port = self._open_tcp(self._listeners.tcp)
        await self._server.start()
        await self._open_frames()
        serving = health_pb2.HealthCheckResponse.SERVING
        for name in ("", *(name.full_name for file, _ in TABLES for name in file.DESCRIPTOR.services_by_name.values())):
            await self._health.set(name, serving)

    async def stop(self, seconds: float) -> None:
        """Take no new calls, finish those that run, cut what still runs after `seconds`."""
        await self._health.enter_graceful_shutdown()
        self.desk.draining.set()
        await asyncio.gather(self._server.stop(seconds), self._frames.stop(seconds))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._listeners.socket)

    def _open_socket(self) -> None:
        path = self._listeners.socket
        longest = MAX_SOCKET_PATH - len(frames_path(""))
        if len(os.fsencode(path)) > longest:
            raise ListenError(f"the path of the socket is longer than {longest} bytes: {path}")
        # Whoever holds the folder's lock is the only store: what is left here is of one that was killed.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        before = os.umask(0o177)
        try:
            self._server.add_insecure_port(f"unix:{path}")
        except RuntimeError as error:
            raise ListenError(f"cannot listen on {path}") from error
        finally:
            os.umask(before)

    async def _open_frames(self) -> None:
        try:
            await self._frames.start()
        except OSError as error:
            raise ListenError(f"cannot listen on {frames_path(self.socket)}: {error.strerror}") from error

    def _open_tcp(self, tcp: TcpListener) -> int:
        try:
            return self._server.add_secure_port(tcp.address, _credentials(tcp))
        except RuntimeError as error:
            raise ListenError(f"cannot listen on {tcp.address}") from error


def _credentials(tcp: TcpListener) -> grpc.ServerCredentials:
    """Mutual TLS; a file that was replaced counts from the next connection on. Raises ListenError."""
    names = (tcp.keyfile, tcp.certfile, tcp.cafile)

    def read() -> grpc.ServerCertificateConfiguration:
        key, certificate, authority = (Path(name).read_bytes() for name in names)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authority)

    def stamp() -> tuple[tuple[int, int], ...]:
        return tuple((status.st_mtime_ns, status.st_ino) for status in map(os.stat, names))

    try:
        known, first = stamp(), read()
    except OSError as error:
        raise ListenError(f"cannot read {error.filename}: {os.strerror(error.errno or 0)}") from error

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal known
        try:
            now = stamp()
            if now == known:
                return None
            configuration = read()
        except OSError:
            return None  # in the middle of being replaced: the next connection finds it whole
        known = now
        return configuration

    # The stubs do not know that None means "as before".
    return grpc.dynamic_ssl_server_credentials(first, fetch, require_client_authentication=True)  # type: ignore[arg-type]
