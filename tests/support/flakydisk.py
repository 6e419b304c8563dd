"""A disk whose fsync can be made to fail, as SQLite sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

_REAL = apsw.vfs_names()[0]


class FlakyDisk:
    """While `failing`, no SQLite file that was opened through it can be synced."""

    def __init__(self) -> None:
        self.failing = False

    def check(self) -> None:
        """Raises the error of a failed fsync."""
        if self.failing:
            raise apsw.IOError("fsync failed")


class _File(apsw.VFSFile):
    disk = FlakyDisk()

    def xSync(self, flags: int) -> None:  # noqa: N802 - the engine's name
        _File.disk.check()
        super().xSync(flags)


class _Disks(apsw.VFS):
    def __init__(self) -> None:
        super().__init__("flaky", _REAL, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:  # noqa: N802
        return _File(_REAL, name, flags)


@contextmanager
def flaky_disk() -> Iterator[FlakyDisk]:
    """Within, databases are opened on such a disk."""
    disks = _Disks()
    _File.disk = FlakyDisk()
    try:
        yield _File.disk
    finally:
        disks.unregister()
