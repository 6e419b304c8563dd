"""An IMAP service for tests: the real front end over a real store, in this process, on free ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from services.common.accessoptions import AccessOptions
from services.common.bodyreader import BodyReader
from services.common.directory import Directory
from services.common.domain import INBOX, AccountId, AppendItem, BodyRef, Column, MailboxDelta, MailboxId, Quota
from services.common.listening import Listener
from services.common.live import Live
from services.common.login import Login
from services.common.options import Configuration, DirectoryOptions, ImapOptions
from services.common.sasloptions import SaslOptions
from services.common.sharedoptions import TlsOptions
from services.common.store import ChangeFeed, Store
from services.common.streamserver import StreamServer
from services.common.telemetry import NO_OBSERVER
from services.common.tls import ServerTls, asked_of_clients
from services.imap.frontend import ImapFrontEnd
from services.imap.service import ImapService
from services.store.backends.memory import open_memory
from services.store.changes import ChangeHub
from services.store.mailstore import MailStore
from tests.support.certificates import Certificate
from tests.support.people import PASSWORD, People

USER: Final = "anna@example.com"
OTHER: Final = "other@example.com"


class LocalFeed:
    """`services.common.store.ChangeFeed` straight from the rules' hub."""

    def __init__(self, hub: ChangeHub) -> None:
        self._subscription = hub.subscribe()
        self._listeners: dict[tuple[AccountId, MailboxId], Callable[[MailboxDelta], None]] = {}
        self._task = asyncio.get_running_loop().create_task(self._run())

    def follow(
        self, account_id: AccountId, mailbox_id: MailboxId, since: int, listener: Callable[[MailboxDelta], None]
    ) -> None:
        """See `ChangeFeed.follow`."""
        self._listeners[account_id, mailbox_id] = listener
        self._subscription.follow(account_id, mailbox_id, since)

    def unfollow(self, account_id: AccountId, mailbox_id: MailboxId) -> None:
        """See `ChangeFeed.unfollow`."""
        self._listeners.pop((account_id, mailbox_id), None)
        self._subscription.unfollow(account_id, mailbox_id)

    async def close(self) -> None:
        """No more changes."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._subscription.close()

    async def _run(self) -> None:
        while True:
            delta = await self._subscription.next()
            listener = self._listeners.get((delta.account_id, delta.status.mailbox_id))
            if listener is not None:
                listener(delta)


class StoreBodies:
    """Bodies asked of the store each time, or, with `at_once`, kept in memory after that."""

    def __init__(self, store: Store, *, at_once: bool = True) -> None:
        self._store = store
        self._at_once = at_once
        self._kept: dict[BodyRef, bytes] = {}

    def read_now(self, ref: BodyRef) -> bytes | None:
        """See `BodyReader.read_now`."""
        return self._kept.get(ref)

    async def read_many(self, account_id: AccountId, refs: Sequence[BodyRef]) -> list[bytes]:
        """See `BodyReader.read_many`."""
        bodies = list(await self._store.read_bodies(account_id, refs))
        if self._at_once:
            self._kept.update(zip(refs, bodies, strict=True))
        return bodies

    async def read(self, account_id: AccountId, ref: BodyRef) -> bytes:
        """See `BodyReader.read`."""
        return (await self.read_many(account_id, [ref]))[0]

    def close(self) -> None:
        """See `BodyReader.close`."""

    async def stream(self, account_id: AccountId, ref: BodyRef, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """See `BodyReader.stream`."""
        async for piece in self._store.stream_body(account_id, ref, offset):
            yield piece


async def fill(store: Store, messages: Sequence[bytes], account: str = USER, mailbox: str = INBOX) -> AccountId:
    """Put messages into a mailbox."""
    account_id = (await store.open_account(account)).account_id
    for start in range(0, len(messages), 100):
        items = [AppendItem(body) for body in messages[start : start + 100]]
        await store.append(account_id, mailbox, items, Quota(), request_id=f"fill-{account}-{mailbox}-{start}")
    return account_id


async def rescued(running: RunningImap, *uids: int) -> None:
    """Wait until the process has what it needs to show messages of USER's INBOX after another one expunged them."""
    account_id = (await running.store.open_account(USER)).account_id
    status = await running.store.get_mailbox(account_id, INBOX)
    shared = running.service.mailboxes.get(account_id, status.mailbox_id)
    assert shared is not None
    for _ in range(4000):
        locations = shared.columns.get(Column.LOCATION)
        if locations and all(locations[shared.index(uid)] is not None for uid in uids):
            return
        await asyncio.sleep(0.005)
    raise AssertionError(shared.doomed)


