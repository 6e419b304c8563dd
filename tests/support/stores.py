"""The rows of the contract suite: every way to have a store. A new backend is one more row."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.common.domain import AccountId, MailboxId, Quota
from services.common.options import StoreOptions
from services.common.store import Store
from services.store.backends.memory import open_memory
from services.store.embedded import EmbeddedStore
from services.store.mailstore import MailStore

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
    clock: Clock = field(default_factory=Clock)


Opener = Callable[[Path], AbstractAsyncContextManager[OpenStore]]


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[OpenStore]:
    """Nothing on disk."""
    database, bodies = await open_memory()
    clock = Clock()
    rules = MailStore(database, bodies, OPTIONS, clock=clock)
    try:
        yield OpenStore(rules, rules, clock)
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
        yield OpenStore(rules, rules, clock)
    finally:
        await rules.close()
        await engine.close()


BACKENDS: Final[dict[str, Opener]] = {"memory": memory, "sqlite": embedded}


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
