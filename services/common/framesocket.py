"""Frames over a stream socket: four octets of length, highest first, then so many octets.

What a local caller and the store speak in place of gRPC, whose calls cost each side 200 us of CPU whatever they carry
(docs/decisions/0008-local-lane.md). The frames are those of the Exchange stream; the first one each way is a greeting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, cast

LENGTH: Final = 4
MAX_SOCKET_PATH: Final = 107
"""Bytes that `sockaddr_un` has room for (Linux), without the end mark."""
HIGH_BYTES: Final = 4 << 20
"""Frames that wait to be read; from here on nothing more is read from the socket."""


class FrameSocket(asyncio.Protocol):
    """One end of a connection. One reader and one writer at a time.

    `limit` is the largest frame that is taken, in octets; a larger one ends the connection before it is buffered.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._frames: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._partial = bytearray()
        self._transport: asyncio.Transport | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._paused = False
        self._blocked = False
        self._ended = False

    async def read(self) -> bytes | None:
        """The next frame; None when the other end is gone."""
        while not self._frames:
            if self._ended:
                return None
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        frame = self._frames.popleft()
        self._waiting_bytes -= len(frame)
        if self._paused and self._waiting_bytes < HIGH_BYTES // 2:
            self._paused = False
            if self._transport is not None:
                self._transport.resume_reading()
        return frame

    async def write(self, frame: bytes) -> None:
        """Send; waits while the other end does not read. Raises ConnectionResetError when it is gone."""
        if self._ended or self._transport is None:
            raise ConnectionResetError
        self._transport.writelines((len(frame).to_bytes(LENGTH), frame))
        if self._blocked:
            self._writer = asyncio.get_running_loop().create_future()
            try:
                await self._writer
            finally:
                self._writer = None

    def close(self) -> None:
        """Send what was written, then end."""
        self._end()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End at once."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    # ---- asyncio.Protocol -------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The other end is there."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Octets. Mostly one whole frame, and then nothing is copied but that."""
        if not self._partial and len(data) == LENGTH + int.from_bytes(data[:LENGTH]) <= LENGTH + self.limit:
            self._put(data[LENGTH:])
        else:
            self._partial += data
            self._cut()
        if self._waiting_bytes >= HIGH_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone."""
        self._end()

    def pause_writing(self) -> None:
        """The other end does not read."""
        self._blocked = True

    def resume_writing(self) -> None:
        """It does again."""
        self._blocked = False
        _wake(self._writer)

    # ---- inside -----------------------------------------------------------------------------------------------------
    def _cut(self) -> None:
        octets, start = self._partial, 0
        while len(octets) - start >= LENGTH:
            size = int.from_bytes(octets[start : start + LENGTH])
            if size > self.limit:
                self.abort()
                return
            end = start + LENGTH + size
            if len(octets) < end:
                break
            self._put(bytes(memoryview(octets)[start + LENGTH : end]))
            start = end
        del octets[:start]

    def _put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._waiting_bytes += len(frame)
        _wake(self._reader)

    def _end(self) -> None:
        self._ended = True
        self._partial.clear()
        _wake(self._reader)
        if self._writer is not None and not self._writer.done():
            self._writer.set_exception(ConnectionResetError())


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def frames_path(socket: str) -> str:
    """The store's second Unix socket, for frames, beside its first."""
    return f"{socket}.frames"


def metadata_frame(values: dict[str, str]) -> bytes:
    """A greeting: `name: value` lines, as call metadata in gRPC."""
    return "".join(f"{name}: {value}\n" for name, value in values.items()).encode()


def read_metadata(frame: bytes) -> dict[str, str]:
    """The values of a greeting. Raises ValueError."""
    lines = (line.partition(": ") for line in frame.decode().splitlines())
    return {name: value for name, _, value in lines}
