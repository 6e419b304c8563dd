"""The directory over LDAP: who logs in, who gets mail."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Final

from services.common.certmap import CertificateQuery
from services.common.directory import (
    AddressUnknown,
    DirectoryUnavailable,
    Entry,
    LoginRefusal,
    LoginRefused,
    Throttled,
    parse_name,
)
from services.common.directory.ldap.answers import NoAnswer, refusal
from services.common.directory.ldap.domains import Domain
from services.common.directory.ldap.entries import Surroundings, entry_of
from services.common.directory.ldap.finding import Finder, NotUnique
from services.common.directory.ldap.lanes import Found
from services.common.directory.ldap.pool import Pool
from services.common.live import Live
from services.common.memory import Memory, Once
from services.common.options import Configuration, DirectoryOptions, LdapOptions
from services.common.telemetry import NO_OBSERVER, Observer, session_logger

REMEMBERED: Final = 10_000
MAX_TRIES: Final = 20
"""Passwords of one account that may wait to be tried; they are tried one after the other, so that who guesses one
account's password stands in nobody else's way."""
PROBE_SECONDS: Final = 10.0
MAX_NAME: Final = 512
"""Characters of a name or address that is looked for (RFC 3696 allows 254); a longer one is nobody's."""
MAX_PASSWORD: Final = 4096
"""So that a request has room in a connection's buffer, whatever a client sends."""
_LOG: Final = session_logger("directory")


