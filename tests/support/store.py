"""`StoreFixture`: the real store behind a real gRPC server in this process, and a client of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from services.common.bodyreader import BodyReader, open_reader
from services.common.domain import Account, AppendItem, Quota
from services.common.options import Configuration, StoreOptions
from services.common.storeclient import CallObserver, StoreClient, connect
from services.store.backends.memory import MemoryBodyStore, open_memory
from services.store.backends.sqlite import SqliteDatabase
from services.store.embedded import EmbeddedStore
from services.store.mailstore import MailStore
from services.store.maintenance import EmbeddedMaintenance, NoMaintenance
from services.store.server import StoreServer, listeners_of


def spoil(bodies: MemoryBodyStore, number: int) -> None:
    """Let the body that was kept as the so manieth be another than was kept."""
    kept = bodies._bodies
    kept[number - 1] = b"?" * len(kept[number - 1])


class StoreFixture:
    """`async with StoreFixture() as store:` and `store.client` and `store.bodies` are ready.

    `backend` is "memory" or "sqlite" (in `folder`, by default one of its own that is removed at the end). `options` are
    the store's. `stop` and `start` take the store away and bring it back on the same socket; a memory backend keeps
    what it held.
    """

    def __init__(
        self,
        backend: str = "memory",
        *,
        folder: Path | None = None,
        options: StoreOptions | None = None,
        role: str = "admin",
        observer: CallObserver | None = None,
    ) -> None:
        self._own_folder = folder is None
        # Short: the path of a socket has 107 bytes.
        self.folder = folder or Path(tempfile.mkdtemp(prefix="mk"))
        self.configuration = Configuration(str(self.folder), store=options or StoreOptions())
        self._backend = backend
        self._role = role
        self._observer = observer
        self._memory: tuple[SqliteDatabase, MemoryBodyStore] | None = None
        self._embedded: EmbeddedStore | None = None
        self._server: StoreServer | None = None
        self._clients: list[StoreClient] = []
        self.store: MailStore
        self.client: StoreClient
        self.bodies: BodyReader

    async def __aenter__(self) -> Self:
        await self.start()
        self.client = await self.connect(self._role, self._observer)
        self.bodies = open_reader(self.configuration, self.client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bodies.close()
        for client in self._clients:
            await client.close()
        await self.stop()
        if self._memory is not None:
            database, bodies = self._memory
            await bodies.close()
            await database.close()
        if self._own_folder:
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def connect(self, role: str, observer: CallObserver | None = None) -> StoreClient:
        """Another client, as a process of its own with that role; closed with the fixture."""
        client = connect(self.configuration, role, observer)
        self._clients.append(client)
        await client.wait_ready(10)
        return client

    async def start(self) -> None:
        """Bring the store (back) up."""
        options = self.configuration.store
        if self._backend == "sqlite":
            path = str(self.folder / options.path)
            self._embedded = embedded = await EmbeddedStore.open(path, options)
            self.store = MailStore(embedded.database, embedded.bodies, options)
            maintenance: EmbeddedMaintenance | NoMaintenance = EmbeddedMaintenance(path, embedded.compactor)
        else:
            self._memory = self._memory or await open_memory()
            self.store = MailStore(*self._memory, options)
            maintenance = NoMaintenance()
        self.store.start()
        listeners = listeners_of(options, self.configuration.data)
        self._server = StoreServer(self.store, maintenance, listeners, lambda: self.configuration.store.maxmessagesize)
        await self._server.start()

    async def stop(self, seconds: float = 0) -> None:
        """Take the store away; calls that run have `seconds` to end."""
        server, self._server = self._server, None
        if server is None:
            return
        await server.stop(seconds)
        await self.store.close()
        if self._embedded is not None:
            await self._embedded.close()
            self._embedded = None

    def damage(self, number: int) -> None:
        """Spoil the body that was kept as the so manieth; of a store in memory."""
        assert self._memory is not None
        spoil(self._memory[1], number)

    def reconfigure(self, **options: int | str) -> None:
        """Change options of the store while it runs."""
        store = replace(self.configuration.store, **options)  # type: ignore[arg-type]
        self.configuration = replace(self.configuration, store=store)
        self.store.reload(store)

    async def account(self, name: str = "ada@example.org", *bodies: bytes) -> Account:
        """An account, with these messages in its INBOX."""
        account = await self.store.open_account(name)
        if bodies:
            items = [AppendItem(body) for body in bodies]
            await self.store.append(account.account_id, "INBOX", items, Quota(), request_id=str(uuid.uuid4()))
        return account
