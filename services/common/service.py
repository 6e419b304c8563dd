"""The main of `python -m services.NAME` for the front ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol

from services.common import process as processes
from services.common.badguys import BadGuys, open_marks
from services.common.bodyreader import CACHE_BYTES, BodyReader, open_reader
from services.common.connection import Connection
from services.common.directory import Directory
from services.common.directory.observed import ObservedDirectory
from services.common.directory.opening import open_directory
from services.common.hostnames import HostNames
from services.common.limits import CommandSlots
from services.common.listening import Listener
from services.common.live import Live
from services.common.login import Login
from services.common.options import Configuration
from services.common.process import Process, StartError
from services.common.sessions import SessionRegistry
from services.common.sharedcounts import open_counts
from services.common.store import AccountFeed, ChangeFeed, Store
from services.common.storeclient import StoreClient, connect
from services.common.streamserver import StreamServer, TurnedAway
from services.common.telemetry import Observer
from services.common.tls import CertificateError, CertificateUnavailable, ServerTls, asked_of_clients

CLOSE_SECONDS: Final = 1.0
"""What is still to be told to the store after the drain may take; a store that is away is not waited for."""


@dataclass(slots=True)
class Runtime:
    """All that a front end is given. Everything lives as long as the process.

    `configuration.value` is replaced by a reload; `options` is the service's own group of it, live too.
    """

    name: str
    configuration: Live[Configuration]
    options: Live[Any]
    store: Store
    feed: ChangeFeed
    account_feed: AccountFeed
    directory: Directory
    login: Login
    registry: SessionRegistry
    observer: Observer
    slots: CommandSlots
    worker: int = 0
    """Which of `numprocesses` this is. What only one process can listen on (a Unix socket) is the first one's."""
    readers: list[BodyReader] = field(default_factory=list)

    def open_bodies(self, cache_bytes: int = CACHE_BYTES) -> BodyReader:
        """A reader of message bodies; closed when the process ends."""
        reader = open_reader(self.configuration.value, self.store, cache_bytes=cache_bytes, observer=self.observer)
        self.readers.append(reader)
        return reader


class FrontEnd(Protocol):
    """A protocol as `run` needs it: IMAP, POP3, LMTP."""

    @property
    def refusals(self) -> Mapping[TurnedAway, bytes]:
        """The words for clients that are turned away."""

    def connect(self, server: StreamServer, listener: Listener) -> Connection:
        """Make a connection."""

    def listeners(self) -> list[Listener]:
        """Where to listen, from the options; TLS listeners are left out where there is no certificate."""

    async def close(self) -> None:
        """Everything is drained: release what is held."""


Make = Callable[[Runtime], FrontEnd]


def run(name: str, make: Make) -> NoReturn:
    """Run the service until SIGTERM or SIGINT, as `services.common.process.run` does.

    `make` is called once, in the running event loop. Configuration, logs, store client, directory, logins, TLS,
    listeners, admin port, signals, reloads and the drain are taken care of here.
    """

    async def serve(process: Process) -> None:
        await _Service(process, make).serve()

    processes.run(name, serve)


