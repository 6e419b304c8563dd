"""The directory's servers in their order: which is asked, and which is left alone for a while."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Generic, TypeVar

from services.common.directory.ldap.places import Place
from services.common.telemetry import session_logger

BACK_OFF_SECONDS: Final = 1.0
MAX_BACK_OFF_SECONDS: Final = 30.0
_LOG: Final = session_logger("directory")
Connection = TypeVar("Connection")


class Server(Generic[Connection]):
    """One server, and the connections to it that nobody uses now."""

    def __init__(self, place: Place, clock: Callable[[], float] = monotonic) -> None:
        self.place = place
        self.readers: deque[Connection] = deque()
        """Connections as the service account."""
        self.checkers: deque[Connection] = deque()
        """Connections on which passwords are tried."""
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    @property
    def up(self) -> bool:
        """Whether it may be asked: it answered last time, or was left alone for long enough."""
        return self._clock() >= self._until

    @property
    def failing(self) -> bool:
        """Whether it failed when it was last asked."""
        return self._failures > 0

    def failed(self, why: str) -> None:
        """It did not answer: leave it alone, longer each time."""
        if not self.up:
            # Others found out at the same time.
            return
        self._failures += 1
        seconds = min(BACK_OFF_SECONDS * 2 ** (self._failures - 1), MAX_BACK_OFF_SECONDS)
        self._until = self._clock() + seconds * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        if self._failures == 1:
            _LOG.error("directory server does not answer", server=self.place, why=why)

    def worked(self) -> None:
        """It answered."""
        if not self._failures:
            return
        self._failures = 0
        self._until = 0.0
        _LOG.info("directory server answers again", server=self.place)


def candidates(servers: Sequence[Server[Connection]]) -> list[Server[Connection]]:
    """Those to ask, in order: first the ones that answered last time, each group as it is configured."""
    return sorted((server for server in servers if server.up), key=lambda server: server.failing)
