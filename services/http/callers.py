"""Who asks: by the cookie of a login, or by a password or a token with each request, or by a client certificate.

The rules of a login (`plaintextmincipher`, statuses, filters, the delay of refusals) are those of every service.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import web

from services.common.directory import DirectoryUnavailable, Entry, LoginRefusal, LoginRefused
from services.http.credentials import (
    LoginCookie,
    cookie_name,
    cookies,
    from_here,
    read_basic,
    read_bearer,
    read_cookie,
)
from services.http.replies import Problem, unavailable

if TYPE_CHECKING:
    from services.common.accountids import AccountIds
    from services.common.authentication import Authentication, Identity
    from services.common.domain import AccountId
    from services.common.peer import Peer
    from services.http.connection import HttpConnection
    from services.http.logins import Logins

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CHALLENGE: Final = 'Basic realm="Mailkeep", charset="UTF-8"'
BEARER: Final = 'Bearer realm="Mailkeep"'

REFUSALS: Final[Mapping[LoginRefusal, str]] = {
    LoginRefusal.CREDENTIALS: "The name or the password is not right.",
    LoginRefusal.LOCKED: "The name or the password is not right.",
    LoginRefusal.INACTIVE: "The account cannot log in at present.",
    LoginRefusal.EXPIRED: "The password has expired.",
    LoginRefusal.MUST_CHANGE: "The password has to be changed first.",
    LoginRefusal.ELSEWHERE: "The mail of this account is on another server.",
    LoginRefusal.ACCESS: "The account cannot log in from here.",
    LoginRefusal.AUTHORIZATION: "The account cannot log in at present.",
    LoginRefusal.PLAINTEXT: "Passwords are not taken on this connection; use HTTPS.",
    LoginRefusal.SESSIONS: "The account has as many connections as it may.",
    LoginRefusal.BANNED: "Access from your address is closed for now.",
}
"""What a client is told of each refusal."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request is from. `login` is the cookie of a login; None: the request itself showed who it is."""

    account_id: AccountId
    entry: Entry
    login: LoginCookie | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The canonical name of the account."""
        return self.entry.account


class Callers:
    """Finds out who asks. Raises Problem, StoreError."""

    def __init__(self, authentication: Authentication, logins: Logins, accounts: AccountIds) -> None:
        self._authentication = authentication
        self._logins = logins
        self._accounts = accounts

    def takes_passwords(self, peer: Peer) -> bool:
        """Whether a password may be sent on such a connection."""
        return self._authentication.takes_passwords(peer)

    async def required(self, request: web.BaseRequest, connection: HttpConnection) -> Caller:
        """The caller. Raises Problem 401 where there is none."""
        caller = await self.found(request, connection)
        if caller is None:
            raise self._challenge(connection.peer, "Who are you?")
        return caller

    async def found(self, request: web.BaseRequest, connection: HttpConnection) -> Caller | None:
        """The caller; None where the request names nobody, or its login is over."""
        header = request.headers.get("Authorization")
        if header is None:
            caller = await self._by_cookie(request, connection) or await self._by_certificate(request, connection)
        else:
            caller = await self._by_header(header, connection)
        if caller is not None and not connection.belongs_to(caller.name):
            raise Problem(429, REFUSALS[LoginRefusal.SESSIONS], headers={"Retry-After": "30"})
        return caller

    async def log_in(self, name: str, password: str, connection: HttpConnection, agent: str) -> LoginCookie:
        """Begin a login. Raises LoginRefused, Problem 503."""
        return await self.begin(await self._proved(name, password, connection.peer), connection, agent)

    async def begin(self, entry: Entry, connection: HttpConnection, agent: str) -> LoginCookie:
        """Begin a login of who is known already. Raises LoginRefused (SESSIONS)."""
        peer = connection.peer
        account_id = await self._accounts.open(entry.account)
        if not connection.belongs_to(entry.account):
            raise LoginRefused(LoginRefusal.SESSIONS)
        connection.log.info("logged in", tls=peer.tls)
        return await self._logins.begin(account_id, entry, peer.address, agent)

    async def _by_cookie(self, request: web.BaseRequest, connection: HttpConnection) -> Caller | None:
        tls = connection.peer.tls
        text = cookies(request.headers.get("Cookie", "")).get(cookie_name(tls), "")
        cookie = read_cookie(text)
        if cookie is None:
            return None
        if request.method not in SAFE and not came_from_here(request, tls):
            raise Problem(403, "The request comes from another site.")
        try:
            found = await self._logins.find(cookie, connection.address)
        except DirectoryUnavailable:
            raise unavailable() from None
        return None if found is None else Caller(cookie.account_id, found[1], cookie)

    async def _by_header(self, header: str, connection: HttpConnection) -> Caller:
        peer = connection.peer
        basic, token = read_basic(header), read_bearer(header)
        try:
            if basic is not None:
                entry = await self._proved(*basic, peer)
            elif token is not None:
                entry = await self._identified(self._authentication.bearer(token, peer))
            else:
                raise self._challenge(peer, "The Authorization field is not understood.")
        except LoginRefused as refused:
            raise self._challenge(peer, REFUSALS[refused.kind]) from None
        return await self._caller(entry)

    async def _by_certificate(self, request: web.BaseRequest, connection: HttpConnection) -> Caller | None:
        """A browser shows its certificate by itself, like a cookie, whichever site made it send the request."""
        peer = connection.peer
        if peer.certificate is None:
            return None
        if request.method not in SAFE and not came_from_here(request, peer.tls):
            raise Problem(403, "The request comes from another site.")
        try:
            identity = await self._authentication.certified(peer)
        except LoginRefused as refused:
            raise Problem(403, REFUSALS[refused.kind]) from None
        except DirectoryUnavailable:
            raise unavailable("Nobody can log in at the moment.") from None
        return None if identity is None else await self._caller(identity.entry)

    async def _caller(self, entry: Entry) -> Caller:
        account_id = self._accounts.known(entry.account)
        return Caller(await self._accounts.open(entry.account) if account_id is None else account_id, entry)

    async def _identified(self, identity: Awaitable[Identity]) -> Entry:
        try:
            return (await identity).entry
        except DirectoryUnavailable:
            raise unavailable("Nobody can log in at the moment.") from None

    async def _proved(self, name: str, password: str, peer: Peer) -> Entry:
        if not self._authentication.takes_passwords(peer):
            raise LoginRefused(LoginRefusal.PLAINTEXT)
        try:
            credentials = self._authentication.prepared(name, password)
        except ValueError:
            raise LoginRefused(LoginRefusal.CREDENTIALS) from None
        cached = self._authentication.cached(credentials, peer)
        if cached is not None:
            return cached.entry
        return await self._identified(self._authentication.finish(credentials, peer))

    def _challenge(self, peer: Peer, detail: str) -> Problem:
        """401, with what may be sent; where nothing may, nothing is asked for."""
        ways = [CHALLENGE] * self.takes_passwords(peer) + [BEARER] * self._authentication.takes_tokens(peer)
        if ways:
            return Problem(401, detail, headers={"WWW-Authenticate": ", ".join(ways)})
        return Problem(403, REFUSALS[LoginRefusal.PLAINTEXT])


def came_from_here(request: web.BaseRequest, tls: bool) -> bool:
    """Whether no other site's page made the browser send it."""
    headers = request.headers
    return from_here(
        site=headers.get("Sec-Fetch-Site", ""),
        origin=headers.get("Origin", ""),
        host=headers.get("Host", ""),
        tls=tls,
    )
