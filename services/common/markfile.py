"""Marks and bans of addresses that all processes of a machine share: a small file of a fixed size, mapped into each.

Reading is reading memory. A change is one record of 64 bytes with its checksum, under a lock on its bucket that is
never waited for in a service: a process that dies lets it go, and what it had half written counts as empty. The file
never grows: an address has a place in one bucket, which an attacker cannot choose (the hash has a secret), and where
that is full the mark that matters least makes room. Bans by an administrator have room of their own.

    header | MAX_BANS bans | BUCKETS buckets of WAYS marks
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from time import sleep
from typing import Final

from services.common.access.marks import (
    KEY_OFFSET,
    RECORD,
    Ban,
    Key,
    Mark,
    MarkRules,
    key_bytes,
    pack_ban,
    pack_mark,
    unpack_ban,
    unpack_mark,
)
from services.common.replacing import give_away, locked

MAGIC: Final = b"mailkeep marks 1"
_SECRET: Final = slice(16, 32)
_GENERATION: Final = slice(32, 40)
_HORIZON: Final = slice(40, 48)
"""From when on no mark says anything; while that is past, no mark is looked for."""
_NUMBER: Final = struct.Struct("<Q")
_TIME: Final = struct.Struct("<d")
HEADER: Final = 4096
MAX_BANS: Final = 1024
BUCKETS: Final = 2048
WAYS: Final = 8
_MARKS: Final = HEADER + MAX_BANS * RECORD
SIZE: Final = _MARKS + BUCKETS * WAYS * RECORD
_TRIES: Final = 4
_PATIENCE: Final = 200
"""How often a command line tool tries to get a lock, with PAUSE seconds in between."""
PAUSE: Final = 0.01
_EMPTY: Final = bytes(RECORD)


class MarkFile:
    """The file at `path`, made where it is missing or of another kind; "" is memory of this process alone.

    `patient`: wait for locks (a command line tool). Raises OSError: the folder cannot be written, the disk is full.
    """

    def __init__(self, path: str = "", *, patient: bool = False) -> None:
        self._tries = _PATIENCE if patient else _TRIES
        self._pause = PAUSE if patient else 0.0
        self._descriptor = _open(path) if path else -1
        self._map = mmap.mmap(self._descriptor, SIZE)
        if not path:
            self._map[:HEADER] = _header()
        self._secret = self._map[_SECRET]
        self._bans: tuple[bytes, tuple[Ban, ...]] = (b"", ())

    def close(self) -> None:
        """Let the file go."""
        self._map.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # ---- marks ------------------------------------------------------------------------------------------------------
    @property
    def horizon(self) -> float:
        """From when on no mark says anything."""
        horizon: float = _TIME.unpack(self._map[_HORIZON])[0]
        return horizon

    def find(self, key: Key) -> Mark | None:
        """The mark of an address."""
        start, name = self._place(key), key_bytes(key)
        data = self._map[start : start + WAYS * RECORD]
        for way in range(0, len(data), RECORD):
            # Most often the name tells already that it is another's.
            if data.startswith(name, way + KEY_OFFSET) and (mark := unpack_mark(data[way : way + RECORD])) is not None:
                return mark
        return None

    def change(self, key: Key, change: Callable[[Mark], Mark], rules: MarkRules, now: float) -> Mark | None:
        """Replace an address's mark (an empty one where there is none); the new one, or None where another process
        held the bucket all the time.
        """
        start = self._place(key)
        with self._lock(start, WAYS * RECORD) as held:
            if not held:
                return None
            bucket = self._bucket(start)
            way = next((way for way, mark in enumerate(bucket) if mark is not None and mark.key == key), None)
            mark = change(Mark(key) if way is None else bucket[way] or Mark(key))
            if way is None:
                way = min(range(WAYS), key=lambda way: _weight(bucket[way], rules, now))
            where = start + way * RECORD
            self._map[where : where + RECORD] = pack_mark(mark)
        self._look_until(mark.matters(rules))
        return mark

    def marks(self) -> Iterator[Mark]:
        """Every mark there is; a copy of one moment is gone through."""
        data = self._map[_MARKS:SIZE]
        for start in range(0, len(data), RECORD):
            record = data[start : start + RECORD]
            if record != _EMPTY and (mark := unpack_mark(record)) is not None:
                yield mark

    # ---- bans -------------------------------------------------------------------------------------------------------
    def bans(self) -> tuple[Ban, ...]:
        """What administrators shut out; read again only after a change."""
        generation = self._map[_GENERATION]
        if generation != self._bans[0]:
            records = (unpack_ban(self._map[where : where + RECORD]) for where in _ban_places())
            self._bans = generation, tuple(ban for ban in records if ban is not None)
        return self._bans[1]

    def add_ban(self, ban: Ban, now: float) -> bool:
        """Add one, or replace that of the same network; bans that are over make room. False where there is none."""
        with self._lock(HEADER, _MARKS - HEADER) as held:
            found = {where: self._map[where : where + RECORD] for where in _ban_places()}
            name = key_bytes(ban.key)
            same = (where for where, record in found.items() if record.startswith(name, KEY_OFFSET))
            free = (where for where, record in found.items() if (old := unpack_ban(record)) is None or old.until <= now)
            where = next(same, None) or next(free, None)
            if not held or where is None:
                return False
            self._write_ban(where, pack_ban(ban))
        return True

    def remove_ban(self, key: Key) -> bool:
        """Take one back; whether there was one."""
        with self._lock(HEADER, _MARKS - HEADER) as held:
            for where in _ban_places():
                old = unpack_ban(self._map[where : where + RECORD])
                if held and old is not None and old.key == key:
                    self._write_ban(where, _EMPTY)
                    return True
        return False

    def _write_ban(self, where: int, record: bytes) -> None:
        self._map[where : where + RECORD] = record
        self._map[_GENERATION] = _NUMBER.pack((_NUMBER.unpack(self._map[_GENERATION])[0] + 1) % (1 << 64))

    # ---- inside -----------------------------------------------------------------------------------------------------
    def _place(self, key: Key) -> int:
        """Where the address's bucket begins."""
        digest = blake2b(key_bytes(key), digest_size=4, key=self._secret).digest()
        return _MARKS + int.from_bytes(digest, "big") % BUCKETS * WAYS * RECORD

    def _bucket(self, start: int) -> list[Mark | None]:
        data = self._map[start : start + WAYS * RECORD]
        return [unpack_mark(data[way : way + RECORD]) for way in range(0, len(data), RECORD)]

    def _look_until(self, when: float) -> None:
        if when <= self.horizon:
            return
        with self._lock(_HORIZON.start, 8):
            # Also without the lock: too early a horizon would let somebody in, too late a one costs a look.
            self._map[_HORIZON] = _TIME.pack(max(when, self.horizon))

    @contextmanager
    def _lock(self, start: int, length: int) -> Iterator[bool]:
        """Whether the part is ours for the block."""
        held = self._descriptor < 0 or self._try_lock(start, length)
        try:
            yield held
        finally:
            if held and self._descriptor >= 0:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, length, start)

    def _try_lock(self, start: int, length: int) -> bool:
        for _ in range(self._tries):
            with suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
                return True
            if self._pause:
                sleep(self._pause)
        return False


