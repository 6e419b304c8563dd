"""A POP3 service for tests: the real front end over a real store, in this process, on free ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

from services.common.accessoptions import AccessOptions
from services.common.bodyreader import BodyReader
from services.common.directory import Directory, Status
from services.common.domain import INBOX, AccountId, AppendItem, Quota
from services.common.listening import Listener
from services.common.live import Live
from services.common.login import Login
from services.common.options import Configuration, DirectoryOptions, PopOptions
from services.common.sasloptions import SaslOptions
from services.common.sharedoptions import TlsOptions
from services.common.store import Store
from services.common.streamserver import StreamServer
from services.common.telemetry import NO_OBSERVER
from services.common.tls import ServerTls, asked_of_clients
from services.pop.frontend import PopFrontEnd
from tests.support.certificates import Certificate
from tests.support.people import PASSWORD, People

USER: Final = "anna@example.com"
OTHER: Final = "other@example.com"
CLOSED: Final = "closed@example.com"
ADMIN: Final = "admin@example.com"
UMLAUT: Final = "jürgen@example.com"

MESSAGES: Final[dict[str, bytes]] = {
    "one": b"Subject: one\r\n\r\nThe first message.\r\n",
    "two": b"Subject: two\r\n\r\nThe second one.\r\n",
    "dots": b".first: line\r\nSubject: dots\r\n\r\n.\r\n..\r\n.x\r\na\n.b\r.c\r\n",
    "unended": b"Subject: unended\r\n\r\nno line end",
    "lines": b"Subject: lines\r\n\r\none\r\n.two\r\nthree\r\n",
    "headless": b"Subject: headless\r\n",
    "internationalised": "Subject: Grüße\r\n\r\nÄhm.\r\n".encode(),
    "latin": "Subject: Grüße\r\n\r\nx\r\n".encode("latin-1"),
    "body8": "Subject: plain\r\n\r\nGrüße\r\n".encode(),
    "large": b"Subject: large\r\n\r\n" + b"0123456789.\r\n.\r\n" * 70_000,
    "largeinternationalised": "Subject: größer\r\n\r\n".encode() + b"0123456789.\r\n.\r\n" * 70_000,
}


def people(access: Mapping[str, tuple[str, ...]] | None = None) -> People:
    """Who may log in, and the access rules of accounts."""
    passwords = dict.fromkeys((USER, OTHER, CLOSED, ADMIN), PASSWORD)
    return People(
        {**passwords, UMLAUT: "grüße"},
        {CLOSED: Status.INACTIVE},
        access=access or {},
        administrators=frozenset({ADMIN}),
    )


async def fill(store: Store, messages: Sequence[bytes], account: str = USER) -> AccountId:
    """Put messages into an INBOX."""
    account_id = (await store.open_account(account)).account_id
    for start in range(0, len(messages), 100):
        items = [AppendItem(body) for body in messages[start : start + 100]]
        await store.append(account_id, INBOX, items, Quota(), request_id=str(uuid4()))
    return account_id


@dataclass(slots=True)
class PopService:
    """A running service. `configuration` is live."""

    server: StreamServer
    front: PopFrontEnd
    configuration: Live[Configuration]

    async def connect(self, *, tls: bool = False, **rest: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection to the plain port or, with `ssl` in `rest`, to the TLS port."""
        return await asyncio.open_connection("127.0.0.1", self.port(tls=tls), **rest)

    async def emptied(self) -> None:
        """Wait until no session and no lock is left."""
        async with asyncio.timeout(30):
            while len(self.server):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.001)
        await self.front.maildrops.settled()

    def port(self, *, tls: bool = False) -> int:
        """The port that is listened on."""
        return next(port for listener, _, port in self.server.addresses if listener.tls == tls)


def configuration(
    pop: PopOptions, certificate: Certificate | None, sasl: SaslOptions, client_tls: Mapping[str, str] | None = None
) -> Configuration:
    """Options for a test: refusals are not delayed."""
    files = (str(certificate.certfile), str(certificate.keyfile)) if certificate else ("", "")
    return Configuration(
        data="",
        pop=pop,
        directory=DirectoryOptions(faildelay=0),
        sasl=sasl,
        tls=TlsOptions(certfile=files[0], keyfile=files[1], **dict(client_tls or {})),
    )


@asynccontextmanager
async def pop_service(
    store: Store,
    bodies: BodyReader,
    *,
    pop: PopOptions | None = None,
    certificate: Certificate | None = None,
    sasl: SaslOptions | None = None,
    client_tls: Mapping[str, str] | None = None,
    trusted: Sequence[str] = (),
    directory: Directory | None = None,
    tick: float = 0.02,
) -> AsyncIterator[PopService]:
    """A service for the time of a test."""
    live = Live(
        replace(
            configuration(pop or PopOptions(), certificate, sasl or SaslOptions(), client_tls),
            access=AccessOptions(trustedproxies=tuple(trusted)),
        )
    )
    login = Login(directory or people(), live.part(lambda value: value.directory), NO_OBSERVER)
    front = PopFrontEnd(live, store, bodies, login)
    options: Live[Any] = live.part(lambda value: value.pop)
    tls = ServerTls(live.value.tls, asked_of_clients(live.value.pop))
    server = StreamServer(
        "pop",
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
    try:
        yield PopService(server, front, live)
    finally:
        await server.close()
        await front.close()
