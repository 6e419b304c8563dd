"""The rows of the contract suite: every way to have a store. A new backend is one more row."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from services.common.domain import AccountId, MailboxId, Quota
from services.common.options import Configuration, StoreOptions
from services.common.store import Store
from services.common.storeclient import connect
from services.common.storeclient.channel import target_of
from services.common.tracing import Tracer
from services.store.backends import Database, Transaction
from services.store.backends.memory import open_memory
from services.store.embedded import EmbeddedStore
from services.store.invariants import INVARIANTS
from services.store.mailstore import MailStore
from services.store.maintenance import NoMaintenance
from services.store.server import StoreServer, listeners_of

OPTIONS: Final = StoreOptions(maxmessagesize=1 << 20, maxmailboxes=20)
FREE: Final = Quota()


@dataclass(slots=True)
class Clock:
    """Time that stands still until a test moves it."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now


@dataclass(slots=True)
class OpenStore:
    """A store under test. `store` is what the contract is about; `rules` does what happens in the background."""

    store: Store
    rules: MailStore
    database: Database
    clock: Clock = field(default_factory=Clock)

    async def findings(self) -> list[str]:
        """What is wrong among the rows; nothing, unless there is a bug."""

        async def rule(tx: Transaction) -> list[str]:
            return [f"{kind}: {row}" for kind, query in INVARIANTS.items() for row in await tx.fetch(query)]

        return await self.database.read(rule)


Opener = Callable[[Path], AbstractAsyncContextManager[OpenStore]]


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[OpenStore]:
    """Nothing on disk."""
    database, bodies = await open_memory()
    clock = Clock()
    rules = MailStore(database, bodies, OPTIONS, clock=clock)
    try:
        yield OpenStore(rules, rules, database, clock)
    finally:
        await rules.close()
        await bodies.close()
        await database.close()


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[OpenStore]:
    """SQLite and segment files."""
    engine = await EmbeddedStore.open(str(folder), OPTIONS)
    clock = Clock()
    rules = MailStore(engine.database, engine.bodies, OPTIONS, clock=clock)
    try:
        yield OpenStore(rules, rules, engine.database, clock)
    finally:
        await rules.close()
        await engine.close()


@asynccontextmanager
async def over_frames(_: Path) -> AsyncIterator[OpenStore]:
    """In memory, behind a server and a client on the same machine."""
    async with served(frames=True) as opened:
        yield opened


@asynccontextmanager
async def over_grpc(_: Path) -> AsyncIterator[OpenStore]:
    """In memory, behind a server and a client that use gRPC alone, as from another machine."""
    async with served(frames=False) as opened:
        yield opened


@asynccontextmanager
async def served(*, frames: bool, tracer: Tracer | None = None) -> AsyncIterator[OpenStore]:
    """In memory, behind a server and a client."""
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="mk")  # the path of a socket has 107 bytes
    configuration = Configuration(folder, store=OPTIONS)
    async with memory(Path(folder)) as opened:
        server = StoreServer(
            opened.rules, NoMaintenance(), listeners_of(OPTIONS, folder), lambda: OPTIONS.maxmessagesize, tracer=tracer
        )
        await server.start()
        target = target_of(configuration)
        client = connect(configuration, "admin", target=target if frames else replace(target, frames=""))
        try:
            await client.wait_ready(10)
            yield replace(opened, store=client)
        finally:
            await client.close()
            await server.stop(0)
            await asyncio.to_thread(shutil.rmtree, folder)


BACKENDS: Final[dict[str, Opener]] = {"memory": memory, "sqlite": embedded, "frames": over_frames, "grpc": over_grpc}


def request() -> str:
    """A new request id."""
    return str(uuid.uuid4())


def mail(
    subject: str = "Hello", text: str = "Some text.", *, message_id: str = "", references: str = "", extra: str = ""
) -> bytes:
    """A small message."""
    lines = [f"Subject: {subject}", "From: Ada <ada@example.org>", "To: Bob <bob@example.org>"]
    lines += [f"Message-ID: {message_id}"] if message_id else []
    lines += [f"References: {references}"] if references else []
    lines += [extra] if extra else []
    return "\r\n".join([*lines, "", text, ""]).encode()


@dataclass(frozen=True, slots=True)
class Ids:
    """An account and one of its mailboxes."""

    account: AccountId
    mailbox: MailboxId
