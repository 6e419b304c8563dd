"""The account's row: modification sequences, ids, use and quota."""

from __future__ import annotations

from typing import Final, cast

from services.common.domain import Account, AccountId, Quota
from services.common.errors import Reason, StoreError
from services.store.backends import Transaction

_NO_LIMIT: Final = 1 << 62
_COLUMNS: Final = "account_id, name, used_bytes, used_messages, modseq"


async def find(tx: Transaction, name: str) -> Account | None:
    """The account of that name."""
    row = await tx.fetch_row(f"SELECT {_COLUMNS} FROM accounts WHERE name = $1", name)
    return None if row is None else _account(row)


async def get(tx: Transaction, account_id: AccountId) -> Account:
    """The account of that id. Raises ACCOUNT_NOT_FOUND."""
    row = await tx.fetch_row(f"SELECT {_COLUMNS} FROM accounts WHERE account_id = $1", account_id)
    if row is None:
        raise StoreError(Reason.ACCOUNT_NOT_FOUND)
    return _account(row)


async def page(tx: Transaction, after: str, size: int) -> list[Account]:
    """Accounts by name that come after one."""
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM accounts WHERE name > $1 ORDER BY name LIMIT $2", after, size)
    return [_account(row) for row in rows]


async def require(tx: Transaction, account_id: AccountId) -> None:
    """Raises ACCOUNT_NOT_FOUND."""
    if await tx.fetch_row("SELECT 1 FROM accounts WHERE account_id = $1", account_id) is None:
        raise StoreError(Reason.ACCOUNT_NOT_FOUND)


async def advance(
    tx: Transaction,
    account_id: AccountId,
    *,
    ids: int = 0,
    size: int = 0,
    messages: int = 0,
    quota: Quota | None = None,
) -> tuple[int, int]:
    """Take the next modification sequence and `ids` ids, and count what is added to (or taken from) the account.

    Returns the modification sequence and the first id. Raises OVER_QUOTA (with a quota only: what makes an account
    smaller must always pass) and ACCOUNT_NOT_FOUND; nothing was written then.
    """
    limits = (_NO_LIMIT, _NO_LIMIT) if quota is None else (_limit(quota.max_bytes), _limit(quota.max_messages))
    row = await tx.fetch_row(
        "UPDATE accounts SET modseq = modseq + 1, next_id = next_id + $2, used_bytes = used_bytes + $3,"
        " used_messages = used_messages + $4"
        " WHERE account_id = $1 AND used_bytes + $3 <= $5 AND used_messages + $4 <= $6"
        " RETURNING modseq, next_id",
        account_id, ids, size, messages, *limits,
    )  # fmt: skip
    if row is None:
        await require(tx, account_id)
        raise StoreError(Reason.OVER_QUOTA)
    modseq, next_id = cast("tuple[int, int]", row)
    return modseq, next_id - ids


async def next_uidvalidity(tx: Transaction, account_id: AccountId, now: int) -> int:
    """A UIDVALIDITY above every one that the account ever gave (RFC 9051 section 2.3.1.1)."""
    row = await tx.fetch_row(
        "UPDATE accounts SET next_uidvalidity ="
        " CASE WHEN next_uidvalidity > $2 THEN next_uidvalidity ELSE $2 END + 1"
        " WHERE account_id = $1 RETURNING next_uidvalidity",
        account_id, now,
    )  # fmt: skip
    if row is None:
        raise StoreError(Reason.ACCOUNT_NOT_FOUND)
    return cast("tuple[int]", row)[0] - 1


def _limit(limit: int | None) -> int:
    return _NO_LIMIT if limit is None else limit


def _account(row: tuple[object, ...]) -> Account:
    return Account(*cast("tuple[AccountId, str, int, int, int]", row))
