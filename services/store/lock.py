"""One process at a time on a store's folder."""

from __future__ import annotations

import fcntl
import os
from typing import Final

LOCK_FILE: Final = "lock"


class StoreInUse(Exception):  # noqa: N818 - the name is what the operator reads
    """Another process holds the folder. The text is for the operator."""

    def __init__(self, path: str, pid: str) -> None:
        by = f"process {pid}" if pid else "another process"
        super().__init__(f"the store in {path} is in use by {by}: stop it first")
        self.pid = pid


class StoreLock:
    """Holds a store's folder until `release` or the end of the process, however that comes about."""

    def __init__(self, store_path: str) -> None:
        """Take the folder. Raises StoreInUse, and OSError where it cannot be written."""
        self._fd = os.open(os.path.join(store_path, LOCK_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise StoreInUse(store_path, pid) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the folder up. The file stays: removing it would let two processes lock two files of that name."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
