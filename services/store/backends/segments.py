"""Bodies in append-only segment files: one writer thread, one fdatasync for all that is queued at a time.

A file is never written again once it was closed: each start of the store begins a new one, so a torn end that a crash
left behind hurts nobody. Segment numbers are never used twice, for which the highest file is always kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections import OrderedDict
from functools import partial
from typing import Final

from services.common.errors import Reason, StoreError
from services.common.segments import SoundPlaces, segment_folder, segment_path
from services.common.tracing import ERROR, Span, current
from services.store.backends import Location
from services.store.backends.digests import DIGEST_SIZE, matches
from services.store.backends.jobs import Inbox, Outcomes, Ticket
from services.store.backends.segmentfile import (
    RECORD_HEADER,
    Record,
    SegmentFile,
    body_is_whole,
    read_at,
    release_reserve,
    segment_numbers,
    sync_folder,
)

SEGMENT_BYTES: Final = 256 << 20
QUEUED_BYTES: Final = 256 << 20
"""Bytes of bodies that may wait for the disk; more are refused."""
GROUP_BODIES: Final = 512
GROUP_BYTES: Final = 16 << 20
"""A group that has this much is flushed, so that small bodies do not wait for many large ones."""
INLINE_BYTES: Final = 128 << 10
"""Up to this size a body that the page cache holds is read and checked in the loop: a thread hop costs more."""
OPEN_FILES: Final = 128


class _Put(Ticket):
    """A body on its way to the disk."""

    __slots__ = ("body", "digest")

    def __init__(self, future: asyncio.Future[Location], body: bytes, digest: bytes) -> None:
        super().__init__(future, len(body) + RECORD_HEADER.size)
        self.body = body
        self.digest = digest


class SegmentNumbers:
    """Hands out the numbers of new segments. Any thread may ask."""

    def __init__(self, highest: int) -> None:
        self._lock = threading.Lock()
        self._highest = highest

    def take(self) -> int:
        """The next number."""
        with self._lock:
            self._highest += 1
            return self._highest


class _Appender:
    """The writer thread's work: groups into the active segment."""

    def __init__(self, store_path: str, numbers: SegmentNumbers, outcomes: Outcomes, inbox: Inbox[_Put]) -> None:
        self._store_path = store_path
        self._numbers = numbers
        self._outcomes = outcomes
        self._inbox = inbox
        self._segment: SegmentFile | None = None
        self.segment_bytes = SEGMENT_BYTES
        self.sealed: dict[int, float] = {}
        """Segments closed since the start, with the monotonic time of it."""

    def run(self) -> None:
        """The thread's whole life."""
        waiting: list[_Put] = []
        while self._inbox.gather(waiting, GROUP_BODIES):
            group = _first_group(waiting)
            self._flush(group)
            del waiting[: len(group)]
            self._outcomes.post(group)
        self._close_segment()

    def _flush(self, group: list[_Put]) -> None:
        try:
            segment = self._segment_with_room()
            offsets = segment.append([(put.body, put.digest) for put in group])
        except OSError as error:
            self._fail(group, error, keep=self._segment is not None and self._segment.sound)
            return
        try:
            segment.sync()
        except OSError as error:
            # The pages that were not written may be marked clean: this file gets nothing more.
            self._fail(group, error, keep=False)
            return
        for put, offset in zip(group, offsets, strict=True):
            put.result = Location(segment.number, offset, len(put.body))

    def _segment_with_room(self) -> SegmentFile:
        if self._segment is not None and self._segment.end >= self.segment_bytes:
            self._close_segment()
        if self._segment is None:
            self._segment = SegmentFile(self._store_path, self._numbers.take())
        return self._segment

    def _fail(self, group: list[_Put], error: OSError, *, keep: bool) -> None:
        for put in group:
            put.error = StoreError(Reason.STORAGE_FULL, {"errno": str(error.errno)})
        if not keep and self._segment is not None:
            segment, self._segment = self._segment, None
            self.sealed[segment.number] = time.monotonic()
            segment.abandon()

    def _close_segment(self) -> None:
        if self._segment is None:
            return
        segment, self._segment = self._segment, None
        self.sealed[segment.number] = time.monotonic()
        with contextlib.suppress(OSError):  # reserved space then stays until the next start; every record was synced
            segment.seal()