class LdapDirectory:
    """Implements `services.common.directory.Directory`.

    A login is one search and one bind; the domain is remembered. Unknown names and wrong passwords are remembered for
    `directory.negativecachettl` seconds, so that who repeats one asks nobody.
    """

    generation = 1
    """What was answered before holds for its time: a directory does not tell of changes."""
    current = True

    def __init__(self, configuration: Live[Configuration], observer: Observer = NO_OBSERVER) -> None:
        """In the running event loop; connects when first asked."""
        self._options: Live[DirectoryOptions] = configuration.part(lambda value: value.directory)
        self._ldap: Live[LdapOptions] = configuration.part(lambda value: value.ldap)
        self.pool = Pool(self._ldap, observer)
        self.finder = Finder(self.pool, configuration)
        self._observer = observer
        self._key = os.urandom(32)
        self._unknown: Memory[str, bool] = Memory(REMEMBERED)
        self._wrong: Memory[bytes, LoginRefusal] = Memory(REMEMBERED)
        self._finding: Once[str, Entry] = Once()
        self._tries: dict[str, _Turn] = {}
        self._probe = asyncio.get_running_loop().create_task(self._probing())

    @property
    def ready(self) -> bool:
        """A server has answered since the start. An outage later takes no service away: remembered logins go on."""
        return self.pool.reached

    @property
    def gauges(self) -> Sequence[tuple[str, str, Callable[[], float]]]:
        """The servers and the pool."""
        pool = self.pool
        return (
            ("ldap_servers_up", "Directory servers that answered when they were last asked.", lambda: pool.servers_up),
            ("ldap_servers", "Directory servers that there are.", lambda: len(self._ldap.value.servers)),
            ("ldap_calls_running", "Questions that the directory is answering.", lambda: pool.busy),
            ("ldap_calls_waiting", "Questions that wait for a connection.", lambda: pool.waiting),
        )

    async def refresh(self) -> None:
        """See `Directory.refresh`: there is nothing to look at."""

    async def authenticate(self, name: str, password: str) -> Entry:
        """See `Directory.authenticate`; refusals of the password policy too (LOCKED, EXPIRED, MUST_CHANGE)."""
        if not password or len(password) > MAX_PASSWORD:
            raise LoginRefused(LoginRefusal.CREDENTIALS, "a very long password" if password else "an empty password")
        digest = self._digest(name, password)
        known = self._wrong.get(digest)
        if known is not None:
            self._observer.cache("wrong-passwords", True)
            raise LoginRefused(known, "refused a moment ago")
        entry = await self.account(name)
        refused = await self._try(entry, password)
        if refused is not None:
            if refused is LoginRefusal.CREDENTIALS:
                self._wrong.put(digest, refused, self._options.value.negativecachettl)
            raise LoginRefused(refused, _WHY.get(refused, ""))
        return entry

    async def account(self, name: str) -> Entry:
        """See `Directory.account`."""
        if len(name) > MAX_NAME:
            raise LoginRefused(LoginRefusal.CREDENTIALS, "a very long name")
        if self._unknown.get(name) is not None:
            self._observer.cache("unknown-names", True)
            raise LoginRefused(LoginRefusal.CREDENTIALS, "no such account, a moment ago")
        return await self._finding.run(name, lambda: self._find(name))

    async def by_certificate(self, query: CertificateQuery) -> Entry:
        """See `CertificateDirectory.by_certificate`."""
        try:
            found = await self.finder.by_certificate(query)
        except NotUnique as error:
            raise LoginRefused(LoginRefusal.CREDENTIALS, str(error)) from None
        domain = None if found is None else await self.finder.domain_of(found)
        if found is None or domain is None:
            raise LoginRefused(LoginRefusal.CREDENTIALS, "no entry" if found is None else f"no domain holds {found.dn}")
        return await self._entry(found, domain)

    async def lookup(self, address: str) -> Entry:
        """See `Directory.lookup`."""
        if len(address) > MAX_NAME:
            raise AddressUnknown
        name = parse_name(address)
        domain = await self.finder.domain(name, "%o")
        found = None
        if domain is not None:
            try:
                found = await self.finder.receiver(domain, name)
            except NotUnique as error:
                # Mail waits until the directory says whose it is.
                _LOG.error("an address of several accounts", address=address, why=str(error))
                raise DirectoryUnavailable(str(error)) from None
        if domain is None or found is None:
            raise AddressUnknown
        return await self._entry(found, domain)

    async def everyone(self) -> list[Entry]:
        """All accounts of all domains, for commands; unusable ones left out. Raises DirectoryUnavailable."""
        entries = []
        for domain in await self.finder.domains():
            around = await self._around(domain)
            for found in await self.finder.everyone(domain):
                try:
                    entries.append(entry_of(found.attributes, found.dn, around)[0])
                except ValueError as error:
                    _LOG.warning("an entry of the directory cannot be used", dn=found.dn, why=str(error))
        return entries

    def close(self) -> None:
        """Let connections and threads go."""
        self._probe.cancel()
        self.pool.close()

    async def _find(self, text: str) -> Entry:
        name = parse_name(text)
        domain = await self.finder.domain(name, self._ldap.value.searchfilter)
        try:
            found = None if domain is None else await self.finder.person(domain, name, text)
        except NotUnique as error:
            raise LoginRefused(LoginRefusal.CREDENTIALS, str(error)) from None
        if domain is None or found is None:
            self._unknown.put(text, True, self._options.value.negativecachettl)
            raise LoginRefused(LoginRefusal.CREDENTIALS, "no such domain" if domain is None else "no such account")
        return await self._entry(found, domain)

    async def _around(self, domain: Domain) -> Surroundings:
        hostnames = frozenset(host.lower().rstrip(".") for host in self._options.value.hostnames)
        return Surroundings(domain, self.finder.profile, hostnames, await self.finder.administrators())

    async def _entry(self, found: Found, domain: Domain) -> Entry:
        try:
            entry, problems = entry_of(found.attributes, found.dn, await self._around(domain))
        except ValueError as error:
            _LOG.error("an entry of the directory cannot be used", dn=found.dn, why=str(error))
            raise DirectoryUnavailable(f"{found.dn}: {error}") from None
        for problem in problems:
            _LOG.warning("an attribute of the directory cannot be used", dn=found.dn, why=problem)
        return entry

    async def _try(self, entry: Entry, password: str) -> LoginRefusal | None:
        options = self._ldap.value
        async with self._turn(entry.dn):
            if options.passwords == "compare":
                answer = await self.pool.compare(entry.dn, options.passwordattribute, password)
            else:
                answer = await self.pool.bind(entry.dn, password)
        try:
            return refusal(answer)
        except NoAnswer as error:
            raise DirectoryUnavailable(f"bind as {entry.dn}: {error}") from None

    @asynccontextmanager
    async def _turn(self, dn: str) -> AsyncIterator[None]:
        """One password of an account at a time. Raises Throttled where many wait already."""
        turn = self._tries.setdefault(dn, _Turn())
        if turn.waiting >= MAX_TRIES:
            raise Throttled(f"too many logins of {dn} at once")
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._tries[dn]

    async def _probing(self) -> None:
        """Ask now and then, so that the state is known where nobody logs in."""
        while True:
            if not self.pool.reached or self.pool.servers_up < len(self._ldap.value.servers):
                await self._reach()
            await asyncio.sleep(PROBE_SECONDS if self.pool.reached else 1.0)

    async def _reach(self) -> None:
        try:
            await self.pool.reach()
        except DirectoryUnavailable:
            return
        except Exception as error:
            # Whatever it is, servers have to be looked at again the next time.
            _LOG.error("looking for directory servers failed", error=error)

    def _digest(self, name: str, password: str) -> bytes:
        text = f"{len(name)}:{name}{password}".encode(errors="surrogatepass")
        return blake2b(text, digest_size=32, key=self._key).digest()


class _Turn:
    """Whose turn it is among the logins of one account."""

    __slots__ = ("lock", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


_WHY: Final[dict[LoginRefusal, str]] = {
    LoginRefusal.CREDENTIALS: "wrong password",
    LoginRefusal.LOCKED: "locked by the directory",
    LoginRefusal.EXPIRED: "the password has expired",
    LoginRefusal.MUST_CHANGE: "the password must be changed",
    LoginRefusal.INACTIVE: "the directory does not let the account in",
}
