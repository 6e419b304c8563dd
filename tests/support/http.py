"""An HTTP service for tests: the real front end over a real store, in this process, on free ports."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from io import BytesIO
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp

from services.common.accessoptions import AccessOptions
from services.common.directory import Directory, Status
from services.common.listening import Listener
from services.common.live import Live
from services.common.login import Login
from services.common.options import Configuration, DirectoryOptions, HttpOptions
from services.common.sasloptions import SaslOptions
from services.common.sharedoptions import TlsOptions
from services.common.streamserver import StreamServer
from services.common.telemetry import NO_OBSERVER
from services.common.tls import ServerTls, asked_of_clients
from services.http.frontend import HttpFrontEnd
from services.http.service import HttpService
from tests.support.certificates import Certificate
from tests.support.opensslca import ClientPair
from tests.support.people import PASSWORD, People
from tests.support.store import StoreFixture

USER: Final = "anna@example.com"
OTHER: Final = "other@example.com"
CORE: Final = "urn:ietf:params:jmap:core"
MAIL: Final = "urn:ietf:params:jmap:mail"
CLOSED: Final = "closed@example.com"


def people() -> People:
    """Who may log in."""
    return People(dict.fromkeys((USER, OTHER, CLOSED), PASSWORD), {CLOSED: Status.INACTIVE})


@dataclass(slots=True)
class HttpFixture:
    """A running service. `configuration` is live."""

    server: StreamServer
    service: HttpService
    configuration: Live[Configuration]
    directory: Directory

    def port(self, *, tls: bool = False) -> int:
        """The port that is listened on."""
        return next(port for listener, _, port in self.server.addresses if listener.tls == tls)

    async def connect(self, *, tls: bool = False, **rest: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection."""
        return await asyncio.open_connection("127.0.0.1", self.port(tls=tls), **rest)

    async def say(self, text: str, *, tls: bool = False, **rest: Any) -> str:
        """Send octets on a connection of their own and read to its end."""
        reader, writer = await self.connect(tls=tls, **rest)
        writer.write(text.encode())
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        return answer.decode()

    @asynccontextmanager
    async def browser(
        self, certificate: Certificate | None = None, own: ClientPair | None = None
    ) -> AsyncIterator[Browser]:
        """A client that keeps cookies; with the server's certificate by HTTPS, and perhaps with one of its own."""
        context = certificate.client_context() if certificate else None
        if context and own:
            own.context(context)
        base = f"https://localhost:{self.port(tls=True)}" if certificate else f"http://127.0.0.1:{self.port()}"
        connector = aiohttp.TCPConnector(ssl=context if context else True)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield Browser(session, base)


@dataclass(slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


@dataclass(slots=True)
class Browser:
    """A client that keeps its cookies and follows nothing by itself."""

    session: aiohttp.ClientSession
    base: str
    cookies: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, **rest: Any) -> Reply:
        """A request; `headers` and `data` in `rest`."""
        headers = {"User-Agent": "Browser/1", **rest.pop("headers", {})}
        if self.cookies:
            headers.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        if len(rest.get("data") or b"") > 1 << 20:
            rest["data"] = BytesIO(rest["data"])
        async with self.session.request(
            method, self.base + path, headers=headers, allow_redirects=False, **rest
        ) as response:
            reply = Reply(response.status, response.headers, await response.read())
        for text in response.headers.getall("Set-Cookie", []):
            for name, morsel in SimpleCookie(text).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return reply

    async def get(self, path: str, **rest: Any) -> Reply:
        """GET."""
        return await self.ask("GET", path, **rest)

    async def send(self, path: str, headers: Mapping[str, str] | None = None, **fields: str) -> Reply:
        """POST a form."""
        kind = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return await self.ask("POST", path, headers=kind, data=urlencode(fields))

    async def log_in(self, user: str = USER, password: str = PASSWORD, **rest: Any) -> Reply:
        """By the form."""
        return await self.send("/login", name=user, password=password, **rest)


