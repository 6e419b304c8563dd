"""Writes that are asked for twice happen once (AIP-155).

A repeat meets the first outcome in its own transaction, so it does not matter whether the first is done, still runs, or
died between its commit and its reply.
"""

from __future__ import annotations

from typing import Final, cast

from services.common.domain import AccountId
from services.common.errors import Reason, StoreError
from services.store.backends import Transaction

KEEP_SECONDS: Final = 3600
MAX_LENGTH: Final = 128


def checked(request_id: str) -> str:
    """Raises INVALID_ARGUMENT."""
    if not request_id or len(request_id) > MAX_LENGTH:
        raise StoreError(Reason.INVALID_ARGUMENT)
    return request_id


async def recall(tx: Transaction, account_id: AccountId, request_id: str) -> bytes | None:
    """The outcome of a write that was committed before under this id."""
    row = await tx.fetch_row(
        "SELECT outcome FROM requests WHERE account_id = $1 AND request_id = $2", account_id, request_id
    )
    return None if row is None else cast("bytes", row[0])


async def remember(tx: Transaction, account_id: AccountId, request_id: str, now: int, outcome: bytes) -> None:
    """Keep the outcome in the transaction that brings it about."""
    await tx.execute(
        "INSERT INTO requests (account_id, request_id, made, outcome) VALUES ($1, $2, $3, $4)",
        account_id, request_id, now, outcome,
    )  # fmt: skip
