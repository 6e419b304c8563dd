"""Logins of browsers in this process: begun in the store, and looked at there again every few seconds of use.

The directory is asked again too: a login ends when the account's status no longer lets it log in, or its password has
changed, once `directory.authcachettl` is over, and at once where the directory tells that something changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from time import monotonic
from typing import TYPE_CHECKING, Final

from services.common.directory import LOGS_IN, Directory, Entry, LoginRefused
from services.common.domain import LoginSession
from services.common.errors import Reason, StoreError
from services.common.telemetry import current_log
from services.http.credentials import LoginCookie, new_cookie

if TYPE_CHECKING:
    from services.common.domain import AccountId
    from services.common.live import Live
    from services.common.options import Configuration
    from services.common.store import Logins as StoredLogins

SECONDS: Final = 5.0
"""How long a login that was found in the store is not looked at there again: what another process ended goes on for so
long here."""
KEPT: Final = 10_000
MAX_AGENT: Final = 256


@dataclass(slots=True)
class _Kept:
    login: LoginSession
    entry: Entry
    stored: float
    judged: float
    generation: int


class Logins:
    """Begins, finds and ends logins. Raises StoreError and DirectoryUnavailable."""

    def __init__(self, stored: StoredLogins, directory: Directory, configuration: Live[Configuration]) -> None:
        self._stored = stored
        self._directory = directory
        self._configuration = configuration
        self._kept: OrderedDict[tuple[AccountId, bytes, str], _Kept] = OrderedDict()

    async def begin(self, account_id: AccountId, entry: Entry, address: str, agent: str) -> LoginCookie:
        """A new login of an account that has just proved itself."""
        options = self._configuration.value.http
        cookie = new_cookie(account_id)
        login = LoginSession(cookie.digest, entry.account, address, options.ipsecurity, agent[:MAX_AGENT], stamp(entry))
        await self._stored.open(account_id, login, options.sessiontimeout)
        return cookie

    async def find(self, cookie: LoginCookie, address: str) -> tuple[LoginSession, Entry] | None:
        """The login of a cookie and its account; None where it is over."""
        key, now = (cookie.account_id, cookie.digest, address), monotonic()
        await self._directory.refresh()
        kept = self._kept.get(key)
        if kept is None or now - kept.stored >= SECONDS:
            kept = await self._look(key, kept, now)
        if kept is None:
            self._kept.pop(key, None)
            return None
        if not await self._holds(kept, now):
            await self.end(cookie.account_id, cookie.digest)
            return None
        return kept.login, kept.entry

    async def all(self, account_id: AccountId) -> Sequence[LoginSession]:
        """Every login of the account."""
        return await self._stored.all(account_id)

    async def end(self, account_id: AccountId, digest: bytes) -> None:
        """End one."""
        self._drop(account_id, digest)
        await self._stored.end(account_id, digest)

    async def end_all(self, account_id: AccountId, but: bytes = b"") -> int:
        """End all, or all but one; how many."""
        self._drop(account_id, None, but)
        return await self._stored.end_all(account_id, but)

    def _drop(self, account_id: AccountId, digest: bytes | None, but: bytes = b"") -> None:
        gone = [
            key for key in self._kept
            if key[0] == account_id and (key[1] == digest if digest is not None else key[1] != but)
        ]  # fmt: skip
        for key in gone:
            del self._kept[key]

    async def _look(self, key: tuple[AccountId, bytes, str], kept: _Kept | None, now: float) -> _Kept | None:
        """Ask the store."""
        seconds = self._configuration.value.http.sessiontimeout
        try:
            login = await self._stored.use(*key, seconds)
        except StoreError as error:
            if error.reason in (Reason.LOGIN_NOT_FOUND, Reason.ACCOUNT_NOT_FOUND):
                return None
            raise
        if kept is None:
            kept = _Kept(login, Entry(login.user), now, -1.0, -1)
            self._kept[key] = kept
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        kept.login, kept.stored = login, now
        if key in self._kept:
            self._kept.move_to_end(key)
        return kept

    async def _holds(self, kept: _Kept, now: float) -> bool:
        """Whether the account may still be logged in."""
        ttl = self._configuration.value.directory.authcachettl
        generation = self._directory.generation
        if kept.judged >= 0 and now - kept.judged < ttl and kept.generation == generation:
            return True
        try:
            entry = await self._directory.account(kept.login.user)
        except LoginRefused:
            entry = None
        if entry is None or entry.status not in LOGS_IN or not _same(kept.login.stamp, stamp(entry)):
            current_log("http").info("login ended", name=kept.login.user, why="the account or its password has changed")
            return False
        kept.entry, kept.judged, kept.generation = entry, now, generation
        return True


def stamp(entry: Entry) -> bytes:
    """Changes with the account's password; empty where the directory does not tell."""
    return blake2b(entry.password_stamp.encode(), digest_size=16).digest() if entry.password_stamp else b""


def _same(then: bytes, now: bytes) -> bool:
    return not then or then == now