def _written(span: Span, future: asyncio.Future[Location]) -> None:
    """A body of a call that is traced is on the disk, or will not be."""
    span.end(ERROR if future.cancelled() or future.exception() else "ok")


def _first_group(waiting: list[_Put]) -> list[_Put]:
    total = 0
    for place, put in enumerate(waiting[:GROUP_BODIES]):
        total += put.weight
        if total >= GROUP_BYTES:
            return waiting[: place + 1]
    return waiting[:GROUP_BODIES]


class _OpenFiles:
    """Read-only descriptors of segments, the latest used ones. It belongs to the loop's thread alone."""

    def __init__(self, store_path: str) -> None:
        self._store_path = store_path
        self._fds: OrderedDict[int, int] = OrderedDict()

    def fd(self, segment: int) -> int:
        """A descriptor, good until the next call. Raises OSError."""
        fd = self._fds.get(segment)
        if fd is not None:
            self._fds.move_to_end(segment)
            return fd
        fd = os.open(segment_path(self._store_path, segment), os.O_RDONLY | os.O_CLOEXEC)
        self._fds[segment] = fd
        if len(self._fds) > OPEN_FILES:
            os.close(self._fds.popitem(last=False)[1])
        return fd

    def forget(self, segment: int) -> None:
        """Close the descriptor of a segment that is to go."""
        fd = self._fds.pop(segment, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Close all."""
        while self._fds:
            os.close(self._fds.popitem()[1])


class SegmentBodyStore:
    """`BodyStore` over segment files; it belongs to the event loop in which it was opened."""

    def __init__(self, store_path: str, highest: int) -> None:
        loop = asyncio.get_running_loop()
        self.store_path = store_path
        self.numbers = SegmentNumbers(highest)
        self._first = highest + 1
        self._outcomes = Outcomes(loop, QUEUED_BYTES)
        self._inbox: Inbox[_Put] = Inbox(loop)
        self._appender = _Appender(store_path, self.numbers, self._outcomes, self._inbox)
        self._files = _OpenFiles(store_path)
        self._sound = SoundPlaces()
        self._view = memoryview(bytearray(INLINE_BYTES))
        self._thread = threading.Thread(target=self._appender.run, name="store-bodies", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, store_path: str) -> SegmentBodyStore:
        """Open the bodies below the store's folder; the folder of segments is made where it is missing."""
        return cls(store_path, await asyncio.to_thread(_prepare, store_path))

    @property
    def segment_bytes(self) -> int:
        """Size from which a segment is closed and a new one begun."""
        return self._appender.segment_bytes

    @segment_bytes.setter
    def segment_bytes(self, value: int) -> None:
        self._appender.segment_bytes = value

    async def put(self, body: bytes, digest: bytes) -> Location:
        """Keep a body (`digest`: its BLAKE2b-256); it is durable on return.

        Raises STORAGE_FULL, RESOURCE_EXHAUSTED (too many bytes wait), UNAVAILABLE (closed).
        """
        return await self.begin(body, digest)

    def begin(self, body: bytes, digest: bytes) -> asyncio.Future[Location]:
        """See `put`: what it waits for."""
        if len(digest) != DIGEST_SIZE:
            raise StoreError(Reason.INVALID_ARGUMENT, {"digest": "wrong size"})
        put = _Put(self._outcomes.admit(len(body) + RECORD_HEADER.size), body, digest)
        self._inbox.submit(put)
        span = current()
        if span is not None:
            put.future.add_done_callback(partial(_written, span.part("body to disk")))
        return put.future

    async def read(self, location: Location, digest: bytes, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a body. The digest is verified, of all of it, when it is read from its start: whoever reads on from
        there in parts has the first one only of a body that is sound.

        Raises MESSAGE_NOT_FOUND where the segment is gone, STORAGE_CORRUPT.
        """
        wanted = location.length - offset if length is None else min(length, location.length - offset)
        if offset < 0 or wanted < 0:
            raise StoreError(Reason.INVALID_ARGUMENT)
        checked = None if offset else digest
        whole = wanted == location.length
        if (
            wanted <= INLINE_BYTES
            and (offset or whole)
            and (data := self._read_now(location, offset, wanted)) is not None
        ):
            return _sound(data, wanted, location, checked)
        return await asyncio.to_thread(_pread, self.store_path, location, offset, wanted, checked)

    def read_now(self, location: Location, digest: bytes) -> bytes | None:
        """A whole body that the page cache holds. The digest is verified when this store first reads from there."""
        data = self._read_now(location, 0, location.length) if location.length <= INLINE_BYTES else None
        if data is None or self._sound.known(location.segment, location.offset, digest):
            return data
        if not matches(data, digest):
            return None
        self._sound.note(location.segment, location.offset, digest)
        return data

    def _read_now(self, location: Location, offset: int, length: int) -> bytes | None:
        """The bytes if the page cache holds all of them."""
        view = self._view[:length]
        try:
            fd = self._files.fd(location.segment)
            count = os.preadv(fd, (view,), location.offset + offset, os.RWF_NOWAIT)
        except OSError:  # not cached, or a file system that cannot say so, or no such file: the slow way tells
            return None
        return bytes(view) if count == length else None

    def is_settled(self, segment: int, grace: float) -> bool:
        """Whether nothing that was put into the segment can still be on its way into the metadata.

        True for segments of earlier starts, and for those closed `grace` seconds ago.
        """
        if segment < self._first:
            return True
        closed = self._appender.sealed.get(segment)
        return closed is not None and time.monotonic() - closed >= grace

    def begin_segment(self) -> SegmentFile:
        """A new segment beside the active one. Blocks; any thread may call it. Raises OSError."""
        return SegmentFile(self.store_path, self.numbers.take())

    def settle(self, segment: int) -> None:
        """Count a segment that was begun with `begin_segment` as closed, from now on."""
        self._appender.sealed[segment] = time.monotonic()

    async def remove(self, segment: int) -> None:
        """Delete a segment's file."""
        self._files.forget(segment)
        self._appender.sealed.pop(segment, None)
        await asyncio.to_thread(_unlink, self.store_path, segment)

    async def close(self) -> None:
        """Flush and close."""
        if self._outcomes.closed:
            return
        self._outcomes.closed = True
        self._inbox.close()
        await asyncio.to_thread(self._thread.join)
        self._files.close()


def _prepare(store_path: str) -> int:
    """Make the folder, tidy up behind a killed writer; returns the highest segment number in use."""
    folder = segment_folder(store_path)
    if not os.path.isdir(folder):
        os.makedirs(folder, mode=0o750)
        sync_folder(store_path)
    numbers = segment_numbers(store_path)
    for number in numbers:
        release_reserve(segment_path(store_path, number))
    return max(numbers, default=0)


def _unlink(store_path: str, segment: int) -> None:
    os.unlink(segment_path(store_path, segment))
    sync_folder(segment_folder(store_path))


def _pread(store_path: str, location: Location, offset: int, length: int, digest: bytes | None) -> bytes:
    """Read in a thread, which has a descriptor of its own: the loop's may be closed meanwhile."""
    try:
        with open(segment_path(store_path, location.segment), "rb", buffering=0) as file:
            data = read_at(file.fileno(), location.offset + offset, length)
            if digest is not None and length < location.length:
                _check(file.fileno(), location, digest)
                digest = None
    except FileNotFoundError:
        raise StoreError(Reason.MESSAGE_NOT_FOUND, _where(location)) from None
    except OSError as error:
        reason = Reason.STORAGE_CORRUPT if error.errno == errno.EIO else Reason.INTERNAL
        raise StoreError(reason, _where(location) | {"errno": str(error.errno)}) from error
    return _sound(data, length, location, digest)


def _check(fd: int, location: Location, digest: bytes) -> None:
    if not body_is_whole(fd, Record(location.offset, location.length, digest)):
        raise StoreError(Reason.STORAGE_CORRUPT, _where(location))


def _sound(data: bytes, length: int, location: Location, digest: bytes | None) -> bytes:
    if len(data) != length or (digest is not None and not matches(data, digest)):
        raise StoreError(Reason.STORAGE_CORRUPT, _where(location))
    return data


def _where(location: Location) -> dict[str, str]:
    return {"segment": str(location.segment), "offset": str(location.offset)}
