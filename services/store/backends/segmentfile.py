"""The format of a segment file, and one such file as it is written and scanned. All of it blocks.

A file starts with `MKSEG01\\n` and its own number. Each record is a header (magic, CRC-32 of the rest of the header,
length, BLAKE2b-256 of the body) and the body. Space may be reserved behind the last record: it reads as zeros.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate, islice
from struct import Struct
from typing import Final

from services.common.segments import segment_folder, segment_number, segment_path
from services.store.backends.digests import DIGEST_SIZE

FILE_MAGIC: Final = b"MKSEG01\n"
FILE_HEADER: Final = Struct("<8sQ")
RECORD_MAGIC: Final = b"MKB\x01"
RECORD_HEADER: Final = Struct("<4sIQ32s")
_CHECKED: Final = Struct("<Q32s")
CHUNK: Final = 1 << 20
RESERVE: Final = 8 << 20
"""Space is reserved in steps of this: a write into reserved space needs less of the file system's journal."""
_VECTOR: Final = 512
"""Buffers handed over in one call; the system takes 1024."""


def record_header(length: int, digest: bytes) -> bytes:
    """What stands before a body."""
    return RECORD_HEADER.pack(RECORD_MAGIC, zlib.crc32(_CHECKED.pack(length, digest)), length, digest)


def parse_record_header(header: bytes) -> tuple[int, bytes] | None:
    """Length and digest, None where there is no whole record header."""
    if len(header) != RECORD_HEADER.size:
        return None
    magic, crc, length, digest = RECORD_HEADER.unpack(header)
    if magic != RECORD_MAGIC or crc != zlib.crc32(_CHECKED.pack(length, digest)):
        return None
    return length, digest


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def segment_numbers(store_path: str) -> list[int]:
    """The segments that there are, ascending."""
    names = os.listdir(segment_folder(store_path))
    return sorted(number for name in names if (number := segment_number(name)) is not None)


