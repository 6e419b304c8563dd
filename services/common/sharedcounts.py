"""How many sessions a user or an address has in the other processes of a service on this machine.

Each process counts its own sessions in a file of its own that it alone writes and the others have mapped; nobody waits
for anybody. A process holds a lock on its file as long as it lives: what a dead one counted counts no more. Names and
addresses are not in it: a counter is found by a keyed hash, twice, and the lower of the two counts. So the size is
fixed whatever comes; with some thousand sessions about one key in some thousands is counted a little too high.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import Final

from services.common.telemetry import session_logger

HEADER: Final = 4096
"""Bytes before the counters; the secret of the hash is the first of them."""
SECRET: Final = 16
COUNTERS: Final = 1 << 18
"""Of one hash of one kind."""
ROWS: Final = 2
LOOK_SECONDS: Final = 1.0
"""How often another process's file is looked at: is it alive, is there a new one?"""
_LOG: Final = session_logger("sessions")


class Kind(IntEnum):
    """What is counted."""

    USER = 0
    ADDRESS = 1


SIZE: Final = HEADER + 4 * COUNTERS * ROWS * len(Kind)


class _Table:
    """Counters in a mapped file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, SIZE)
        self._secret = self._map[:SECRET]
        self.counters = memoryview(self._map)[HEADER:].cast("I")

    def places(self, kind: Kind, key: str) -> tuple[int, int]:
        """Where the two counters of a key are."""
        digest = int.from_bytes(
            blake2b(key.encode("utf-8", "replace"), digest_size=8, key=self._secret).digest(), "big"
        )
        first = kind * ROWS * COUNTERS
        return first + digest % COUNTERS, first + COUNTERS + (digest >> 32) % COUNTERS

    def count(self, kind: Kind, key: str) -> int:
        """Sessions of the key, or a few more."""
        one, other = self.places(kind, key)
        return min(self.counters[one], self.counters[other])

    def is_alone(self) -> bool:
        """Whether no process holds the file: whoever made it is gone."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return True

    def inode(self) -> int:
        """Which file it is, whatever its name means by now."""
        return os.fstat(self._descriptor).st_ino

    def close(self) -> None:
        """Let it go."""
        self.counters.release()
        self._map.close()
        os.close(self._descriptor)


class _Other:
    """Another process's table, opened anew where it was replaced and left alone while nobody holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table: _Table | None = None
        self._look_at = 0.0

    def count(self, kind: Kind, key: str, now: float) -> int:
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look()
        return 0 if self._table is None else self._table.count(kind, key)

    def _look(self) -> None:
        table = self._table
        try:
            inode = os.stat(self._path).st_ino
        except OSError:
            inode = 0
        if table is not None and (table.inode() != inode or table.is_alone()):
            table.close()
            self._table = table = None
        if table is None and inode:
            self._table = self._opened()

    def _opened(self) -> _Table | None:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        if os.fstat(descriptor).st_size != SIZE:
            os.close(descriptor)
            return None
        table = _Table(descriptor)
        if table.is_alone():
            table.close()
            return None
        return table


class SharedCounts:
    """This process's counts, and those of its siblings. Raises OSError: the file cannot be made."""

    def __init__(
        self, folder: Path, service: str, worker: int, workers: int, clock: Callable[[], float] = monotonic
    ) -> None:
        """`worker` of `workers` processes of the service, counted from 0."""
        self._clock = clock
        self._mine = _made(_path(folder, service, worker))
        self._others = [_Other(_path(folder, service, number)) for number in range(workers) if number != worker]

    def add(self, kind: Kind, key: str, number: int) -> None:
        """So many more sessions here; fewer where it is negative."""
        counters = self._mine.counters
        for place in self._mine.places(kind, key):
            counters[place] = max(0, counters[place] + number)

    def elsewhere(self, kind: Kind, key: str) -> int:
        """Sessions in the other processes."""
        now = self._clock()
        return sum(other.count(kind, key, now) for other in self._others)


def open_counts(statefile: str, service: str, worker: int, workers: int) -> SharedCounts | None:
    """Counts beside the file that processes share (`access.statefile`); None where there is nothing to share, or no
    place for it: each process counts for itself then.
    """
    if workers < 2 or not statefile:
        return None
    try:
        return SharedCounts(Path(statefile).parent, service, worker, workers)
    except OSError as error:
        _LOG.warning("sessions are counted by each process alone", path=error.filename, why=error.strerror)
        return None


def _path(folder: Path, service: str, worker: int) -> Path:
    return folder / f"sessions-{service}-{worker}"


def _made(path: Path) -> _Table:
    """A new file in the place of the old one, which others may have mapped still."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(partial)
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, SIZE)
        os.pwrite(descriptor, os.urandom(SECRET), 0)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.replace(partial, path)
    except OSError:
        os.close(descriptor)
        raise
    return _Table(descriptor)
