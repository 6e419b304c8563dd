"""Reading bodies by reference: in the store's segment files where they can be seen, over gRPC everywhere else.

A body never changes and is named by its digest, so what was read once is good for ever. `read_now` is asked once for
each message that a client fetches, and must cost microseconds: it looks into the cache, then into the page cache of the
system (RWF_NOWAIT), and never waits for a disk.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol

from services.common.domain import AccountId, BodyRef
from services.common.options import Configuration
from services.common.segments import DIGEST_BEFORE, SoundPlaces, segment_path
from services.common.workthreads import WorkThreads

CACHE_BYTES: Final = 64 << 20
CHUNK: Final = 512 << 10
AT_ONCE: Final = 1 << 20
"""Largest body that `read_now` reads: copying more would hold the event loop up."""
OPEN_FILES: Final = 64
_CACHED_SHARE: Final = 8
"""A body larger than this part of the cache is not kept: it would push out too much."""
_VERIFIED_AT_ONCE: Final = 128 << 10
"""Largest body whose digest is computed in the event loop."""
_FORGET_SECONDS: Final = 5.0
"""How long a segment that was not there is not looked for again."""
_SWEEP_READS: Final = 4_096
_THREADS: Final = 4


class BodyReader(Protocol):
    """Whole messages: a reference's prefix and its body. Every method but `read_now` raises StoreError."""

    def read_now(self, ref: BodyRef) -> bytes | None:
        """The message if it can be had without waiting. Never blocks."""

    async def read(self, account_id: AccountId, ref: BodyRef) -> bytes:
        """One message."""

    async def read_many(self, account_id: AccountId, refs: Sequence[BodyRef]) -> list[bytes]:
        """Messages in order; what must be fetched is fetched together."""

    def stream(self, account_id: AccountId, ref: BodyRef, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """One message from `offset` on, in chunks; never more than two of them in memory."""

    def close(self) -> None:
        """Release files and threads."""


class BodySource(Protocol):
    """The part of `Store` that reads bodies."""

    async def read_bodies(self, account_id: AccountId, refs: Sequence[BodyRef]) -> Sequence[bytes]:
        """See `Store.read_bodies`."""

    def stream_body(self, account_id: AccountId, ref: BodyRef, offset: int = 0) -> AsyncIterator[bytes]:
        """See `Store.stream_body`."""


class CacheObserver(Protocol):
    """The part of `telemetry.Observer` that the readers call."""

    def cache(self, name: str, hit: bool) -> None:
        """A cache was asked."""


def open_reader(
    configuration: Configuration,
    source: BodySource,
    *,
    cache_bytes: int = CACHE_BYTES,
    observer: CacheObserver | None = None,
) -> BodyReader:
    """The reader that `store.bodyaccess` asks for. To be called in a running event loop."""
    remote = GrpcBodyReader(source, BodyCache(cache_bytes), observer)
    if configuration.store.bodyaccess == "grpc":
        return remote
    return LocalBodyReader(str(Path(configuration.data, configuration.store.path)), remote)


class BodyCache:
    """The bodies read last, by digest, without prefixes, bounded by their bytes."""

    __slots__ = ("_bodies", "_bytes", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._bodies: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes

    def get(self, digest: bytes) -> bytes | None:
        """A body, which becomes the newest."""
        body = self._bodies.get(digest)
        if body is not None:
            self._bodies.move_to_end(digest)
        return body

    def put(self, digest: bytes, body: bytes) -> None:
        """Keep a body, and let the oldest ones go."""
        if digest in self._bodies or len(body) * _CACHED_SHARE > self._max_bytes:
            return
        self._bodies[digest] = body
        self._bytes += len(body)
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._bodies.popitem(last=False)[1])


class GrpcBodyReader:
    """Reads through the store, with a cache in front."""

    def __init__(self, source: BodySource, cache: BodyCache, observer: CacheObserver | None = None) -> None:
        self._source = source
        self._cache = cache
        self._observer = observer

    def read_now(self, ref: BodyRef) -> bytes | None:
        """From the cache."""
        body = self._cache.get(ref.digest)
        if self._observer is not None:
            self._observer.cache("bodies", body is not None)
        return body if body is None or not ref.prefix else ref.prefix + body

    async def read(self, account_id: AccountId, ref: BodyRef) -> bytes:
        """One message."""
        return (await self.read_many(account_id, (ref,)))[0]

    async def read_many(self, account_id: AccountId, refs: Sequence[BodyRef]) -> list[bytes]:
        """Messages in order; one call for all that the cache does not have."""
        found = [self.read_now(ref) for ref in refs]
        missing = [place for place, message in enumerate(found) if message is None]
        return await self.fill(account_id, refs, found, missing)

    async def fill(
        self, account_id: AccountId, refs: Sequence[BodyRef], found: list[bytes | None], missing: Sequence[int]
    ) -> list[bytes]:
        """Put into `found` what the store has for the references at `missing`, and return it."""
        if missing:
            # Without prefixes: they are known here and need not travel.
            wanted = [_bare(refs[place]) for place in missing]
            bodies = await self._source.read_bodies(account_id, wanted)
            for place, body in zip(missing, bodies, strict=True):
                found[place] = self.keep(refs[place], body)
        return found  # type: ignore[return-value]

    def keep(self, ref: BodyRef, body: bytes) -> bytes:
        """Put a body that was waited for into the cache; returns the message."""
        self._cache.put(ref.digest, body)
        return ref.prefix + body

    async def stream(self, account_id: AccountId, ref: BodyRef, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """One message in chunks."""
        if ref.length <= AT_ONCE:
            message = await self.read(account_id, ref)
            yield message[offset:] if offset else message
            return
        async for chunk in self._source.stream_body(account_id, ref, offset):
            yield chunk

    def close(self) -> None:
        """Nothing is held."""


class LocalBodyReader:
    """Reads in the store's segment files; what is not there (compacted away, another machine) through the store.

    A record's digest stands before its body in the file and is compared, so that no other store's file of that number
    is ever taken for this one's. The body itself is compared with it when this process first reads from that place; one
    that is damaged is asked of the store, which says so.
    """

    def __init__(self, store_path: str, remote: GrpcBodyReader) -> None:
        self._remote = remote
        self._files = _Files(store_path)
        self._threads = WorkThreads("bodies", lambda: _THREADS)
        self._buffer = bytearray(DIGEST_BEFORE + AT_ONCE)
        self._view = memoryview(self._buffer)

    def read_now(self, ref: BodyRef) -> bytes | None:
        """From the page cache of the system, or the cache."""
        size = DIGEST_BEFORE + ref.length
        if ref.segment and ref.length <= AT_ONCE and (fd := self._files.fd(ref.segment)) is not None:
            view = self._view[:size]
            try:
                count = os.preadv(fd, (view,), ref.offset - DIGEST_BEFORE, os.RWF_NOWAIT)
            except OSError as error:
                self._files.note(error)
                count = 0
            body = view[DIGEST_BEFORE:]
            if count == size and self._buffer[:DIGEST_BEFORE] == ref.digest and self._files.verified(ref, body):
                return b"".join((ref.prefix, body)) if ref.prefix else bytes(body)
        return self._remote.read_now(ref)

    async def read(self, account_id: AccountId, ref: BodyRef) -> bytes:
        """One message."""
        return (await self.read_many(account_id, (ref,)))[0]

    async def read_many(self, account_id: AccountId, refs: Sequence[BodyRef]) -> list[bytes]:
        """Messages in order: from memory, then from the disk in a thread, then from the store in one call."""
        found = [self.read_now(ref) for ref in refs]
        cold = [place for place, message in enumerate(found) if message is None and self._files.seen(refs[place])]
        if cold:
            loop = asyncio.get_running_loop()
            bodies = await loop.run_in_executor(self._threads, self._files.read, [refs[place] for place in cold])
            for place, body in zip(cold, bodies, strict=True):
                found[place] = None if body is None else self._remote.keep(refs[place], body)
        missing = [place for place, message in enumerate(found) if message is None]
        return await self._remote.fill(account_id, refs, found, missing)

    async def stream(self, account_id: AccountId, ref: BodyRef, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """One message in chunks; a small one in a single chunk."""
        if ref.length <= AT_ONCE:
            message = await self.read(account_id, ref)
            yield message[offset:] if offset else message
            return
        loop = asyncio.get_running_loop()
        sound = await loop.run_in_executor(self._threads, self._files.verify, ref)
        if sound and offset < len(ref.prefix):
            yield ref.prefix[offset:]
            offset = len(ref.prefix)
        while sound and offset < len(ref.prefix) + ref.length and self._files.seen(ref):
            chunk = await loop.run_in_executor(self._threads, self._files.chunk, ref, offset - len(ref.prefix))
            if chunk is None:
                break
            offset += len(chunk)
            yield chunk
        if offset < len(ref.prefix) + ref.length:
            async for chunk in self._remote.stream(account_id, ref, offset):
                yield chunk

    def close(self) -> None:
        """Release files and threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._files.close()


class _Files:
    """Descriptors of segment files for the event loop, a bounded number; the threads open their own."""

    def __init__(self, store_path: str) -> None:
        self._store_path = store_path
        self._fds: OrderedDict[int, int] = OrderedDict()
        self._absent: dict[int, float] = {}
        self._reads = 0
        self._sound = SoundPlaces()
        self._without_waiting = True

    def fd(self, segment: int) -> int | None:
        """A descriptor, good until the next call; None where reading without waiting is not to be had."""
        self._reads += 1
        if self._reads % _SWEEP_READS == 0:
            self._sweep()
        fd = self._fds.get(segment)
        if fd is not None:
            if len(self._fds) > 1:
                self._fds.move_to_end(segment)
            return fd
        return self._open(segment) if self._without_waiting and self._may_be_there(segment) else None

    def seen(self, ref: BodyRef) -> bool:
        """Whether it is worth while to look for the body in a file."""
        return ref.segment != 0 and self._may_be_there(ref.segment)

    def note(self, error: OSError) -> None:
        """A read without waiting failed. Where the file system does not know how to, no other is tried."""
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            self._without_waiting = False
            self.close()

    def verified(self, ref: BodyRef, body: memoryview) -> bool:
        """Whether the body is what its digest says; not known of a large one that no thread has looked at."""
        if self._known(ref):
            return True
        return ref.length <= _VERIFIED_AT_ONCE and self._compare(ref, blake2b(body, digest_size=DIGEST_BEFORE))

    def read(self, refs: Sequence[BodyRef]) -> list[bytes | None]:
        """Bodies from the disk, None for each that is not there whole. Blocks."""
        return list(map(self._read_whole, refs))

    def verify(self, ref: BodyRef) -> bool:
        """Whether the body is there and what its digest says. Blocks."""
        if self._known(ref) or not self.seen(ref):
            return self._known(ref)
        check = blake2b(digest_size=DIGEST_BEFORE)
        for offset in range(0, ref.length, CHUNK):
            chunk = self.chunk(ref, offset)
            if chunk is None:
                return False
            check.update(chunk)
        return self._compare(ref, check)

    def _read_whole(self, ref: BodyRef) -> bytes | None:
        body = self._read(ref, 0, ref.length)
        if body is None:
            return None
        whole = self._compare(ref, blake2b(body, digest_size=DIGEST_BEFORE))
        return body if whole else None

    def _known(self, ref: BodyRef) -> bool:
        return self._sound.known(ref.segment, ref.offset, ref.digest)

    def _compare(self, ref: BodyRef, check: blake2b) -> bool:
        if check.digest() != ref.digest:
            return False
        self._sound.note(ref.segment, ref.offset, ref.digest)
        return True

    def chunk(self, ref: BodyRef, offset: int) -> bytes | None:
        """A chunk of a body from the disk, None where it is not there. Blocks."""
        return self._read(ref, offset, min(CHUNK, ref.length - offset))

    def _read(self, ref: BodyRef, offset: int, length: int) -> bytes | None:
        try:
            fd = os.open(segment_path(self._store_path, ref.segment), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._absent[ref.segment] = time.monotonic() + _FORGET_SECONDS
            return None
        try:
            if os.pread(fd, DIGEST_BEFORE, ref.offset - DIGEST_BEFORE) != ref.digest:
                return None
            body = os.pread(fd, length, ref.offset + offset)
        except OSError:
            return None
        finally:
            os.close(fd)
        return body if len(body) == length else None

    def _may_be_there(self, segment: int) -> bool:
        again = self._absent.get(segment)
        if again is None:
            return True
        if time.monotonic() < again:
            return False
        self._absent.pop(segment, None)
        return True

    def _open(self, segment: int) -> int | None:
        try:
            fd = os.open(segment_path(self._store_path, segment), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._absent[segment] = time.monotonic() + _FORGET_SECONDS
            return None
        self._fds[segment] = fd
        if len(self._fds) > OPEN_FILES:
            os.close(self._fds.popitem(last=False)[1])
        return fd

    def _sweep(self) -> None:
        """Close files that compaction removed: an open one keeps its space."""
        for segment in [segment for segment, fd in self._fds.items() if os.fstat(fd).st_nlink == 0]:
            os.close(self._fds.pop(segment))
        now = time.monotonic()
        self._absent = {segment: again for segment, again in self._absent.items() if again > now}

    def close(self) -> None:
        """Close all."""
        while self._fds:
            os.close(self._fds.popitem()[1])


def _bare(ref: BodyRef) -> BodyRef:
    return BodyRef(ref.digest, ref.length, ref.segment, ref.offset) if ref.prefix else ref
