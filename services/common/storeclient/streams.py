"""What carries the frames of Exchange: a gRPC stream or, to a store on this machine, a Unix socket without gRPC.

The frames are the same and the same handlers answer them; only what is around a frame differs, and its price.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import grpc
from google.protobuf.message import DecodeError

from mailproto.store.v1 import exchange_pb2
from services.common.framesocket import FrameSocket, metadata_frame, read_metadata
from services.common.storeclient.channel import CONTRACT, CONTRACT_KEY, GREETING_KEY, MAX_MESSAGE

METHOD: Final = "/mailproto.store.v1.ExchangeService/Exchange"


class Stream(Protocol):
    """One stream of frames, from its opening to its end."""

    async def greeting(self) -> str:
        """The store's contract, when the stream is open and its caller let in; "" where that is not so."""

    async def read(self) -> exchange_pb2.ExchangeResponse | None:
        """The next frame; None at the end."""

    async def write(self, frame: bytes) -> None:
        """Send a frame; waits while the store does not read. May raise where the stream is lost."""

    def cancel(self) -> None:
        """End it."""


class GrpcStream:
    """A call of ExchangeService.Exchange; requests are octets, see `frames`."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]]) -> None:
        method: grpc.aio.StreamStreamMultiCallable[bytes, exchange_pb2.ExchangeResponse] = channel.stream_stream(
            METHOD, request_serializer=None, response_deserializer=exchange_pb2.ExchangeResponse.FromString
        )
        self._call = method(metadata=metadata)

    async def greeting(self) -> str:
        """See `Stream`."""
        try:
            given = dict(await self._call.initial_metadata())
        except grpc.aio.AioRpcError:
            return ""
        return str(given.get(GREETING_KEY, ""))

    async def read(self) -> exchange_pb2.ExchangeResponse | None:
        """See `Stream`. A failure is the same as an end: whoever waits is told of it."""
        try:
            frame = await self._call.read()
        except grpc.aio.AioRpcError:
            return None
        return frame if isinstance(frame, exchange_pb2.ExchangeResponse) else None

    async def write(self, frame: bytes) -> None:
        """See `Stream`."""
        await self._call.write(frame)

    def cancel(self) -> None:
        """See `Stream`."""
        self._call.cancel()


class SocketStream:
    """A connection to the store's socket for frames."""

    def __init__(self, path: str, metadata: Sequence[tuple[str, str]]) -> None:
        self._path = path
        self._metadata = metadata
        self._socket = FrameSocket(MAX_MESSAGE)

    async def greeting(self) -> str:
        """See `Stream`."""
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self._socket, self._path)
            await self._socket.write(metadata_frame({**dict(self._metadata), CONTRACT_KEY: CONTRACT}))
            frame = await self._socket.read()
            return "" if frame is None else read_metadata(frame).get(GREETING_KEY, "")
        except (OSError, ValueError):
            return ""

    async def read(self) -> exchange_pb2.ExchangeResponse | None:
        """See `Stream`. What is no frame ends it."""
        frame = await self._socket.read()
        try:
            return None if frame is None else exchange_pb2.ExchangeResponse.FromString(frame)
        except DecodeError:
            return None

    async def write(self, frame: bytes) -> None:
        """See `Stream`."""
        await self._socket.write(frame)

    def cancel(self) -> None:
        """See `Stream`."""
        self._socket.abort()
