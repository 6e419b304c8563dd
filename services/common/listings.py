"""Listings of maildrops, kept for those who come again before anything changed."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import Final, Generic, Protocol, TypeVar

from services.common.domain import AccountId

LISTED_ROWS: Final = 200_000


class Listed(Protocol):
    """What a maildrop holds: a row for each UID."""

    @property
    def uids(self) -> array[int]: ...


T = TypeVar("T", bound=Listed)


class Listings(Generic[T]):
    """The last listing of each account, bounded by their rows. They are shared: nobody changes one."""

    __slots__ = ("_listings", "_max_rows", "_rows")

    def __init__(self, max_rows: int = LISTED_ROWS) -> None:
        self._max_rows = max_rows
        self._rows = 0
        self._listings: OrderedDict[AccountId, T] = OrderedDict()

    def get(self, account_id: AccountId) -> T | None:
        """The account's last listing."""
        return self._listings.get(account_id)

    def put(self, account_id: AccountId, listed: T) -> None:
        """Keep a listing; the longest unused ones go."""
        self.drop(account_id)
        self._listings[account_id] = listed
        self._rows += len(listed.uids)
        while self._rows > self._max_rows:
            self.drop(next(iter(self._listings)))

    def drop(self, account_id: AccountId) -> None:
        """Forget an account's listing."""
        listed = self._listings.pop(account_id, None)
        if listed is not None:
            self._rows -= len(listed.uids)
