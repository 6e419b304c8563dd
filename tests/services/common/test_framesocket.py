"""Frames over a socket: whole, in order, bounded, with back pressure both ways."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.framesocket import (
    HIGH_BYTES,
    LENGTH,
    FrameSocket,
    metadata_frame,
    read_metadata,
)

LIMIT = 64


def framed(*frames: bytes) -> bytes:
    return b"".join(len(frame).to_bytes(LENGTH) + frame for frame in frames)


@asynccontextmanager
async def pair(limit: int = 1 << 20) -> AsyncIterator[tuple[FrameSocket, FrameSocket]]:
    """Two ends of a connection."""
    loop = asyncio.get_running_loop()
    ends = [FrameSocket(limit), FrameSocket(limit)]
    for end, sock in zip(ends, socket.socketpair(), strict=True):
        await loop.create_connection(lambda end=end: end, sock=sock)  # type: ignore[misc]
    try:
        yield ends[0], ends[1]
    finally:
        for end in ends:
            end.abort()
        await asyncio.sleep(0)


class Transport(asyncio.Transport):
    """Notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def abort(self) -> None:
        self.calls.append("abort")


async def _read_all(end: FrameSocket) -> list[bytes]:
    frames = []
    while (frame := await end.read()) is not None:
        frames.append(frame)
    return frames


@given(st.lists(st.binary(max_size=LIMIT), max_size=8), st.data())
def test_any_split_gives_the_same_frames(frames: list[bytes], data: Any) -> None:
    octets = framed(*frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    end = FrameSocket(LIMIT)
    end.connection_made(Transport())
    for start, stop in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        if stop > start:
            end.data_received(octets[start:stop])
    end.connection_lost(None)
    assert asyncio.run(_read_all(end)) == frames


@given(st.binary(max_size=300))
def test_any_octets_give_frames_within_the_limit_or_the_end(octets: bytes) -> None:
    end, transport = FrameSocket(LIMIT), Transport()
    end.connection_made(transport)
    end.data_received(octets)
    end.connection_lost(None)
    frames = asyncio.run(_read_all(end))
    assert framed(*frames) == octets[: len(framed(*frames))]
    assert all(len(frame) <= LIMIT for frame in frames)


async def test_a_frame_above_the_limit_ends_the_connection_before_it_is_buffered() -> None:
    end, transport = FrameSocket(LIMIT), Transport()
    end.connection_made(transport)
    end.data_received((LIMIT + 1).to_bytes(LENGTH))
    assert transport.calls == ["abort"]
    assert await end.read() is None
    with pytest.raises(ConnectionResetError):
        await end.write(b"x")


async def test_frames_go_both_ways() -> None:
    async with pair() as (one, other):
        await one.write(b"ask")
        assert await other.read() == b"ask"
        await other.write(b"")
        await other.write(b"x" * 1_000_000)
        assert await one.read() == b""
        assert await one.read() == b"x" * 1_000_000


async def test_what_was_written_before_the_end_is_read() -> None:
    async with pair() as (one, other):
        await one.write(b"last")
        one.close()
        assert await other.read() == b"last"
        assert await other.read() is None


async def test_a_writer_waits_for_a_reader_that_does_not_read_and_is_told_of_its_end() -> None:
    async with pair() as (one, other):
        frame = b"x" * (1 << 20)
        writing = asyncio.create_task(_write_many(one, frame, 2 * HIGH_BYTES // len(frame) + 4))
        done, _ = await asyncio.wait({writing}, timeout=0.2)
        assert not done
        assert await other.read() == frame
        other.abort()
        with pytest.raises(ConnectionResetError):
            await writing


async def _write_many(end: FrameSocket, frame: bytes, count: int) -> None:
    for _ in range(count):
        await end.write(frame)


async def test_reading_from_the_socket_stops_at_a_bound_and_goes_on() -> None:
    end, transport = FrameSocket(HIGH_BYTES), Transport()
    end.connection_made(transport)
    half = b"x" * (HIGH_BYTES // 2)
    for _ in range(3):
        end.data_received(framed(half))
    assert transport.calls == ["pause"]
    for _ in range(3):
        assert await end.read() == half
    assert transport.calls == ["pause", "resume"]


def test_a_greeting_comes_back_as_it_was() -> None:
    values = {"mailkeep-role": "imap", "mailkeep-process": "imap/host:1-ab"}
    assert read_metadata(metadata_frame(values)) == values


@given(st.binary(max_size=100))
def test_any_octets_are_a_greeting_or_a_value_error(octets: bytes) -> None:
    try:
        read_metadata(octets)
    except ValueError:
        return
