"""Logins judged, remembered and refused: what stands between a front end and the directory."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from time import monotonic
from typing import Final, NoReturn, TypeVar

from services.common.access.filters import Decision, Visit
from services.common.access.patterns import NameNeeded, host
from services.common.access.rules import decide_login
from services.common.accessoptions import AccessOptions
from services.common.badguys import BadGuys
from services.common.certmap import CertificateQuery
from services.common.directory import (
    GONE,
    LOGS_IN,
    AddressUnknown,
    CertificateDirectory,
    Directory,
    DirectoryUnavailable,
    Entry,
    LoginRefusal,
    LoginRefused,
    Name,
    Throttled,
    parse_name,
)
from services.common.hostnames import HostNames
from services.common.limits import without_slot
from services.common.live import Live
from services.common.memory import Memory
from services.common.options import DirectoryOptions
from services.common.peer import Peer
from services.common.telemetry import NO_OBSERVER, Observer, current_log

UNAVAILABLE: Final = "unavailable"
THROTTLED: Final = "throttled"
T = TypeVar("T")
FAILURES: Final = frozenset({LoginRefusal.CREDENTIALS, LoginRefusal.LOCKED})
"""Refusals that are held against the client's address."""
_TOLD_TO_ADMINISTRATORS: Final = frozenset({LoginRefusal.INACTIVE, LoginRefusal.ELSEWHERE})
"""Why they may not act as an account, that is; to everybody else it is one refusal."""
FOUND: Final = 1000
FOUND_SECONDS: Final = 10.0
_KEY_BYTES: Final = 32


