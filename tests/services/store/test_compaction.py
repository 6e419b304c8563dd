"""Space of deleted bodies comes back while the store is in use, and nothing that lives is touched by it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.common.errors import Reason, StoreError
from services.common.segments import segment_path
from services.store.backends import Location
from services.store.backends.digests import digest_of
from services.store.backends.segmentfile import segment_numbers
from services.store.backends.segments import SegmentBodyStore
from services.store.backends.sqlite import SqliteDatabase
from services.store.check import check
from services.store.compaction import SMALL_SEGMENTS, Compacted, Compactor
from services.store.embedded import metadata_path
from tests.support.rows import expunge_row, file_body, located, make_account, read_all

CLEANUP_SECONDS = 3600


def body_of(number: int, size: int = 4000) -> bytes:
    """A body that no other number has."""
    return b"%d " % number + b"." * size


@dataclass(slots=True)
class Tidied:
    """A store with one account, segments of 40 kB, and time that stands still."""

    path: str
    database: SqliteDatabase
    bodies: SegmentBodyStore
    account_id: int
    now: float = 1_000_000
    expected: dict[int, bytes] = field(default_factory=dict)

    def compactor(self, grace_seconds: float = 0) -> Compactor:
        """One that has seen nothing yet."""
        return Compactor(
            self.database,
            self.bodies,
            percent=50,
            cleanup_seconds=CLEANUP_SECONDS,
            grace_seconds=grace_seconds,
            clock=lambda: self.now,
        )

    async def file(self, numbers: Iterable[int]) -> None:
        """File bodies, one after the other."""
        for number in numbers:
            uid = await file_body(self.database, self.bodies, self.account_id, body_of(number))
            self.expected[uid] = body_of(number)

    async def expunge(self, uids: Iterable[int]) -> None:
        """Expunge messages now."""
        for uid in list(uids):
            await self.database.write(lambda tx, u=uid: expunge_row(tx, self.account_id, u, int(self.now)))  # type: ignore[misc]
            del self.expected[uid]

    async def verify(self) -> None:
        """All that is expected is there and no more, and the store is sound."""
        assert await read_all(self.database, self.bodies, self.account_id) == self.expected
        assert list(check(self.path)) == []

    def size(self) -> int:
        """Bytes of all segments."""
        return sum(os.path.getsize(segment_path(self.path, number)) for number in segment_numbers(self.path))

    async def reopen_bodies(self) -> None:
        """As a restart does it: a new segment is begun."""
        await self.bodies.close()
        self.bodies = await SegmentBodyStore.open(self.path)
        self.bodies.segment_bytes = 40_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Tidied]:
    """An empty one."""
    database = await SqliteDatabase.open(metadata_path(str(tmp_path)))
    bodies = await SegmentBodyStore.open(str(tmp_path))
    bodies.segment_bytes = 40_000
    tidied = Tidied(str(tmp_path), database, bodies, await make_account(database))
    yield tidied
    await tidied.bodies.close()
    await database.close()


async def test_space_of_deleted_bodies_comes_back(store: Tidied) -> None:
    await store.file(range(100))
    await store.reopen_bodies()  # which gives back what was reserved
    before = store.size()
    await store.expunge([uid for uid in store.expected if uid % 4])
    compactor = store.compactor()
    assert (await compactor.run_once()).removed == 0, "they stay readable for a while"
    store.now += CLEANUP_SECONDS + 1
    done = await compactor.run_once()
    assert done.dropped == 75
    assert done.removed >= 9
    assert store.size() < before / 2
    await store.verify()
    await compactor.run_once()  # the segment that was the highest before
    assert await compactor.run_once() == Compacted(), "it comes to an end"


async def test_a_segment_with_little_dead_is_left_alone(store: Tidied) -> None:
    await store.file(range(30))
    await store.expunge([1, 11])
    store.now += CLEANUP_SECONDS + 1
    assert await store.compactor().run_once() == Compacted(dropped=2)
    await store.verify()


async def test_the_dead_stay_readable_where_they_are_moved(store: Tidied) -> None:
    await store.file(range(30))
    await store.expunge(range(1, 9))
    store.now += CLEANUP_SECONDS + 1
    place = (await store.database.read(lambda tx: located(tx, store.account_id)))[9]
    await store.expunge([9])
    assert (await store.compactor().run_once()).moved > 0

    async def rule(tx: object) -> Location:
        rows = await tx.fetch('SELECT segment, "offset", length FROM dead_contents')  # type: ignore[attr-defined]
        return Location(*rows[0])

    moved = await store.database.read(rule)
    assert moved != place[0]
    assert await store.bodies.read(moved, place[1]) == body_of(8)
    await store.verify()


async def test_a_file_stays_for_those_who_read_it_by_reference(store: Tidied) -> None:
    await store.file(range(30))
    await store.expunge(range(1, 31))
    store.now += CLEANUP_SECONDS + 1
    await store.reopen_bodies()
    compactor = store.compactor(grace_seconds=0.2)
    assert (await compactor.run_once()).removed == 0
    await asyncio.sleep(0.25)
    assert (await compactor.run_once()).removed > 0
    await store.verify()


async def test_a_body_whose_row_is_still_to_come_is_safe(store: Tidied) -> None:
    await store.file(range(20))
    compactor = store.compactor(grace_seconds=60)
    body = body_of(99)
    location = await store.bodies.put(body, digest_of(body))
    await store.file(range(20, 40))
    await compactor.run_once(everything=True)
    assert await store.bodies.read(location, digest_of(body)) == body


async def test_bodies_that_no_row_ever_named_go(store: Tidied) -> None:
    for number in range(30):
        await store.bodies.put(body_of(number), digest_of(body_of(number)))
    await store.file([100])
    done = await store.compactor().run_once()
    assert done.removed >= 2
    assert done.dropped == 0
    await store.verify()


async def test_the_highest_number_is_never_given_up(store: Tidied) -> None:
    await store.file(range(3))
    await store.expunge([1, 2, 3])
    store.now += CLEANUP_SECONDS + 1
    for _ in range(3):
        await store.reopen_bodies()
        await store.compactor().run_once()
    assert segment_numbers(store.path) == [1]
    await store.file([5])
    assert segment_numbers(store.path) == [1, 2]


async def test_what_many_starts_leave_behind_is_put_together(store: Tidied) -> None:
    for number in range(SMALL_SEGMENTS + 2):
        await store.file([number])
        await store.reopen_bodies()
    assert len(segment_numbers(store.path)) == SMALL_SEGMENTS + 2
    await store.compactor().run_once()
    assert len(segment_numbers(store.path)) == 2
    await store.verify()


async def test_a_damaged_body_is_left_where_it_is(store: Tidied) -> None:
    await store.file(range(20))
    places = await store.database.read(lambda tx: located(tx, store.account_id))
    await store.expunge([uid for uid in range(1, 9) if uid not in (3, 4)])
    store.now += CLEANUP_SECONDS + 1
    await store.reopen_bodies()
    damaged = places[3][0]
    with open(segment_path(store.path, damaged.segment), "r+b") as file:
        file.seek(damaged.offset)
        file.write(b"!")
    compactor = store.compactor()
    done = await compactor.run_once()
    assert done.damaged == 1
    assert damaged.segment in segment_numbers(store.path)
    moved = await store.database.read(lambda tx: located(tx, store.account_id))
    assert moved[3] == places[3]
    assert moved[4] != places[4]
    assert [(finding.kind, finding.uid) for finding in check(store.path)] == [("body", 3)]
    assert await compactor.run_once() == Compacted(), "it is not tried for ever"


async def test_a_full_disk_stops_it_and_nothing_is_lost(store: Tidied, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.file(range(40))
    await store.expunge([uid for uid in store.expected if uid % 4])
    store.now += CLEANUP_SECONDS + 1
    await store.reopen_bodies()
    real, calls = os.pwritev, 0

    def full_at_times(fd: int, buffers: list[bytes], offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls % 5 == 0:
            raise OSError(28, "No space left on device")
        return real(fd, buffers, offset)

    compactor = store.compactor()
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", full_at_times)
        with pytest.raises(OSError, match="No space"):
            await compactor.run_once()
        await store.verify()
    assert (await compactor.run_once(everything=True)).removed > 0
    await store.verify()


async def test_readers_and_writers_go_on_meanwhile(store: Tidied) -> None:
    await store.file(range(60))
    reading = True

    async def read_for_ever() -> int:
        count = 0
        while reading:
            places = await store.database.read(lambda tx: located(tx, store.account_id))
            for uid, (location, digest) in places.items():
                if uid % 5 == 0:
                    assert await read_again(uid, location, digest) == body_of(uid - 1)
                    count += 1
        return count

    async def read_again(uid: int, location: Location, digest: bytes) -> bytes:
        """As the store's rules do it: a place that was given up is looked up anew."""
        try:
            return await store.bodies.read(location, digest)
        except StoreError as error:
            assert error.reason is Reason.MESSAGE_NOT_FOUND  # noqa: PT017
            moved = await store.database.read(lambda tx: located(tx, store.account_id))
            return await store.bodies.read(*moved[uid])

    readers = [asyncio.ensure_future(read_for_ever()) for _ in range(3)]
    compactor = store.compactor()
    for turn in range(4):
        await store.expunge([uid for uid in store.expected if uid % 5])
        store.now += CLEANUP_SECONDS + 1
        await asyncio.gather(compactor.run_once(), store.file(range(60 + turn * 20, 80 + turn * 20)))
    reading = False
    assert sum(await asyncio.gather(*readers)) > 0
    await store.verify()
    await store.reopen_bodies()
    assert store.size() < 100 * 4000


async def test_who_is_cancelled_leaves_a_sound_store(store: Tidied) -> None:
    await store.file(range(60))
    await store.expunge([uid for uid in store.expected if uid % 3])
    store.now += CLEANUP_SECONDS + 1
    for delay in (0, 0.001, 0.003, 0.01):
        compactor = store.compactor()
        running = asyncio.ensure_future(compactor.run_once(everything=True))
        await asyncio.sleep(delay)
        running.cancel()
        await asyncio.wait([running])
        await store.verify()
    await store.compactor().run_once(everything=True)
    await store.verify()


async def test_it_runs_by_itself_until_it_is_told_to_end(store: Tidied) -> None:
    await store.file(range(30))
    await store.expunge(range(1, 31))
    store.now += CLEANUP_SECONDS + 1
    compactor = store.compactor()
    running = asyncio.ensure_future(compactor.run())
    for _ in range(4000):
        await asyncio.sleep(0.005)
        if len(segment_numbers(store.path)) == 1:
            break
    compactor.end()
    await running
    assert len(segment_numbers(store.path)) == 1
