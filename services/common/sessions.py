"""The sessions of this process: counted for the limits, told to the store for `mailkeep who`, ended by `mailkeep kick`.

The registry answers from counters; nothing here walks all sessions except `snapshot`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from os import getpid
from secrets import token_hex
from socket import gethostname
from typing import TypeVar

from services.common.access.marks import Key, address_key
from services.common.domain import SessionInfo

K = TypeVar("K")


@dataclass(slots=True)
class _Session:
    info: SessionInfo
    kick: Callable[[], None]


class SessionRegistry:
    """Every open session by its id, with counts by user and by address.

    `process` names this process in `mailkeep who`. `on_change` is called once when something changed after
    `drain_changes` was last called, so that a sender may wake up; set it to None to stop that.
    """

    def __init__(self, process: str | None = None, ipv6prefix: int = 64) -> None:
        self.process = process or f"{gethostname()}:{getpid()}"
        self.on_change: Callable[[], None] | None = None
        self._prefix = token_hex(4)
        self._ipv6prefix = ipv6prefix
        self._numbers = count(1)
        self._sessions: dict[str, _Session] = {}
        self._users: dict[str, int] = {}
        self._addresses: dict[Key | str, int] = {}
        self._changed: dict[str, None] = {}
        self._told: set[str] = set()
        self._closed: list[str] = []

    def __len__(self) -> int:
        return len(self._sessions)

    def new_id(self) -> str:
        """An id that no other session of any process has."""
        return f"{self._prefix}-{next(self._numbers):x}"

    def opened(self, info: SessionInfo, kick: Callable[[], None]) -> None:
        """A client connected. `kick` ends its session; it is called in the event loop, at most once."""
        here = info if info.process else replace(info, process=self.process)
        self._sessions[info.session_id] = _Session(here, kick)
        _add(self._addresses, self._key(info.address))
        if info.user:
            _add(self._users, info.user)
        self._note(info.session_id)

    def authenticated(self, session_id: str, user: str, limit: int = 0) -> bool:
        """The session belongs to `user` now.

        False, and nothing changed, where the user has `limit` sessions in this process already (0: no limit).
        """
        session = self._sessions.get(session_id)
        if session is None or (limit and self._users.get(user, 0) >= limit):
            return False
        if session.info.user:
            _remove(self._users, session.info.user)
        _add(self._users, user)
        session.info = _with_user(session.info, user)
        self._note(session_id)
        return True

    def moved(self, session_id: str, address: str) -> None:
        """A front end said that the session's client is at another address than its own."""
        session = self._sessions.get(session_id)
        if session is None or session.info.address == address:
            return
        _remove(self._addresses, self._key(session.info.address))
        _add(self._addresses, self._key(address))
        session.info = replace(session.info, address=address)
        self._note(session_id)

    def closed(self, session_id: str) -> None:
        """The session is over; idempotent."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        _remove(self._addresses, self._key(session.info.address))
        if session.info.user:
            _remove(self._users, session.info.user)
        self._changed.pop(session_id, None)
        if session_id in self._told:
            self._told.discard(session_id)
            self._closed.append(session_id)
            self._wake()

    def from_address(self, address: str) -> int:
        """Sessions from the address (of IPv6: from its network of `ipv6prefix` bits)."""
        return self._addresses.get(self._key(address), 0)

    def of_user(self, user: str) -> int:
        """Sessions of the user."""
        return self._users.get(user, 0)

    def kick(self, session_id: str) -> bool:
        """End a session; False where it is not of this process."""
        session = self._sessions.get(session_id)
        if session is None:
            return False
        session.kick()
        return True

    def snapshot(self) -> list[SessionInfo]:
        """Every open session. What follows by `drain_changes` is relative to it."""
        self._changed.clear()
        self._closed.clear()
        self._told = set(self._sessions)
        return [session.info for session in self._sessions.values()]

    def drain_changes(self) -> tuple[list[SessionInfo], list[str]]:
        """Sessions that are new or have a new user, and ids of those that are over, since the last call or snapshot.

        A session that came and went in between is in neither.
        """
        news = [self._sessions[session_id].info for session_id in self._changed]
        self._told.update(self._changed)
        self._changed.clear()
        closed, self._closed = self._closed, []
        return news, closed

    def _key(self, address: str) -> Key | str:
        """What an address counts by: a client has a whole network of IPv6 to choose its addresses from."""
        return address_key(address, self._ipv6prefix) or address

    def _note(self, session_id: str) -> None:
        self._changed[session_id] = None
        self._wake()

    def _wake(self) -> None:
        if self.on_change is not None and len(self._changed) + len(self._closed) == 1:
            self.on_change()


def _with_user(info: SessionInfo, user: str) -> SessionInfo:
    # Every login comes by here, and `dataclasses.replace` takes four times as long.
    return SessionInfo(info.session_id, info.service, user, info.address, info.started, info.process)


def _add(counts: dict[K, int], key: K) -> None:
    counts[key] = counts.get(key, 0) + 1


def _remove(counts: dict[K, int], key: K) -> None:
    left = counts.get(key, 0) - 1
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)