def _weight(mark: Mark | None, rules: MarkRules, now: float) -> tuple[bool, float, float]:
    """What makes room first: nothing, what says nothing any more, who did least, who did it longest ago."""
    if mark is None or mark.matters(rules) <= now:
        return (False, 0.0, 0.0)
    return (mark.banned(now), mark.badness, mark.last)


def _ban_places() -> range:
    return range(HEADER, _MARKS, RECORD)


def _header() -> bytes:
    return (MAGIC + os.urandom(16)).ljust(HEADER, b"\0")


def _open(path: str) -> int:
    """A descriptor of the file. One of another size or kind is replaced, not changed: others may have it mapped."""
    with locked(Path(path)):
        descriptor = _existing(path)
        if descriptor is not None:
            return descriptor
        partial = f"{path}.new"
        with suppress(FileNotFoundError):
            os.unlink(partial)
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # All of its room is taken now: memory that a full disk has no room for would be a crash, not an error.
            os.posix_fallocate(descriptor, 0, SIZE)
            os.pwrite(descriptor, _header(), 0)
            give_away(descriptor, like=Path(path))
            os.replace(partial, path)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def _existing(path: str) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if os.fstat(descriptor).st_size == SIZE and os.pread(descriptor, len(MAGIC), 0) == MAGIC:
        return descriptor
    os.close(descriptor)
    return None