@dataclass(slots=True)
class RunningImap:
    """A running service. `configuration` is live."""

    server: StreamServer
    service: ImapService
    configuration: Live[Configuration]
    store: Store
    feed: ChangeFeed
    clients: list[Client] = field(default_factory=list)

    async def connect(self, *, tls: bool = False, **rest: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection to the plain or to the TLS port."""
        return await asyncio.open_connection("127.0.0.1", self.port(tls=tls), **rest)

    def port(self, *, tls: bool = False) -> int:
        """The port that is listened on."""
        return next(port for listener, _, port in self.server.addresses if listener.tls == tls)

    async def client(self, user: str = USER, *, select: str = "") -> Client:
        """A client that is logged in and perhaps looks at a mailbox."""
        client = Client(*await self.connect())
        self.clients.append(client)
        await client.line()
        await client.ok(f'LOGIN {user} "{PASSWORD}"')
        if select:
            await client.ok(f"SELECT {select}")
        return client


def configuration(
    imap: ImapOptions, certificate: Certificate | None, sasl: SaslOptions, client_tls: Mapping[str, str] | None = None
) -> Configuration:
    """Options for a test: refusals are not delayed."""
    files = (str(certificate.certfile), str(certificate.keyfile)) if certificate else ("", "")
    return Configuration(
        data="",
        imap=imap,
        directory=DirectoryOptions(faildelay=0),
        sasl=sasl,
        tls=TlsOptions(certfile=files[0], keyfile=files[1], **dict(client_tls or {})),
    )


@asynccontextmanager
async def imap_service(
    store: Store,
    feed: ChangeFeed,
    bodies: BodyReader,
    *,
    imap: ImapOptions | None = None,
    certificate: Certificate | None = None,
    sasl: SaslOptions | None = None,
    client_tls: Mapping[str, str] | None = None,
    trusted: Sequence[str] = (),
    people: Directory | None = None,
    tick: float = 0.02,
) -> AsyncIterator[RunningImap]:
    """A service for the time of a test."""
    live = Live(
        replace(
            configuration(imap or ImapOptions(), certificate, sasl or SaslOptions(), client_tls),
            access=AccessOptions(trustedproxies=tuple(trusted)),
        )
    )
    login = Login(
        people or People(dict.fromkeys((USER, OTHER), PASSWORD)), live.part(lambda value: value.directory), NO_OBSERVER
    )
    service = ImapService(store, feed, bodies, login, live)
    front = ImapFrontEnd(service)
    options: Live[Any] = live.part(lambda value: value.imap)
    tls = ServerTls(live.value.tls, asked_of_clients(live.value.imap))
    server = StreamServer(
        "imap",
        front.connect,
        options,
        refusals=front.refusals,
        tls=tls,
        tick=tick,
        access=live.part(lambda value: value.access),
    )
    listeners = [Listener("127.0.0.1", 0)]
    if certificate is not None:
        listeners.append(Listener("127.0.0.1", 0, tls=True))
    await server.listen(listeners)
    running = RunningImap(server, service, live, store, feed)
    try:
        yield running
    finally:
        for client in running.clients:
            await client.close()
        await server.close()
        await front.close()


@asynccontextmanager
async def local_imap(messages: Sequence[bytes] = (), **options: Any) -> AsyncIterator[RunningImap]:
    """A service over the rules in this process, with nothing on disk; `messages` are in INBOX."""
    database, bodies = await open_memory()
    store = MailStore(database, bodies)
    feed = LocalFeed(store.hub)
    try:
        await fill(store, messages)
        async with imap_service(store, feed, StoreBodies(store), **options) as running:
            yield running
    finally:
        await feed.close()
        await store.close()
        await bodies.close()
        await database.close()


class Client:
    """A client that says one thing at a time and reads whole responses, literals included."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._number = 0

    async def line(self, seconds: float = 30.0) -> bytes:
        """The next response with its literals, without the last CRLF."""
        data = await asyncio.wait_for(self.reader.readuntil(b"\r\n"), seconds)
        while data.endswith(b"}\r\n") and (start := data.rfind(b"{")) >= 0:
            size = int(data[start + 1 : -3])
            data += await self.reader.readexactly(size)
            data += await self.reader.readuntil(b"\r\n")
        return data[:-2]

    def send(self, command: str | bytes) -> bytes:
        """Say a command; its tag."""
        self._number += 1
        tag = b"a%d" % self._number
        self.writer.write(tag + b" " + (command.encode() if isinstance(command, str) else command) + b"\r\n")
        return tag

    async def answer(self, tag: bytes) -> list[bytes]:
        """Every response up to the tagged one, which is the last."""
        lines = [await self.line()]
        while not lines[-1].startswith(tag + b" "):
            lines.append(await self.line())
        return lines

    async def do(self, command: str | bytes) -> list[bytes]:
        """A command's untagged responses, and the tagged one without its tag."""
        tag = self.send(command)
        lines = await self.answer(tag)
        lines[-1] = lines[-1].removeprefix(tag + b" ")
        return lines

    async def ok(self, command: str | bytes) -> list[bytes]:
        """The untagged responses of a command that succeeds."""
        lines = await self.do(command)
        assert lines[-1].startswith(b"OK"), lines[-1]
        return lines[:-1]

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()
