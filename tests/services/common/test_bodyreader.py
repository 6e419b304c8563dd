"""Reading bodies by reference and over gRPC: the same tests for both, and what each has to itself."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from services.common import bodyreader
from services.common.bodyreader import BodyCache, BodyReader, GrpcBodyReader, LocalBodyReader, open_reader
from services.common.domain import AccountId, BodyRef, Column, Recipient
from services.common.errors import Reason, StoreError
from services.common.segments import segment_folder, segment_path
from services.common.storeclient import StoreClient
from tests.support.store import StoreFixture

PREFIX = b"Delivered-To: ada\r\n"
SMALL = [b"Subject: %d\r\n\r\n" % number + bytes([number]) * number * 100 for number in range(20)]
LARGE = b"Subject: large\r\n\r\n" + os.urandom(1 << 20) * 3


class Source:
    """The store, counting what it is asked."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self.asked: list[int] = []
        self.streamed = 0

    async def read_bodies(self, account_id: AccountId, refs: Sequence[BodyRef]) -> Sequence[bytes]:
        """Ask the store."""
        self.asked.append(len(refs))
        return await self._client.read_bodies(account_id, refs)

    async def stream_body(self, account_id: AccountId, ref: BodyRef, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Ask the store."""
        self.streamed += 1
        async for chunk in self._client.stream_body(account_id, ref, offset):
            yield chunk


@pytest.fixture
async def store() -> AsyncIterator[StoreFixture]:
    """A store on disk."""
    async with StoreFixture("sqlite") as fixture:
        yield fixture


@pytest.fixture
def source(store: StoreFixture) -> Source:
    """The store as readers see it."""
    return Source(store.client)


def local(store: StoreFixture, source: Source) -> BodyReader:
    """Reads files."""
    return open_reader(store.configuration, source)


def remote(store: StoreFixture, source: Source) -> BodyReader:
    """Reads over gRPC."""
    return open_reader(
        replace(store.configuration, store=replace(store.configuration.store, bodyaccess="grpc")), source
    )


@pytest.fixture(params=[local, remote])
def reader(request: pytest.FixtureRequest, store: StoreFixture, source: Source) -> Iterator[BodyReader]:
    """Each reader."""
    make: Callable[[StoreFixture, Source], BodyReader] = request.param
    made = make(store, source)
    yield made
    made.close()


ADA = AccountId(1)


async def deliver(store: StoreFixture, *bodies: bytes) -> list[BodyRef]:
    """Deliver to the first account; references to all it has."""
    for number, body in enumerate(bodies):
        (outcome,) = await store.store.deliver(
            [Recipient("ada", prefix=PREFIX)], body, request_id=f"{id(body)}{number}"
        )
    columns = await store.store.fetch_columns(ADA, outcome.mailbox_id, Column.LOCATION)
    return columns.locations


async def test_messages_come_with_their_prefixes_in_order(store: StoreFixture, reader: BodyReader) -> None:
    refs = await deliver(store, *SMALL)
    order = [3, 0, 19, 3, 7]
    assert await reader.read_many(ADA, [refs[at] for at in order]) == [PREFIX + SMALL[at] for at in order]
    assert await reader.read(ADA, refs[5]) == PREFIX + SMALL[5]
    assert await reader.read_many(ADA, []) == []


async def test_what_was_read_is_at_hand(store: StoreFixture, reader: BodyReader, source: Source) -> None:
    refs = await deliver(store, *SMALL)
    await reader.read_many(ADA, refs)
    asked = len(source.asked)
    assert [reader.read_now(ref) for ref in refs] == [PREFIX + body for body in SMALL]
    assert reader.read_now(refs[4]._replace(prefix=b"")) == SMALL[4]
    assert await reader.read_many(ADA, refs) == [PREFIX + body for body in SMALL]
    assert len(source.asked) == asked


@pytest.mark.parametrize("offset", [0, 1, len(PREFIX) - 1, len(PREFIX), len(PREFIX) + 1, 1_000_000])
async def test_a_large_message_comes_in_chunks_from_any_place(
    store: StoreFixture, reader: BodyReader, offset: int
) -> None:
    (ref,) = await deliver(store, LARGE)
    async with aclosing(reader.stream(ADA, ref, offset)) as stream:
        chunks = [chunk async for chunk in stream]
    assert b"".join(chunks) == (PREFIX + LARGE)[offset:]
    assert max(map(len, chunks)) <= 1 << 20
    assert reader.read_now(ref) is None


async def test_a_small_message_comes_in_one_chunk(store: StoreFixture, reader: BodyReader) -> None:
    refs = await deliver(store, *SMALL)
    assert [chunk async for chunk in reader.stream(ADA, refs[9])] == [PREFIX + SMALL[9]]
    assert [chunk async for chunk in reader.stream(ADA, refs[9], 5)] == [(PREFIX + SMALL[9])[5:]]


async def test_a_large_message_comes_whole_too(store: StoreFixture, reader: BodyReader) -> None:
    (ref,) = await deliver(store, LARGE)
    assert await reader.read(ADA, ref) == PREFIX + LARGE


async def test_what_is_not_there_is_refused(store: StoreFixture, reader: BodyReader) -> None:
    (ref,) = await deliver(store, SMALL[1])
    for wrong in (ref._replace(digest=b"x" * 32), BodyRef(b"y" * 32, 5, 0, 0), BodyRef(b"z" * 32, 5, 999, 0)):
        assert reader.read_now(wrong) is None
        with pytest.raises(StoreError) as caught:
            await reader.read(ADA, wrong)
        assert caught.value.reason is Reason.MESSAGE_NOT_FOUND


async def test_by_reference_costs_no_call(store: StoreFixture, source: Source) -> None:
    refs = await deliver(store, *SMALL, LARGE)
    reader = local(store, source)
    assert await reader.read_many(ADA, refs) == [PREFIX + body for body in (*SMALL, LARGE)]
    assert b"".join([chunk async for chunk in reader.stream(ADA, refs[-1])]) == PREFIX + LARGE
    assert (source.asked, source.streamed) == ([], 0)
    reader.close()


async def test_over_grpc_missing_bodies_are_fetched_in_one_call(store: StoreFixture, source: Source) -> None:
    refs = await deliver(store, *SMALL)
    reader = remote(store, source)
    await reader.read_many(ADA, refs[:5])
    await reader.read_many(ADA, refs)
    assert source.asked == [5, 15]


async def test_a_segment_that_is_gone_is_read_over_grpc(store: StoreFixture, source: Source) -> None:
    refs = await deliver(store, *SMALL, LARGE)
    reader = local(store, source)
    elsewhere = [ref._replace(segment=ref.segment + 100) for ref in refs]
    assert await reader.read_many(ADA, elsewhere[:-1]) == [PREFIX + body for body in SMALL]
    assert source.asked == [20]
    assert reader.read_now(elsewhere[3]) == PREFIX + SMALL[3]
    chunks = [chunk async for chunk in reader.stream(ADA, elsewhere[-1], 3)]
    assert b"".join(chunks) == (PREFIX + LARGE)[3:]
    assert source.streamed == 1
    reader.close()


async def test_another_stores_file_of_that_number_is_not_taken_for_this_one(
    store: StoreFixture, source: Source, tmp_path: Path
) -> None:
    refs = await deliver(store, *SMALL, LARGE)
    os.makedirs(segment_folder(str(tmp_path)))
    wrong = Path(segment_path(str(tmp_path), refs[0].segment))
    wrong.write_bytes(os.urandom(8 << 20))
    reader = LocalBodyReader(str(tmp_path), GrpcBodyReader(source, BodyCache(1 << 20)))
    assert reader.read_now(refs[0]) is None
    assert await reader.read_many(ADA, refs) == [PREFIX + body for body in (*SMALL, LARGE)]
    assert b"".join([chunk async for chunk in reader.stream(ADA, refs[-1])]) == PREFIX + LARGE
    assert source.streamed == 1
    reader.close()


async def test_a_damaged_file_is_found_when_it_is_read_from_the_disk(
    store: StoreFixture, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ref,) = await deliver(store, SMALL[9])
    path = Path(segment_path(str(store.folder / store.configuration.store.path), ref.segment))
    octets = bytearray(path.read_bytes())
    octets[ref.offset + 20] ^= 1
    path.write_bytes(octets)
    monkeypatch.setattr(bodyreader._Files, "fd", lambda self, segment: None)
    reader = local(store, source)
    with pytest.raises(StoreError) as caught:
        await reader.read(ADA, ref)
    assert caught.value.reason is Reason.STORAGE_CORRUPT
    reader.close()


async def test_a_file_system_that_cannot_say_what_is_cached_is_read_in_threads(
    store: StoreFixture, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = await deliver(store, *SMALL)
    asked = []

    def preadv(*_: object) -> int:
        asked.append(1)
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "preadv", preadv)
    reader = local(store, source)
    assert [reader.read_now(ref) for ref in refs] == [None] * len(refs)
    assert await reader.read_many(ADA, refs) == [PREFIX + body for body in SMALL]
    assert (len(asked), source.asked) == (1, [])
    # What came from the disk is kept: the next one finds it.
    assert reader.read_now(refs[2]) == PREFIX + SMALL[2]
    reader.close()


async def test_few_files_are_open_and_none_that_was_removed(
    store: StoreFixture, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodyreader, "OPEN_FILES", 3)
    monkeypatch.setattr(bodyreader, "_SWEEP_READS", 10)
    os.makedirs(segment_folder(str(tmp_path)))
    files = bodyreader._Files(str(tmp_path))
    for number in range(1, 8):
        Path(segment_path(str(tmp_path), number)).touch()
        assert files.fd(number) is not None
    assert len(files._fds) == 3
    os.unlink(segment_path(str(tmp_path), 7))
    for _ in range(10):
        files.fd(6)
    assert set(files._fds) == {5, 6}
    files.close()


def test_the_cache_is_bounded_by_bytes_and_keeps_what_was_used_last() -> None:
    cache = BodyCache(80)
    for digest in (b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"):
        cache.put(digest, b"x" * 10)
    assert cache.get(b"a")
    cache.put(b"i", b"x" * 10)
    assert cache.get(b"b") is None
    assert cache.get(b"a")
    cache.put(b"large", b"x" * 11)
    assert cache.get(b"large") is None
    cache.put(b"a", b"x" * 10)
    assert cache.get(b"c")


@pytest.mark.parametrize("number", [9, -1])
async def test_a_damaged_body_is_never_given_out(store: StoreFixture, reader: BodyReader, number: int) -> None:
    ref = (await deliver(store, *SMALL, LARGE))[number]
    damage(store, ref)
    for _ in range(2):
        assert reader.read_now(ref) is None
        for attempt in (reader.read(ADA, ref), anext(reader.stream(ADA, ref))):
            with pytest.raises(StoreError) as raised:
                await attempt
            assert raised.value.reason is Reason.STORAGE_CORRUPT


def damage(store: StoreFixture, ref: BodyRef) -> None:
    """Turn over the last byte of a body on the disk."""
    path = segment_path(str(Path(store.configuration.data, store.configuration.store.path)), ref.segment)
    with open(path, "r+b") as file:
        file.seek(ref.offset + ref.length - 1)
        last = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([last[0] ^ 1]))
