"""The sessions of this process: counted for the limits, told to the store for `mailkeep who`, ended by `mailkeep kick`.

Limits of users and addresses count the service's other processes too (`services.common.sharedcounts`). The registry
answers from counters; nothing here walks all sessions except `snapshot`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from os import getpid
from secrets import token_hex
from socket import gethostname

from services.common.access.marks import address_key
from services.common.domain import SessionInfo
from services.common.sharedcounts import Kind, SharedCounts


@dataclass(slots=True)
class _Session:
    info: SessionInfo
    kick: Callable[[], None]


class SessionRegistry:
    """Every open session by its id, with counts by user and by address.

    `process` names this process in `mailkeep who`. `on_change` is called once when something changed after
    `drain_changes` was last called, so that a sender may wake up; set it to None to stop that. `shared`: what
    the service's other processes count; None where there are none.
    """

    def __init__(self, process: str | None = None, ipv6prefix: int = 64, shared: SharedCounts | None = None) -> None:
        self.process = process or f"{gethostname()}:{getpid()}"
        self.on_change: Callable[[], None] | None = None
        self._prefix = token_hex(4)
        self._ipv6prefix = ipv6prefix
        self._numbers = count(1)
        self._sessions: dict[str, _Session] = {}
        self._users = _Counts(Kind.USER, shared)
        self._addresses = _Counts(Kind.ADDRESS, shared)
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
        self._addresses.add(self._key(info.address))
        if info.user:
            self._users.add(info.user)
        self._note(info.session_id)

    def authenticated(self, session_id: str, user: str, limit: int = 0) -> bool:
        """The session belongs to `user` now.

        False, and nothing changed, where the user has `limit` sessions already (0: no limit).
        """
        session = self._sessions.get(session_id)
        if session is None or (limit and self._users.everywhere(user) >= limit):
            return False
        if session.info.user:
            self._users.remove(session.info.user)
        self._users.add(user)
        session.info = _with_user(session.info, user)
        self._note(session_id)
        return True

    def moved(self, session_id: str, address: str) -> None:
        """A front end said that the session's client is at another address than its own."""
        session = self._sessions.get(session_id)
        if session is None or session.info.address == address:
            return
        self._addresses.remove(self._key(session.info.address))
        self._addresses.add(self._key(address))
        session.info = replace(session.info, address=address)
        self._note(session_id)

    def closed(self, session_id: str) -> None:
        """The session is over; idempotent."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        self._addresses.remove(self._key(session.info.address))
        if session.info.user:
            self._users.remove(session.info.user)
        self._changed.pop(session_id, None)
        if session_id in self._told:
            self._told.discard(session_id)
            self._closed.append(session_id)
            self._wake()

    def from_address(self, address: str) -> int:
        """Sessions from the address (of IPv6: from its network of `ipv6prefix` bits), in all processes alike."""
        return self._addresses.everywhere(self._key(address))

    def of_user(self, user: str) -> int:
        """Sessions of the user, in all processes of the service on this machine."""
        return self._users.everywhere(user)

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

    def _key(self, address: str) -> str:
        """What an address counts by: a client has a whole network of IPv6 to choose its addresses from."""
        if ":" not in address:
            return address
        key = address_key(address, self._ipv6prefix)
        return address if key is None else f"{key.number:x}/{key.length}"

    def _note(self, session_id: str) -> None:
        self._changed[session_id] = None
        self._wake()

    def _wake(self) -> None:
        if self.on_change is not None and len(self._changed) + len(self._closed) == 1:
            self.on_change()


def _with_user(info: SessionInfo, user: str) -> SessionInfo:
    # Every login comes by here, and `dataclasses.replace` takes four times as long.
    return SessionInfo(info.session_id, info.service, user, info.address, info.started, info.process)


class _Counts:
    """Sessions by a key: exactly here, and with those of the other processes for a limit."""

    __slots__ = ("_here", "_kind", "_shared")

    def __init__(self, kind: Kind, shared: SharedCounts | None) -> None:
        self._kind = kind
        self._shared = shared
        self._here: dict[str, int] = {}

    def add(self, key: str) -> None:
        self._here[key] = self._here.get(key, 0) + 1
        if self._shared is not None:
            self._shared.add(self._kind, key, 1)

    def remove(self, key: str) -> None:
        left = self._here.get(key, 0) - 1
        if left > 0:
            self._here[key] = left
        else:
            self._here.pop(key, None)
        if self._shared is not None:
            self._shared.add(self._kind, key, -1)

    def everywhere(self, key: str) -> int:
        here = self._here.get(key, 0)
        return here if self._shared is None else here + self._shared.elsewhere(self._kind, key)
