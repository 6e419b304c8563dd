"""Account numbers by name, kept so that a login asks the store once and not each time.

The store gives no number twice, so one that is kept can only be right or dead: an account that was deleted, and perhaps
made again, answers ACCOUNT_NOT_FOUND under its old number. Whoever uses a kept number therefore asks anew then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from services.common.domain import AccountId
from services.common.errors import Reason, StoreError
from services.common.store import Store

T = TypeVar("T")

KEPT: Final = 10_000
"""Accounts of one process; the longest unused ones go."""


class AccountIds:
    """The numbers of the accounts that this process has opened, by canonical name (`directory.Entry.account`)."""

    __slots__ = ("_kept", "_limit", "_store")

    def __init__(self, store: Store, limit: int = KEPT) -> None:
        self._store = store
        self._limit = limit
        self._kept: OrderedDict[str, AccountId] = OrderedDict()

    def known(self, name: str) -> AccountId | None:
        """The number at once, where it is kept. It may be a dead one."""
        found = self._kept.get(name)
        if found is not None:
            self._kept.move_to_end(name)
        return found

    async def open(self, name: str) -> AccountId:
        """The number from the store, which makes the account at first use."""
        account_id = (await self._store.open_account(name)).account_id
        self._kept[name] = account_id
        self._kept.move_to_end(name)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return account_id

    async def renew(self, name: str, dead: AccountId) -> AccountId:
        """The number after the store did not know `dead`. Many who find out together need not ask each."""
        known = self._kept.get(name)
        if known is not None and known != dead:
            return known
        self._kept.pop(name, None)
        return await self.open(name)

    def forget(self, name: str) -> None:
        """The number is dead."""
        self._kept.pop(name, None)

    async def use(self, name: str, call: Callable[[AccountId], Awaitable[T]]) -> T:
        """Call the store with the account's number, and once more where the kept one was dead."""
        known = self.known(name)
        if known is None:
            return await call(await self.open(name))
        try:
            return await call(known)
        except StoreError as error:
            if error.reason is not Reason.ACCOUNT_NOT_FOUND:
                raise
        return await call(await self.renew(name, known))
