"""Who wants to know when an account changes: one feed for each account of the process, however many listen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.common.domain import AccountId
    from services.common.store import AccountFeed

Listener = Callable[[], None]


class Push:
    """Tells listeners that something in their account may have changed."""

    def __init__(self, feed: AccountFeed) -> None:
        self._feed = feed
        self._listeners: dict[AccountId, list[Listener]] = {}

    def listen(self, account_id: AccountId, listener: Listener) -> None:
        """Call it in the event loop whenever something may have changed, at least once soon."""
        listeners = self._listeners.get(account_id)
        if listeners is None:
            self._listeners[account_id] = [listener]
            self._feed.follow_account(account_id, lambda _: self._tell(account_id))
        else:
            listeners.append(listener)
            asyncio.get_running_loop().call_soon(listener)

    def forget(self, account_id: AccountId, listener: Listener) -> None:
        """Call it no more."""
        listeners = self._listeners.get(account_id, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners and self._listeners.pop(account_id, None) is not None:
            self._feed.unfollow_account(account_id)

    def _tell(self, account_id: AccountId) -> None:
        for listener in tuple(self._listeners.get(account_id, ())):
            listener()
