"""A file that several programs read and change: one change at a time, and readers see the old or the new, never half.

For the files that administrators edit as well: the users file and the configuration.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on changes to `path` (flock on a file beside it, which stays). Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(f"{path}.lock", "w") as lock:
        give_away(lock.fileno(), like=path)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def replace_file(path: Path, content: bytes) -> None:
    """Write, flush, rename, flush the folder. Keeps the mode and the owner; a new file is mode 0600. Raises OSError."""
    partial = f"{path}.new"
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    with suppress(FileNotFoundError):
        os.unlink(partial)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        give_away(descriptor, like=path)
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    _flush_folder(path.parent)


def give_away(descriptor: int, *, like: Path) -> None:
    """Let a new file belong to whom the file there belongs, or the folder: an edit by root must not lock the services
    out. Nothing where that is not ours to decide.
    """
    owner = os.stat(like if like.exists() else like.parent)
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (owner.st_uid, owner.st_gid):
        with suppress(PermissionError):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _flush_folder(folder: Path) -> None:
    """Make the new name durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
