"""Bodies too large for a frame: streams of their own, with the transport's flow control."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Final

import grpc

from mailproto.store.v1 import (
    bodies_pb2,
    bodies_pb2_grpc,
    delivery_pb2,
    delivery_pb2_grpc,
    messages_pb2,
    messages_pb2_grpc,
)
from services.common.domain import AccountId, AppendItem, BodyRef
from services.common.errors import Reason, StoreError
from services.common.storeclient import values
from services.common.storeclient.connection import LONG_SECONDS, SECONDS, Connection, Patience

CHUNK: Final = 512 << 10
_READING_SECONDS: Final = 3600.0
"""A body may be read as slowly as a client takes it; each chunk has its own clock."""


class Transfers:
    """Streamed reads and writes over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def append(
        self, request: messages_pb2.AppendMessagesRequest, items: Sequence[AppendItem]
    ) -> messages_pb2.AppendMessagesResponse:
        """UploadMessages."""

        def requests() -> Iterator[messages_pb2.UploadMessagesRequest]:
            yield messages_pb2.UploadMessagesRequest(append=request)
            for item in items:
                for chunk in _chunks(item.body):
                    yield messages_pb2.UploadMessagesRequest(chunk=chunk)

        async def attempt(_: Patience) -> messages_pb2.AppendMessagesResponse:
            stub: messages_pb2_grpc.MessageServiceAsyncStub
            stub = messages_pb2_grpc.MessageServiceStub(self._connection.channel)
            return await stub.UploadMessages(requests(), timeout=LONG_SECONDS, metadata=self._connection.metadata)

        return await self._connection.persist("upload_messages", attempt)

    async def deliver(
        self, request: delivery_pb2.DeliverMessageRequest, body: bytes
    ) -> delivery_pb2.DeliverMessageResponse:
        """UploadDelivery."""

        def requests() -> Iterator[delivery_pb2.UploadDeliveryRequest]:
            yield delivery_pb2.UploadDeliveryRequest(delivery=request)
            for chunk in _chunks(body):
                yield delivery_pb2.UploadDeliveryRequest(chunk=chunk)

        async def attempt(_: Patience) -> delivery_pb2.DeliverMessageResponse:
            stub: delivery_pb2_grpc.DeliveryServiceAsyncStub
            stub = delivery_pb2_grpc.DeliveryServiceStub(self._connection.channel)
            return await stub.UploadDelivery(requests(), timeout=LONG_SECONDS, metadata=self._connection.metadata)

        return await self._connection.persist("upload_delivery", attempt)

    async def body(self, account_id: AccountId, ref: BodyRef, offset: int) -> AsyncGenerator[bytes, None]:
        """StreamBody, opened again where it was when the connection is lost."""
        request = bodies_pb2.StreamBodyRequest(account_id=account_id, ref=values.body_refs([ref]), offset=offset)
        end = len(ref.prefix) + ref.length
        reading = _Reading(request, self._connection)
        try:
            while request.offset < end:
                chunk = await self._connection.persist("stream_body", reading.next)
                request.offset += len(chunk)
                yield chunk
        finally:
            reading.stop()


class _Reading:
    """A StreamBody call, if one is open."""

    def __init__(self, request: bodies_pb2.StreamBodyRequest, connection: Connection) -> None:
        self._request = request
        self._connection = connection
        self._call: grpc.aio.UnaryStreamCall[bodies_pb2.StreamBodyRequest, bodies_pb2.StreamBodyResponse] | None = None

    async def next(self, _: Patience) -> bytes:
        """The next chunk; a call that fails is given up, the next try opens another."""
        if self._call is None:
            stub: bodies_pb2_grpc.BodyServiceAsyncStub = bodies_pb2_grpc.BodyServiceStub(self._connection.channel)
            metadata = self._connection.metadata
            self._call = stub.StreamBody(self._request, timeout=_READING_SECONDS, metadata=metadata)
        try:
            async with asyncio.timeout(SECONDS):
                reply = await self._call.read()
        except TimeoutError:
            self.stop()
            raise StoreError(Reason.DEADLINE_EXCEEDED) from None
        except grpc.aio.AioRpcError:
            self.stop()
            raise
        if not isinstance(reply, bodies_pb2.StreamBodyResponse):
            self.stop()
            raise StoreError(Reason.UNAVAILABLE)
        return reply.chunk

    def stop(self) -> None:
        """No more chunks are wanted."""
        if self._call is not None:
            self._call.cancel()
            self._call = None


def _chunks(body: bytes) -> Iterator[bytes]:
    if len(body) <= CHUNK:
        if body:
            yield body
        return
    view = memoryview(body)
    for at in range(0, len(body), CHUNK):
        yield bytes(view[at : at + CHUNK])