class SegmentFile:
    """A segment that is being written."""

    def __init__(self, store_path: str, number: int) -> None:
        """Make the file, durably. Raises OSError, and leaves nothing behind then."""
        self.number = number
        self.path = segment_path(store_path, number)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self._reserved = 0
        self.sound = True
        """Whether more may be written: not after a failed write that could not be taken back."""
        self.end = 0
        """Where the next record begins; everything before it was written, and is durable after `sync`."""
        try:
            self._write([FILE_HEADER.pack(FILE_MAGIC, number)])
            os.fsync(self._fd)
            sync_folder(segment_folder(store_path))
        except OSError:
            os.close(self._fd)
            os.unlink(self.path)
            raise

    def append(self, records: Sequence[tuple[bytes, bytes]]) -> list[int]:
        """Write (body, digest) records; returns where each body begins.

        Raises OSError; the file then ends where it did before.
        """
        buffers: list[bytes] = []
        for body, digest in records:
            buffers += (record_header(len(body), digest), body)
        # Each body ends where the next one's header begins.
        ends = list(accumulate((len(body) + RECORD_HEADER.size for body, _ in records), initial=self.end))
        self._reserve(ends[-1])
        self._write(buffers)
        return [end + RECORD_HEADER.size for end in ends[:-1]]

    def _reserve(self, end: int) -> None:
        if end <= self._reserved:
            return
        reserved = -(-end // RESERVE) * RESERVE
        try:
            os.posix_fallocate(self._fd, self.end, reserved - self.end)
        except OSError:
            return  # too little space, or a file system without the call: the write itself will tell
        self._reserved = reserved

    def _write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Write at the end. On failure the file is cut back to where it ended."""
        position = self.end
        try:
            pending: list[bytes | memoryview] = list(buffers)
            while pending:
                written = os.pwritev(self._fd, pending[:_VECTOR], position)
                position += written
                pending = _unwritten(pending, written)
        except OSError:
            self._cut(self.end)
            raise
        self.end = position

    def _cut(self, end: int) -> None:
        try:
            os.ftruncate(self._fd, end)
        except OSError:
            self.sound = False
        self.end = self._reserved = end

    def copy(self, source: int, offset: int, length: int, digest: bytes) -> int | None:
        """Append a record whose body is read from another file; None, and nothing written, where it is damaged."""
        start = self.end
        check = blake2b(digest_size=DIGEST_SIZE)
        try:
            self._write([record_header(length, digest)])
            for chunk in _chunks(source, offset, length):
                check.update(chunk)
                self._write([chunk])
        except OSError:
            self._cut(start)
            raise
        if check.digest() == digest:
            return start + RECORD_HEADER.size
        self._cut(start)
        return None

    def sync(self) -> None:
        """Make everything before `end` durable. Raises OSError: what was written since the last time may be lost."""
        os.fdatasync(self._fd)

    def seal(self) -> None:
        """Give reserved space back and close."""
        try:
            os.ftruncate(self._fd, self.end)
        finally:
            os.close(self._fd)

    def abandon(self) -> None:
        """Close a file that can no longer be trusted with more; what was synced before stays good."""
        os.close(self._fd)


def _unwritten(buffers: list[bytes | memoryview], written: int) -> list[bytes | memoryview]:
    """What is left of the buffers behind their first `written` bytes."""
    for place, buffer in enumerate(buffers):
        if written < len(buffer):
            return [memoryview(buffer)[written:], *islice(buffers, place + 1, None)]
        written -= len(buffer)
    return []


def _chunks(fd: int, offset: int, length: int) -> Iterator[bytes]:
    """The bytes of a record; fewer than `length` where the file ends."""
    end = offset + length
    while offset < end:
        chunk = os.pread(fd, min(CHUNK, end - offset), offset)
        if not chunk:
            return
        yield chunk
        offset += len(chunk)


def read_at(fd: int, offset: int, length: int) -> bytes:
    """The bytes there, fewer where the file ends. One call reads up to 2 GiB less a page."""
    data = os.pread(fd, length, offset)
    if not data or len(data) == length:
        return data
    return data + b"".join(_chunks(fd, offset + len(data), length - len(data)))


@dataclass(frozen=True, slots=True)
class Record:
    """A record as its header describes it; `offset` is where the body begins."""

    offset: int
    length: int
    digest: bytes

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.offset + self.length


def has_file_header(fd: int, number: int) -> bool:
    """Whether the file says of itself that it is this segment."""
    return os.pread(fd, FILE_HEADER.size, 0) == FILE_HEADER.pack(FILE_MAGIC, number)


def records(fd: int) -> Iterator[Record]:
    """The records of a file from its start up to the first place where none begins (the end, or damage)."""
    size = os.fstat(fd).st_size
    offset = FILE_HEADER.size
    while parsed := parse_record_header(os.pread(fd, RECORD_HEADER.size, offset)):
        record = Record(offset + RECORD_HEADER.size, *parsed)
        if record.end > size:
            return
        yield record
        offset = record.end


def body_is_whole(fd: int, record: Record) -> bool:
    """Whether a record's body is what its digest says."""
    check = blake2b(digest_size=DIGEST_SIZE)
    for chunk in _chunks(fd, record.offset, record.length):
        check.update(chunk)
    return check.digest() == record.digest


def _ends_in_zeros(fd: int) -> bool:
    size = os.fstat(fd).st_size
    return not os.pread(fd, RECORD_HEADER.size, max(size - RECORD_HEADER.size, 0)).strip(b"\0")


def release_reserve(path: str) -> None:
    """Cut reserved space off a file whose writer was killed; anything that is not plainly that is left alone."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if not _ends_in_zeros(fd):
            return
        end = FILE_HEADER.size
        for record in records(fd):
            end = record.end
        if not any(chunk.strip(b"\0") for chunk in _chunks(fd, end, os.fstat(fd).st_size - end)):
            os.ftruncate(fd, end)
    finally:
        os.close(fd)