class Login:
    """Checks passwords for every front end of the process.

    A right password is remembered (by a keyed hash) for `directory.authcachettl` seconds, so that a client which logs
    in often costs no Argon2; nothing is remembered over a change of the directory. Equal logins that come while the
    first is checked wait for its result. The access rules of account and domain are judged at every login, also a
    remembered one, because they ask where it comes from.
    """

    def __init__(
        self,
        directory: Directory,
        options: Live[DirectoryOptions],
        observer: Observer = NO_OBSERVER,
        names: HostNames | None = None,
        badguys: BadGuys | None = None,
    ) -> None:
        self._directory = directory
        self._options = options
        self._observer = observer
        self._names = names or HostNames()
        self._badguys = badguys or BadGuys(Live(AccessOptions()))
        # A key of this process alone: what is remembered says nothing to who reads memory dumps of another.
        self._key = os.urandom(_KEY_BYTES)
        self._remembered: OrderedDict[bytes, tuple[float, Entry]] = OrderedDict()
        self._found: Memory[tuple[int, str], Entry] = Memory(FOUND)
        """Accounts whose secrets were asked for a moment ago, by the directory's generation and their names."""
        self._generation = directory.generation
        self._checking: dict[bytes, asyncio.Task[Entry]] = {}

    def cached(self, service: str, name: str, password: str, peer: Peer) -> Entry | None:
        """The account, at once, where this password was right not long ago; the fast path before `password`."""
        if not self._directory.current:
            return None
        entry = self._recall(self._digest(name, password))
        entry = None if entry is None else self._in_office(entry)
        if entry is None or not self._permits_at_once(service, entry, peer) or self._badguys.marked(peer.address):
            return None
        self._observer.login(service, "cached")
        self._observer.cache("login", True)
        return entry

    async def password(self, service: str, name: str, password: str, peer: Peer) -> Entry:
        """The account, if the password is right and its status and access rules allow a login.

        A refusal comes after `directory.faildelay` seconds, in which no command slot is held. Raises LoginRefused
        (CREDENTIALS, INACTIVE, ACCESS), DirectoryUnavailable. Log line and metric are written here.
        """
        await self.hold_up(service, name, peer)
        await self._directory.refresh()
        remembered = self._recall(self._digest(name, password)) if self._directory.current else None
        self._observer.cache("login", remembered is not None)

        async def find() -> Entry:
            return remembered or await self._in_turn(name, password, peer)

        return await self._judged(service, name, peer, find, "ok" if remembered is None else "cached")

    async def hold_up(self, service: str, name: str, peer: Peer) -> None:
        """Let who failed before wait, before an answer tells it anything.

        `password` does so by itself; a mechanism that asks the directory otherwise does it first. Raises LoginRefused
        (BANNED), DirectoryUnavailable.
        """
        await self._told(service, name, peer, self._badguys.hold_up(service, peer.address))

    async def proved(self, service: str, name: str, peer: Peer) -> Entry:
        """The account of who has shown to be `name` without a password; else as `password`.

        What `account` found a moment ago is not asked for again.
        """
        await self._directory.refresh()
        known = self._found.get((self._directory.generation, name))

        async def find() -> Entry:
            return self._allowed(known or await self._directory.account(name))

        return await self._judged(service, name, peer, find)

    async def refuse(self, service: str, name: str, peer: Peer, why: str) -> NoReturn:
        """Who says to be `name` has not shown it. Raises LoginRefused (CREDENTIALS), as `password` does."""

        async def find() -> Entry:
            raise LoginRefused(LoginRefusal.CREDENTIALS, why)

        await self._judged(service, name, peer, find)
        raise AssertionError

    async def acting(self, service: str, entry: Entry, name: str, peer: Peer) -> Entry:
        """The account `name`, as which `entry` wants to act: its own by another name, or any where it may.

        Who acts as whom is logged. Raises LoginRefused (AUTHORIZATION; to an administrator INACTIVE and ELSEWHERE
        where the other account may not log in), DirectoryUnavailable. The other account's access rules do not count:
        they are about its own logins.
        """
        found = await self._judged(service, entry.account, peer, lambda: self._authorized(entry, name), "acting")
        if found.account != entry.account:
            log = current_log(service, peer.address)
            log.info("acts for another", administrator=entry.account, account=found.account)
        return found

    async def account(self, name: str) -> Entry | None:
        """The account of that name, None where there is none. Raises DirectoryUnavailable.

        What was found a moment ago is not asked for again: neither by `proved`, nor to answer faster for the names that
        the directory remembers as unknown.
        """
        await self._directory.refresh()
        key = (self._directory.generation, name)
        known = self._found.get(key)
        if known is not None:
            return known
        try:
            entry = await self._directory.account(name)
        except LoginRefused:
            return None
        self._found.put(key, entry, FOUND_SECONDS)
        return entry

    async def by_address(self, address: str) -> Entry | None:
        """The account that gets mail for the address, None where there is none. Raises DirectoryUnavailable."""
        try:
            return await self._directory.lookup(address)
        except AddressUnknown:
            return None

    async def by_certificate(self, query: CertificateQuery) -> Entry | None:
        """The account that a certificate means, None where it means none or several. Raises DirectoryUnavailable."""
        directory = self._directory
        try:
            return await directory.by_certificate(query) if isinstance(directory, CertificateDirectory) else None
        except LoginRefused:
            return None

    # ---- the judgement ----------------------------------------------------------------------------------------------
    async def _judged(
        self, service: str, name: str, peer: Peer, find: Callable[[], Awaitable[Entry]], success: str = "ok"
    ) -> Entry:
        """The account that `find` finds, if its access rules permit it; a refusal is logged, counted and delayed.

        What was held against the client's address is over once it has shown who it is, whatever else forbids the login.
        """

        async def judge() -> Entry:
            entry = self._in_office(await find())
            self._badguys.succeeded(peer.address)
            await self._check_access(service, entry, peer)
            return entry

        entry = await self._told(service, name, peer, judge())
        self._observer.login(service, success)
        return entry

    async def _told(self, service: str, name: str, peer: Peer, work: Awaitable[T]) -> T:
        """What `work` gives. Where it refuses, that is logged and counted, and the answer is delayed."""
        log, begin = current_log(service, peer.address), monotonic()
        try:
            return await work
        except LoginRefused as refused:
            if refused.kind in FAILURES:
                self._badguys.failed(service, peer.address)
            self._observer.login(service, refused.kind.value)
            log.warning("login refused", name=name, why=refused.detail or refused.kind.value)
            await self._delay(begin)
            raise LoginRefused(refused.kind) from None
        except Throttled:
            self._observer.login(service, THROTTLED)
            log.warning("login refused", name=name, why=THROTTLED)
            await self._delay(begin)
            raise
        except DirectoryUnavailable as error:
            self._observer.login(service, UNAVAILABLE)
            log.error("login not possible", name=name, why=str(error))
            raise

    def _in_office(self, entry: Entry) -> Entry:
        """The account as an administrator, where the options say that it is one."""
        options = self._options.value
        if not options.administrators or entry.administrator:
            return entry
        known = _account_names(options.administrators, options.defaultdomain)
        return replace(entry, administrator=True) if entry.account in known else entry

    def _allowed(self, entry: Entry) -> Entry:
        """The account, if its status allows a login."""
        if entry.status in GONE:
            raise LoginRefused(LoginRefusal.CREDENTIALS, f"the account is {entry.status.value}")
        if entry.status not in LOGS_IN:
            raise LoginRefused(LoginRefusal.INACTIVE, f"the account is {entry.status.value}")
        if entry.elsewhere:
            raise LoginRefused(LoginRefusal.ELSEWHERE, f"its mail is on {entry.elsewhere}")
        return entry

    async def _authorized(self, entry: Entry, name: str) -> Entry:
        detail = f"may not act as {name}"
        # As the directory has it now: the session may be old, and the right taken back.
        actor = self._in_office(self._allowed(await self._directory.account(entry.account)))
        try:
            other = self._allowed(await self._directory.account(name))
        except LoginRefused as refused:
            told = actor.administrator and refused.kind in _TOLD_TO_ADMINISTRATORS
            kind = refused.kind if told else LoginRefusal.AUTHORIZATION
            raise LoginRefused(kind, f"{detail}: {refused.detail}") from None
        if not actor.may_act_for(other):
            raise LoginRefused(LoginRefusal.AUTHORIZATION, detail)
        return replace(other, allowed_access=())

    # ---- the access rules -------------------------------------------------------------------------------------------
    def _permits_at_once(self, service: str, entry: Entry, peer: Peer) -> bool:
        """Whether the rules are known to permit it without looking a name up."""
        if peer.barred:
            return False
        if not entry.allowed_access:
            return True
        try:
            return decide_login(entry.allowed_access, self._visit(service, peer)).allowed
        except NameNeeded:
            return False

    async def _check_access(self, service: str, entry: Entry, peer: Peer) -> None:
        """Raises LoginRefused (ACCESS)."""
        if peer.barred:
            raise LoginRefused(LoginRefusal.ACCESS, "a front end that named no client and is barred itself")
        decision = await self._access(service, entry, peer)
        if not decision.allowed:
            raise LoginRefused(LoginRefusal.ACCESS, f"access rule {decision.rule or 'none'}: {decision.because}")

    async def _access(self, service: str, entry: Entry, peer: Peer) -> Decision:
        visit = self._visit(service, peer)
        try:
            return decide_login(entry.allowed_access, visit)
        except NameNeeded:
            async with without_slot():
                name = await self._names.find(peer.address)
            return decide_login(entry.allowed_access, replace(visit, client=replace(visit.client, name=name)))

    def _visit(self, service: str, peer: Peer) -> Visit:
        """With the client's name as far as it is known already."""
        client = host(peer.address, self._names.known(peer.address))
        return Visit(service, client, host(peer.server_address), peer.tls)

    # ---- the password -----------------------------------------------------------------------------------------------
    async def _in_turn(self, name: str, password: str, peer: Peer) -> Entry:
        """Check it when it is the address's turn, unless the same is checked already or was while it waited."""
        digest = self._digest(name, password)
        if digest in self._checking:
            return await self._checked(name, password)
        async with self._badguys.turn(peer.address):
            return self._recall(digest) or await self._checked(name, password)

    async def _checked(self, name: str, password: str) -> Entry:
        """Ask the directory, once for all who ask the same at the same time. A client that goes stops no other."""
        digest = self._digest(name, password)
        task = self._checking.get(digest)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._check(digest, name, password))
            self._checking[digest] = task
            task.add_done_callback(lambda done: self._over(digest, done))
        return await asyncio.shield(task)

    async def _check(self, digest: bytes, name: str, password: str) -> Entry:
        generation = self._directory.generation
        entry = self._allowed(await self._directory.authenticate(name, password))
        if generation == self._directory.generation:
            self._remember(digest, entry)
        return entry

    def _over(self, digest: bytes, task: asyncio.Task[Entry]) -> None:
        del self._checking[digest]
        if not task.cancelled():
            # Who asked may be gone; a failure that nobody hears is none.
            task.exception()

    async def _delay(self, begin: float) -> None:
        """Counted from the beginning of the check, so that nobody sees what an unknown name saves the directory."""
        async with without_slot():
            await asyncio.sleep(max(0.0, begin + self._options.value.faildelay - monotonic()))

    def _digest(self, name: str, password: str) -> bytes:
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        return blake2b(
            f"{len(name)}:{name}{password}".encode(errors="surrogatepass"), digest_size=_KEY_BYTES, key=self._key
        ).digest()

    def _recall(self, digest: bytes) -> Entry | None:
        generation = self._directory.generation
        if generation != self._generation:
            self._generation = generation
            self._remembered.clear()
        found = self._remembered.get(digest)
        if found is None:
            return None
        since, entry = found
        if monotonic() - since >= self._options.value.authcachettl:
            del self._remembered[digest]
            return None
        self._remembered.move_to_end(digest)
        return entry

    def _remember(self, digest: bytes, entry: Entry) -> None:
        size = self._options.value.authcachesize
        if not size or not self._options.value.authcachettl:
            return
        self._remembered[digest] = (monotonic(), entry)
        while len(self._remembered) > size:
            self._remembered.popitem(last=False)


@lru_cache(maxsize=4)
def _account_names(written: tuple[str, ...], default: str) -> frozenset[str]:
    """Accounts by every name that they can have: those of the default domain with it and without."""
    names = {parse_name(each) for each in written}
    domain = parse_name(f"x@{default}").domain
    bare = {Name(name.local) for name in names if domain and name.domain == domain}
    full = {Name(name.local, domain) for name in names if domain and not name.domain}
    return frozenset(map(str, names | bare | full))