class _Service:
    """One front end in one process, from its parts to its end."""

    def __init__(self, process: Process, make: Make) -> None:
        """Raises StartError."""
        self._process = process
        configuration = process.configuration
        self._options: Live[Any] = configuration.part(lambda value: getattr(value, process.name))
        self._tls = _server_tls(configuration.value, self._options.value)
        self._directory = open_directory(configuration, process.observer)
        self._client = _store_client(process)
        self._names = HostNames(configuration.value.access.nameservers, observer=process.observer)
        self._badguys = self._open_badguys()
        self._runtime = self._make_runtime()
        self._front = make(self._runtime)
        self._server = StreamServer(
            process.name,
            self._front.connect,
            self._options,
            refusals=self._front.refusals,
            registry=self._runtime.registry,
            observer=process.observer,
            slots=self._runtime.slots,
            tls=self._tls,
            tracer=process.tracer,
            access=configuration.part(lambda value: value.access),
            names=self._names,
            badguys=self._badguys,
        )

    async def serve(self) -> None:
        """Start, wait, drain. Raises StartError."""
        process = self._process
        self._client.sessions.attach(self._runtime.registry)
        process.reloader.refresh.append(lambda value: self._tls.load(value.tls))
        process.configuration.subscribe(self._client.reconfigure)
        process.health.checks.update(
            store=lambda: self._client.ready,
            contract=lambda: self._client.understood,
            directory=lambda: self._directory.ready,
        )
        self._watch_slots()
        try:
            await self._listen()
            process.started()
            await process.stopping.wait()
            await self._server.drain(self._options.value.drainseconds)
        finally:
            await self._close()

    def _open_registry(self) -> SessionRegistry:
        access, workers = self._process.configuration.value.access, int(self._options.value.numprocesses)
        counts = open_counts(access.statefile, self._process.name, self._process.worker, workers)
        return SessionRegistry(ipv6prefix=access.ipv6prefix, shared=counts)

    def _open_badguys(self) -> BadGuys | None:
        """None for a service where nobody logs in."""
        if not hasattr(self._options.value, "bgpenalty"):
            return None
        observer, configuration = self._process.observer, self._process.configuration
        badguys = BadGuys(
            configuration.part(lambda value: value.access),
            lambda: int(self._options.value.bgpenalty),
            open_marks(configuration.value.access.statefile),
            observer,
        )
        observer.watch_each(
            "held_addresses", "Addresses that failed logins or an administrator hold something against.", "state",
            badguys.counts,
        )  # fmt: skip
        return badguys

    async def _listen(self) -> None:
        shared = self._options.value.numprocesses > 1
        try:
            await self._server.listen(self._front.listeners(), reuse_port=shared)
        except OSError as error:
            raise StartError(f"cannot listen: {error}") from None
        except CertificateUnavailable:
            raise StartError("a TLS port is to be opened and there is no certificate") from None
        for listener, address, port in self._server.addresses:
            self._process.log.info("listening", address=address, port=port, tls=listener.tls)

    async def _close(self) -> None:
        await self._server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._front.close()
        for reader in self._runtime.readers:
            reader.close()
        await self._client.close()
        self._directory.close()

    def _make_runtime(self) -> Runtime:
        process, options = self._process, self._options
        configuration, observer = process.configuration, process.observer
        directory = ObservedDirectory(self._directory, observer)
        login = Login(
            directory, configuration.part(lambda value: value.directory), observer, self._names, self._badguys
        )
        return Runtime(
            name=process.name,
            configuration=configuration,
            options=options,
            store=self._client,
            feed=self._client.feed,
            account_feed=self._client.feed,
            directory=directory,
            login=login,
            registry=self._open_registry(),
            observer=observer,
            slots=CommandSlots(lambda: int(options.value.maxthreads)),
            worker=process.worker,
        )

    def _watch_slots(self) -> None:
        slots, watch = self._runtime.slots, self._process.observer.watch
        watch("commands_running", "Commands that hold a slot of maxthreads.", lambda: slots.running)
        for name, documentation, read in self._directory.gauges:
            watch(name, documentation, read)
        watch("commands_waiting", "Commands that wait for a slot of maxthreads.", lambda: slots.waiting)
        watch("commands_limit", "Slots of maxthreads.", lambda: self._options.value.maxthreads)


def _server_tls(configuration: Configuration, options: Any) -> ServerTls:
    try:
        return ServerTls(configuration.tls, asked_of_clients(options))
    except CertificateError as error:
        raise StartError(str(error)) from None


def _store_client(process: Process) -> StoreClient:
    try:
        return connect(process.configuration.value, process.name, process.observer)
    except OSError as error:
        raise StartError(f"store client: {error}") from None
