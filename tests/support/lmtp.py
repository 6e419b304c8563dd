"""An LMTP service for tests: the real front end over a real store, in this process, on free ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from services.common.directory import DirectoryUnavailable, Entry, Status, parse_name
from services.common.domain import Column, Quota
from services.common.listening import Listener
from services.common.live import Live
from services.common.options import Configuration, LmtpOptions, StoreOptions
from services.common.sharedoptions import TlsOptions
from services.common.store import Store
from services.common.streamserver import StreamServer
from services.common.tls import ClientCertificates, ServerTls
from services.lmtp.frontend import LmtpFrontEnd
from tests.support.certificates import Certificate
from tests.support.people import PASSWORD, People

USER: Final = "anna@example.com"
OTHER: Final = "other@example.com"
FULL: Final = "full@example.com"
STATUSES: Final = {
    "off@example.com": Status.DISABLED,
    "gone@example.com": Status.DELETED,
    "held@example.com": Status.HOLD,
    "asleep@example.com": Status.INACTIVE,
    "heavy@example.com": Status.OVERQUOTA,
    "removed@example.com": Status.REMOVED,
}
HOSTNAME: Final = "mail.example.com"


@dataclass(slots=True)
class Directory(People):
    """People, one of whom may hold next to nothing. `away`: it does not answer; `asked` counts."""

    away: bool = False
    asked: list[str] = field(default_factory=list)

    async def lookup(self, address: str) -> Entry:
        """See `Directory.lookup`."""
        self.asked.append(address)
        if self.away:
            raise DirectoryUnavailable
        entry = await People.lookup(self, address)
        return Entry(FULL, Quota(max_bytes=10)) if str(parse_name(address)) == FULL else entry


def people() -> Directory:
    """Who gets mail."""
    names = (USER, OTHER, FULL, "jürgen@example.com", "two words@example.com", "postmaster", *STATUSES)
    return Directory(dict.fromkeys(names, PASSWORD), STATUSES)


@dataclass(slots=True)
class LmtpService:
    """A running service. `configuration` is live."""

    server: StreamServer
    configuration: Live[Configuration]
    directory: Directory
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection to the port, or to the Unix socket where there is one; closed with the service."""
        ((listener, host, port), *_) = self.server.addresses
        opening = asyncio.open_unix_connection(listener.path) if listener.path else asyncio.open_connection(host, port)
        reader, writer = await opening
        self.writers.append(writer)
        return reader, writer

    async def emptied(self) -> None:
        """Wait until no session is left."""
        async with asyncio.timeout(30):
            while len(self.server):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.001)


@asynccontextmanager
async def lmtp_service(
    store: Store,
    *,
    lmtp: LmtpOptions | None = None,
    certificate: Certificate | None = None,
    clients: ClientCertificates = ClientCertificates.NONE,
    maxmessagesize: int = 52_428_800,
    path: Path | None = None,
    tick: float = 0.02,
) -> AsyncIterator[LmtpService]:
    """A service for the time of a test."""
    files = (str(certificate.certfile), str(certificate.keyfile)) if certificate else ("", "")
    tls = TlsOptions(certfile=files[0], keyfile=files[1], clientca=files[0])
    live = Live(
        Configuration("", lmtp=lmtp or LmtpOptions(), store=StoreOptions(maxmessagesize=maxmessagesize), tls=tls)
    )
    directory = people()
    front = LmtpFrontEnd(live, store, directory, HOSTNAME)
    options: Live[Any] = live.part(lambda value: value.lmtp)
    server = StreamServer(
        "lmtp", front.connect, options, refusals=front.refusals, tls=ServerTls(tls, clients), tick=tick
    )
    await server.listen([Listener(path=str(path), mode=0o666) if path else Listener("127.0.0.1", 0)])
    service = LmtpService(server, live, directory)
    try:
        yield service
    finally:
        for writer in service.writers:
            writer.close()
        await server.close()
        await front.close()


async def messages(store: Store, account: str, mailbox: str = "INBOX") -> list[bytes]:
    """All messages of a mailbox as clients see them, in the order of their UIDs; none where there is no account."""
    account_id = (await store.open_account(account)).account_id
    delta = await store.sync_mailbox(account_id, mailbox)
    if not len(delta.changed):
        return []
    columns = await store.fetch_columns(account_id, delta.status.mailbox_id, Column.LOCATION)
    return list(await store.read_bodies(account_id, columns.locations))