@dataclass(slots=True)
class Jmap:
    """A JMAP client by Basic."""

    browser: Browser
    user: str = USER
    account: str = ""
    session: dict[str, Any] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """Who asks."""
        return {"Authorization": "Basic " + b64encode(f"{self.user}:{PASSWORD}".encode()).decode()}

    async def start(self) -> None:
        """Read the session object."""
        reply = await self.browser.get("/.well-known/jmap", headers=self.headers)
        assert reply.status == 200, reply.text
        self.session = json.loads(reply.body)
        self.account = self.session["primaryAccounts"][MAIL]

    async def post(self, body: bytes, **headers: str) -> Reply:
        """A request as it stands."""
        return await self.browser.ask(
            "POST", "/jmap", headers={**self.headers, "Content-Type": "application/json", **headers}, data=body
        )

    async def request(self, *calls: tuple[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        """Calls with the ids 0, 1, ...; the account is filled in."""
        invocations = [
            [name, arguments if name == "Core/echo" else {"accountId": self.account, **arguments}, str(number)]
            for number, (name, arguments) in enumerate(calls)
        ]
        document = {"using": [CORE, MAIL], "methodCalls": invocations, **more}
        reply = await self.post(json.dumps(document).encode())
        assert reply.status == 200, reply.text
        found: dict[str, Any] = json.loads(reply.body)
        return found

    async def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """One call that succeeds."""
        answer = await self.request((name, arguments))
        [[said, result, _]] = answer["methodResponses"]
        assert said == name, answer
        found: dict[str, Any] = result
        return found

    async def refused(self, name: str, **arguments: Any) -> dict[str, Any]:
        """One call that fails."""
        [[said, result, _]] = (await self.request((name, arguments)))["methodResponses"]
        assert said == "error", result
        found: dict[str, Any] = result
        return found

    async def mailboxes(self) -> dict[str, str]:
        """Ids by names; a mailbox below another by its own name alone."""
        return {box["name"]: box["id"] for box in (await self.call("Mailbox/get"))["list"]}

    async def upload(self, data: bytes, kind: str = "application/octet-stream") -> dict[str, Any]:
        """A blob."""
        path = f"/jmap/upload/{self.account}/"
        reply = await self.browser.ask("POST", path, headers={**self.headers, "Content-Type": kind}, data=data)
        assert reply.status == 201, reply.text
        found: dict[str, Any] = json.loads(reply.body)
        return found

    async def download(self, blob: str, name: str = "x", query: str = "", **headers: str) -> Reply:
        """A blob's octets."""
        path = f"/jmap/download/{self.account}/{blob}/{name}{query}"
        return await self.browser.get(path, headers={**self.headers, **headers})


@asynccontextmanager
async def jmap_client(http: HttpFixture, user: str = USER) -> AsyncIterator[Jmap]:
    """A client that has read its session object."""
    async with http.browser() as browser:
        client = Jmap(browser, user)
        await client.start()
        yield client


@asynccontextmanager
async def http_service(
    store: StoreFixture,
    *,
    http: HttpOptions | None = None,
    certificate: Certificate | None = None,
    directory: Directory | None = None,
    sasl: SaslOptions | None = None,
    client_tls: Mapping[str, str] | None = None,
    access: AccessOptions | None = None,
    tick: float = 0.02,
) -> AsyncIterator[HttpFixture]:
    """A service for the time of a test. Refusals are not delayed, and passwords are taken in clear unless told."""
    files = (str(certificate.certfile), str(certificate.keyfile)) if certificate else ("", "")
    live = Live(
        Configuration(
            data="",
            http=http or HttpOptions(plaintextmincipher=0),
            directory=DirectoryOptions(faildelay=0),
            sasl=sasl or SaslOptions(),
            access=access or AccessOptions(),
            tls=TlsOptions(certfile=files[0], keyfile=files[1], **dict(client_tls or {})),
        )
    )
    known = directory or people()
    login = Login(known, live.part(lambda value: value.directory), NO_OBSERVER)
    service = HttpService(store.client, store.client.feed, store.bodies, login, known, live)
    front = HttpFrontEnd(service)
    options: Live[Any] = live.part(lambda value: value.http)
    tls = ServerTls(live.value.tls, asked_of_clients(live.value.http))
    server = StreamServer(
        "http", front.connect, options, refusals=front.refusals, tls=tls, tick=tick,
        access=live.part(lambda value: value.access),
    )  # fmt: skip
    listeners = [Listener("127.0.0.1", 0)]
    if certificate is not None:
        listeners.append(Listener("127.0.0.1", 0, tls=True))
    await server.listen(listeners)
    try:
        yield HttpFixture(server, service, live, known)
    finally:
        await server.close()
        await front.close()
