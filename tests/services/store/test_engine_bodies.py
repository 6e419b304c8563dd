"""What every body store promises (services.store.backends.BodyStore), and what the segment files add to it."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from services.common.errors import Reason, StoreError
from services.common.segments import segment_number, segment_path
from services.store.backends import BodyStore, Location
from services.store.backends import segmentfile as files
from services.store.backends.digests import digest_of
from services.store.backends.segments import INLINE_BYTES, SegmentBodyStore

BODIES = [b"", b"x", b"short\r\n" * 3, bytes(5000), random.Random(1).randbytes(INLINE_BYTES + 1), b"\0" * 70_000]


async def keep(bodies: BodyStore, body: bytes) -> tuple[Location, bytes]:
    """Put a body; where it is and its digest."""
    digest = digest_of(body)
    return await bodies.put(body, digest), digest


async def reason_of(bodies: BodyStore, location: Location, digest: bytes) -> Reason:
    """Why it cannot be read."""
    with pytest.raises(StoreError) as caught:
        await bodies.read(location, digest)
    return caught.value.reason


async def fill(bodies: BodyStore, body: bytes, most: int) -> int:
    """Put until it is refused for want of space; returns how often it was not."""
    for count in range(most):
        try:
            await keep(bodies, body)
        except StoreError as error:
            if error.reason is not Reason.STORAGE_FULL:
                raise
            return count
    raise AssertionError("there was space for all of it")


async def test_bodies_come_back(bodies: BodyStore) -> None:
    kept = await asyncio.gather(*(keep(bodies, body) for body in BODIES))
    for body, (location, digest) in zip(BODIES, kept, strict=True):
        assert location.length == len(body)
        assert await bodies.read(location, digest) == body
        assert await bodies.read(location, digest, 2, 3) == body[2:5] if len(body) > 2 else True
        assert await bodies.read(location, digest, len(body), 10) == b""
        assert await bodies.read(location, digest, len(body) // 2) == body[len(body) // 2 :]


async def test_a_whole_body_at_once_or_not_at_all(bodies: BodyStore) -> None:
    for body in BODIES:
        location, digest = await keep(bodies, body)
        for _ in range(2):
            assert bodies.read_now(location, digest) in (body, None)
        assert bodies.read_now(location, digest_of(b"two")) is None
        assert bodies.read_now(Location(location.segment + 7, location.offset, location.length), digest) is None


async def test_another_body_than_was_asked_for_is_damage(bodies: BodyStore) -> None:
    location, _ = await keep(bodies, b"one")
    assert await reason_of(bodies, location, digest_of(b"two")) is Reason.STORAGE_CORRUPT


async def test_what_was_never_there_is_not_found(bodies: BodyStore) -> None:
    location, digest = await keep(bodies, b"one")
    missing = Location(location.segment + 7 if location.segment else 0, location.offset + 100, 3)
    assert await reason_of(bodies, missing, digest) is Reason.MESSAGE_NOT_FOUND


async def test_a_closed_store_takes_nothing(bodies: BodyStore) -> None:
    putting = asyncio.ensure_future(keep(bodies, b"queued"))
    await asyncio.sleep(0)
    await bodies.close()
    assert (await putting)[0].length == 6
    with pytest.raises(StoreError) as caught:
        await keep(bodies, b"late")
    assert caught.value.reason is Reason.UNAVAILABLE
    await bodies.close()


async def test_concurrent_bodies_share_a_flush(segments: SegmentBodyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    flushes: list[int] = []
    real = os.fdatasync

    def counted(fd: int) -> None:
        flushes.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", counted)
    await asyncio.gather(*(keep(segments, b"%d" % number) for number in range(500)))
    assert len(flushes) <= 2


async def test_a_full_segment_is_closed_and_the_next_begun(segments: SegmentBodyStore, tmp_path: Path) -> None:
    segments.segment_bytes = 10_000
    kept = [await keep(segments, bytes([number]) * 4000) for number in range(9)]
    assert {location.segment for location, _ in kept} == {1, 2, 3}
    assert [await segments.read(*place) for place in kept] == [bytes([number]) * 4000 for number in range(9)]
    sizes = [os.path.getsize(segment_path(str(tmp_path), number)) for number in (1, 2)]
    assert sizes == [files.FILE_HEADER.size + 3 * (files.RECORD_HEADER.size + 4000)] * 2, "no reserve is left behind"


async def test_each_start_begins_a_segment(tmp_path: Path) -> None:
    places = []
    for _ in range(3):
        bodies = await SegmentBodyStore.open(str(tmp_path))
        places.append(await keep(bodies, b"body"))
        assert [await bodies.read(*place) for place in places] == [b"body"] * len(places)
        await bodies.close()
    assert [location.segment for location, _ in places] == [1, 2, 3]
    unused = await SegmentBodyStore.open(str(tmp_path))
    await unused.close()
    assert len(os.listdir(tmp_path / "segments")) == 3, "a start that stores nothing leaves nothing"


async def test_a_torn_end_hurts_nobody(tmp_path: Path) -> None:
    bodies = await SegmentBodyStore.open(str(tmp_path))
    first = await keep(bodies, b"whole")
    await bodies.close()
    path = Path(segment_path(str(tmp_path), 1))
    torn = files.record_header(1000, digest_of(b"y" * 1000)) + b"y" * 10
    path.write_bytes(path.read_bytes() + torn)
    bodies = await SegmentBodyStore.open(str(tmp_path))
    second = await keep(bodies, b"next")
    assert second[0].segment == 2
    assert [await bodies.read(*place) for place in (first, second)] == [b"whole", b"next"]
    await bodies.close()
    assert path.read_bytes().endswith(torn), "what is not plainly reserved space is left for a human to look at"


@pytest.mark.parametrize("body", [b"text", b"ends in\0\0\0", b"\0" * 5000])
async def test_reserved_space_is_given_back_after_a_kill(tmp_path: Path, body: bytes) -> None:
    bodies = await SegmentBodyStore.open(str(tmp_path))
    place = await keep(bodies, body)
    path = Path(segment_path(str(tmp_path), 1))
    as_killed = path.read_bytes()
    assert len(as_killed) == files.RESERVE
    await bodies.close()
    closed = path.read_bytes()
    path.write_bytes(as_killed)
    bodies = await SegmentBodyStore.open(str(tmp_path))
    assert path.read_bytes() == closed
    assert await bodies.read(*place) == body
    await bodies.close()


async def test_damage_is_found_and_stays_where_it_is(tmp_path: Path) -> None:
    bodies = await SegmentBodyStore.open(str(tmp_path))
    kept = [await keep(bodies, letter * size) for letter, size in ((b"a", 500), (b"b", INLINE_BYTES * 2), (b"c", 5))]
    await bodies.close()
    with open(segment_path(str(tmp_path), 1), "r+b") as file:
        for location, _ in kept[:2]:
            file.seek(location.offset + 3)
            file.write(b"!")
    bodies = await SegmentBodyStore.open(str(tmp_path))
    assert [await reason_of(bodies, *place) for place in kept[:2]] == [Reason.STORAGE_CORRUPT] * 2
    assert await bodies.read(*kept[2]) == b"ccccc"
    os.truncate(segment_path(str(tmp_path), 1), kept[2][0].offset + 2)
    assert await reason_of(bodies, *kept[2]) is Reason.STORAGE_CORRUPT
    await bodies.close()


async def test_a_full_disk_refuses_and_recovers(small_disk: Path) -> None:
    bodies = await SegmentBodyStore.open(str(small_disk))
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    first = await keep(bodies, b"first")
    stored = await fill(bodies, b"z" * 100_000, 30)
    assert 5 < stored < 11
    small = await keep(bodies, b"fits")
    ballast.unlink()
    large = await keep(bodies, b"L" * 500_000)
    assert large[0].segment == first[0].segment, "a refusal does not cost a segment"
    for place, body in ((first, b"first"), (small, b"fits"), (large, b"L" * 500_000)):
        assert await bodies.read(*place) == body
    await bodies.close()
    with open(segment_path(str(small_disk), 1), "rb") as file:
        assert len(list(files.records(file.fileno()))) == stored + 3, "no part of a refused body is in the way"


async def test_a_failed_flush_ends_the_segment(segments: SegmentBodyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await keep(segments, b"first")

    def broken(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        with pytest.raises(StoreError) as caught:
            await keep(segments, b"lost")
    assert caught.value.reason is Reason.STORAGE_FULL
    second = await keep(segments, b"second")
    assert second[0].segment > first[0].segment
    assert [await segments.read(*place) for place in (first, second)] == [b"first", b"second"]


async def test_short_writes_are_finished(segments: SegmentBodyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev

    def a_little(fd: int, buffers: list[bytes], offset: int) -> int:
        return real(fd, [memoryview(b"".join(buffers))[:777]], offset)

    monkeypatch.setattr(os, "pwritev", a_little)
    bodies = [bytes([number]) * size for number, size in enumerate((0, 1, 700, 3000, 0, 50))]
    kept = await asyncio.gather(*(keep(segments, body) for body in bodies))
    assert [await segments.read(*place) for place in kept] == bodies


async def test_waiting_bytes_are_bounded(segments: SegmentBodyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_outcomes", type(segments._outcomes)(asyncio.get_running_loop(), 1000))
    monkeypatch.setattr(segments._appender, "_outcomes", segments._outcomes)
    results = await asyncio.gather(*(keep(segments, b"x" * 600) for _ in range(3)), return_exceptions=True)
    assert [getattr(result, "reason", None) for result in results] == [None, *[Reason.RESOURCE_EXHAUSTED] * 2]
    assert (await keep(segments, b"x" * 5000))[0].length == 5000, "one body alone is never too large"


def test_names_of_segment_files() -> None:
    assert segment_path("/s", 7) == "/s/segments/0000000007.seg"
    assert segment_number("0000000007.seg") == 7
    assert segment_number("12345678901.seg") == 12345678901
    assert [segment_number(name) for name in ("7.seg", "000000000x.seg", "0000000007", "lock", "٣٣٣٣٣٣٣٣٣٣.seg")] == [
        None
    ] * 5
