"""One `mailkeep run` at a time on a data folder, and whether there is one."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final

LOCK_FILE: Final = Path("run", "mailkeep.lock")
_TRIES: Final = 5
_PAUSE: Final = 0.05
"""Whoever only asks holds the lock for a moment."""


class AlreadyRunning(Exception):  # noqa: N818 - the name is what the operator reads
    """Another supervisor has the folder; the text is for the operator."""

    def __init__(self, data: str, pid: int) -> None:
        super().__init__(f"mailkeep runs already on {data} (process {pid or 'unknown'}): stop it first")
        self.pid = pid


class DataFolder:
    """Holds the data folder until the `with` block or the process ends. Raises AlreadyRunning, OSError."""

    def __init__(self, data: str) -> None:
        self._data = data
        self._descriptor = -1

    def __enter__(self) -> None:
        path = Path(self._data, LOCK_FILE)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not self._lock():
            pid = _pid(self._descriptor)
            os.close(self._descriptor)
            raise AlreadyRunning(self._data, pid)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The file stays: removing it would let two processes lock two files of that name.
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def _lock(self) -> bool:
        for _ in range(_TRIES):
            if _try(self._descriptor, fcntl.LOCK_EX):
                return True
            time.sleep(_PAUSE)
        return False


def supervisor_of(data: str) -> int:
    """The process id of the supervisor on this data folder; 0 where there is none that we may know of."""
    try:
        descriptor = os.open(Path(data, LOCK_FILE), os.O_RDONLY)
    except OSError:
        return 0
    try:
        return 0 if _try(descriptor, fcntl.LOCK_SH) else _pid(descriptor)
    finally:
        os.close(descriptor)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid(descriptor: int) -> int:
    text = os.pread(descriptor, 20, 0).strip()
    return int(text) if text.isdigit() else 0
