"""The front-end processes that are connected, and their sessions.

A process is there as long as one of its streams is; when the last one ends, whatever it owned is freed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from services.common.domain import SessionInfo
from services.common.errors import Reason, StoreError

MAX_SESSIONS: Final = 200_000
"""Sessions of one process that are kept; what is above is not shown."""


class Attached:
    """One AttachSessions stream: its sessions, and whom it is to close."""

    def __init__(self, process: str, kick: Callable[[list[str]], None]) -> None:
        self.process = process
        self.kick = kick
        self.sessions: dict[str, SessionInfo] = {}

    def update(self, opened: list[SessionInfo], closed: list[str]) -> None:
        """What the process tells."""
        for session_id in closed:
            self.sessions.pop(session_id, None)
        for info in opened:
            if len(self.sessions) < MAX_SESSIONS:
                self.sessions[info.session_id] = info


class Processes:
    """All that are connected. `gone` is called with the name of a process whose last stream ended."""

    def __init__(self, gone: Callable[[str], None]) -> None:
        self._gone = gone
        self._streams: dict[str, int] = {}
        self._attached: list[Attached] = []

    def __len__(self) -> int:
        return len(self._streams)

    def alive(self, process: str) -> bool:
        """Whether the process has a stream, so that its end will be noticed."""
        return process in self._streams

    @contextmanager
    def stream(self, process: str) -> Iterator[None]:
        """A stream of the process, as long as the block runs. Raises INVALID_ARGUMENT where the process has no name."""
        if not process:
            raise StoreError(Reason.INVALID_ARGUMENT)
        self._streams[process] = self._streams.get(process, 0) + 1
        try:
            yield
        finally:
            self._streams[process] -= 1
            if not self._streams[process]:
                del self._streams[process]
                self._gone(process)

    @contextmanager
    def attached(self, process: str, kick: Callable[[list[str]], None]) -> Iterator[Attached]:
        """The table of a session stream, as long as the block runs."""
        attached = Attached(process, kick)
        self._attached.append(attached)
        try:
            with self.stream(process):
                yield attached
        finally:
            self._attached.remove(attached)

    def sessions(self, matches: Callable[[SessionInfo], bool]) -> list[SessionInfo]:
        """Sessions of all processes, ordered by process and id."""
        found = [info for attached in self._attached for info in attached.sessions.values() if matches(info)]
        return sorted(found, key=lambda info: (info.process, info.session_id))

    def kick(self, matches: Callable[[SessionInfo], bool]) -> int:
        """Have sessions closed; how many."""
        count = 0
        for attached in self._attached:
            ids = [info.session_id for info in attached.sessions.values() if matches(info)]
            if ids:
                attached.kick(ids)
            count += len(ids)
        return count
