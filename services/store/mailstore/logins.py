"""Logins of HTTP clients: they outlive connections and front-end processes, and end when nobody uses them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from services.common.domain import AccountId, LoginSession
from services.common.errors import Reason, StoreError
from services.store.backends import Database, Transaction
from services.store.mailstore import account

MAX_LOGINS: Final = 1_000
"""Of one account; with more, the longest unused go."""
MAX_IDLE: Final = 366 * 86_400
NOTED_SECONDS: Final = 60
"""A use is written down where the last one that was is so long ago: clients ask many times a second."""
DIGEST_BYTES: Final = 32
MAX_STAMP: Final = 64
MAX_ADDRESS: Final = 64
MAX_AGENT: Final = 256
BATCH: Final = 1_000

_COLUMNS: Final = (
    "l.digest, a.name, l.address, l.bound, l.agent, l.stamp, l.created, l.used, l.expires"
    " FROM logins l JOIN accounts a USING (account_id) WHERE l.account_id = $1"
)


class LoginRules:
    """Implements `services.common.store.Logins`."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    async def open(self, account_id: AccountId, login: LoginSession, idle_seconds: int) -> LoginSession:
        """See `Logins.open`. A repeat finds what the first one made."""
        _check(login, idle_seconds)
        now = int(self._clock())
        return await self._database.write(lambda tx: _open(tx, account_id, login, now, idle_seconds))

    async def use(self, account_id: AccountId, digest: bytes, address: str, idle_seconds: int) -> LoginSession:
        """See `Logins.use`. Another address than the one it is bound to finds none, and does not end it."""
        _check_digest(digest)
        _check_idle(idle_seconds)
        now = int(self._clock())
        found = await self._database.read(lambda tx: _find(tx, account_id, digest))
        if found is None or found.expires <= now or (found.bound and found.address != address):
            raise StoreError(Reason.LOGIN_NOT_FOUND)
        if now - found.used < NOTED_SECONDS and found.expires - found.used == idle_seconds:
            return found
        return await self._database.write(lambda tx: _note(tx, account_id, digest, now, idle_seconds))

    async def all(self, account_id: AccountId) -> Sequence[LoginSession]:
        """See `Logins.all`."""
        now = int(self._clock())
        return await self._database.read(lambda tx: _all(tx, account_id, now))

    async def end(self, account_id: AccountId, digest: bytes) -> None:
        """See `Logins.end`."""
        _check_digest(digest)
        await self._database.write(lambda tx: _end(tx, account_id, digest))

    async def end_all(self, account_id: AccountId, but: bytes = b"") -> int:
        """See `Logins.end_all`."""
        return await self._database.write(lambda tx: _end_all(tx, account_id, but))

    async def purge(self) -> None:
        """Take away what nobody used in time."""
        now = int(self._clock())
        if await self._database.read(lambda tx: _is_any_over(tx, now)):
            while await self._database.write(lambda tx: _purge(tx, now)) == BATCH:
                pass


def _check(login: LoginSession, idle_seconds: int) -> None:
    _check_digest(login.digest)
    _check_idle(idle_seconds)
    if len(login.stamp) > MAX_STAMP or len(login.agent) > MAX_AGENT or len(login.address) > MAX_ADDRESS:
        raise StoreError(Reason.INVALID_ARGUMENT)


def _check_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_BYTES:
        raise StoreError(Reason.INVALID_ARGUMENT)


def _check_idle(seconds: int) -> None:
    if not 0 < seconds <= MAX_IDLE:
        raise StoreError(Reason.INVALID_ARGUMENT)


async def _find(tx: Transaction, account_id: AccountId, digest: bytes) -> LoginSession | None:
    row: Any = await tx.fetch_row(f"SELECT {_COLUMNS} AND l.digest = $2", account_id, digest)
    return None if row is None else _session(row)


async def _open(tx: Transaction, account_id: AccountId, login: LoginSession, now: int, idle: int) -> LoginSession:
    await account.require(tx, account_id)
    await tx.execute(
        "INSERT INTO logins (account_id, digest, address, bound, agent, stamp, created, used, expires)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) ON CONFLICT (account_id, digest) DO NOTHING",
        account_id, login.digest, login.address, int(login.bound), login.agent.replace("\0", ""), login.stamp, now,
        now + idle,
    )  # fmt: skip
    await tx.execute(
        "DELETE FROM logins WHERE account_id = $1 AND digest <> $2 AND digest NOT IN"
        " (SELECT digest FROM logins WHERE account_id = $1 ORDER BY used DESC, created DESC, digest LIMIT $3)",
        account_id, login.digest, MAX_LOGINS,
    )  # fmt: skip
    found = await _find(tx, account_id, login.digest)
    if found is None:
        raise StoreError(Reason.LOGIN_NOT_FOUND)
    return found


async def _note(tx: Transaction, account_id: AccountId, digest: bytes, now: int, idle: int) -> LoginSession:
    """Write down that it was used; it may have been ended meanwhile."""
    await tx.execute(
        "UPDATE logins SET used = $3, expires = $4 WHERE account_id = $1 AND digest = $2",
        account_id, digest, now, now + idle,
    )  # fmt: skip
    found = await _find(tx, account_id, digest)
    if found is None:
        raise StoreError(Reason.LOGIN_NOT_FOUND)
    return found


async def _all(tx: Transaction, account_id: AccountId, now: int) -> list[LoginSession]:
    await account.require(tx, account_id)
    rows: Any = await tx.fetch(
        f"SELECT {_COLUMNS} AND l.expires > $2 ORDER BY l.used DESC, l.created DESC, l.digest LIMIT {MAX_LOGINS}",
        account_id, now,
    )  # fmt: skip
    return [_session(row) for row in rows]


async def _end(tx: Transaction, account_id: AccountId, digest: bytes) -> None:
    await tx.execute("DELETE FROM logins WHERE account_id = $1 AND digest = $2", account_id, digest)


async def _end_all(tx: Transaction, account_id: AccountId, but: bytes) -> int:
    return await tx.execute("DELETE FROM logins WHERE account_id = $1 AND digest <> $2", account_id, but)


async def _is_any_over(tx: Transaction, now: int) -> bool:
    return await tx.fetch_row("SELECT 1 FROM logins WHERE expires <= $1 LIMIT 1", now) is not None


async def _purge(tx: Transaction, now: int) -> int:
    rows = await tx.fetch(f"SELECT account_id, digest FROM logins WHERE expires <= $1 LIMIT {BATCH}", now)
    await tx.execute_many(
        "DELETE FROM logins WHERE account_id = $1 AND digest = $2 AND expires <= $3", [(*row, now) for row in rows]
    )
    return len(rows)


def _session(row: tuple[Any, ...]) -> LoginSession:
    digest, name, address, bound, agent, stamp, *times = row
    return LoginSession(digest, name, address, bool(bound), agent, stamp, *times)
