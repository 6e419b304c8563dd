"""The client's half of one Exchange stream (exchange.proto): many calls in few frames.

Requests that wait when the loop comes round go into one frame, with one write in flight; while it is, the next ones
gather. So frames grow with the load, and an only call waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from google.protobuf.message import Message

from mailproto.store.v1 import exchange_pb2
from services.common.errors import Reason, StoreError
from services.common.storeclient import frames
from services.common.storeclient.channel import MAX_MESSAGE
from services.common.storeclient.status import error_of
from services.common.storeclient.streams import Stream
from services.common.tracing import current_context

FRAME_BYTES: Final = 1 << 20
"""A frame takes no further call once it is this large."""
WINDOW: Final = 1_000
"""Calls that the store has and has not answered; the others wait here."""
MAX_WAITING: Final = 20_000
MAX_REQUEST: Final = MAX_MESSAGE - FRAME_BYTES
_SWEEP_SECONDS: Final = 0.25


class StreamLostError(StoreError):
    """The stream ended (reason UNAVAILABLE). `sent` says whether the store may have seen the call."""

    def __init__(self, sent: bool) -> None:
        super().__init__(Reason.UNAVAILABLE)
        self.sent = sent


class _Waiting:
    """A call without its last answer."""

    __slots__ = ("deadline", "future", "name", "parts", "request", "sent", "trace")

    def __init__(self, name: str, request: bytes, deadline: float, future: asyncio.Future[list[Any]]) -> None:
        self.name = name
        self.request = request
        self.deadline = deadline
        self.future = future
        self.parts: list[Any] = []
        self.sent = False
        self.trace = current_context()


class Exchange:
    """Calls over one stream, until it is lost."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, _Waiting] = {}
        self._queue: deque[int] = deque()
        self._cancelled: list[int] = []
        self._last = 0
        self._in_flight = 0
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._lost = False

    @property
    def usable(self) -> bool:
        """Whether calls can be made."""
        return not self._lost

    async def call(self, name: str, request: Message, timeout: float) -> list[Any]:
        """The replies to one call, in order; `name` is its field in `Call`.

        Raises StoreError as the store said, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED (too many wait), StreamLostError.
        """
        if self._lost:
            raise StreamLostError(sent=False)
        octets = request.SerializeToString()
        if len(self._waiting) >= MAX_WAITING or len(octets) > MAX_REQUEST:
            raise StoreError(Reason.RESOURCE_EXHAUSTED)
        self._last = number = self._last + 1
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._waiting[number] = _Waiting(name, octets, self._loop.time() + timeout, future)
        self._queue.append(number)
        self._wake.set()
        if self._timer is None:
            self._timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        try:
            return await future
        except asyncio.CancelledError:
            self._abandon(number)
            raise

    async def run(self) -> None:
        """Carry calls until the stream ends; then every call that waits raises StreamLostError."""
        writer = asyncio.create_task(self._write())
        try:
            await self._read()
        finally:
            writer.cancel()
            self._stream.cancel()
            self._lose()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            # One turn of the loop: whoever is about to call comes into this frame.
            await asyncio.sleep(0)
            self._wake.clear()
            frame = self._next_frame()
            if frame:
                await self._stream.write(frame)

    def _next_frame(self) -> bytes:
        pieces: list[bytes] = []
        if self._cancelled:
            pieces.append(frames.cancelled(self._cancelled))
            self._cancelled.clear()
        now, room = self._loop.time(), FRAME_BYTES
        while self._queue and self._in_flight < WINDOW:
            number = self._queue[0]
            waiting = self._waiting.get(number)
            if waiting is not None:
                size = len(waiting.request)
                if size > room and room < FRAME_BYTES:
                    break
                room -= size
                timeout = max(1, int((waiting.deadline - now) * 1000))
                pieces += frames.call(number, timeout, waiting.name, waiting.request, waiting.trace)
                waiting.sent = True
                self._in_flight += 1
            self._queue.popleft()
        if self._queue and self._in_flight < WINDOW:
            self._wake.set()
        return b"".join(pieces)

    async def _read(self) -> None:
        while True:
            frame = await self._stream.read()
            if frame is None:
                return
            for answer in frame.answers:
                self._take(answer)
            if self._queue:
                self._wake.set()

    def _take(self, answer: exchange_pb2.Answer) -> None:
        waiting = self._waiting.get(answer.id)
        if waiting is None:
            return
        kind = answer.WhichOneof("reply")
        if kind == "status":
            self._settle(answer.id, waiting)
            if not waiting.future.done():
                waiting.future.set_exception(error_of(answer.status))
            return
        if kind is not None:
            waiting.parts.append(getattr(answer, kind))
        if not answer.more:
            self._settle(answer.id, waiting)
            if not waiting.future.done():
                waiting.future.set_result(waiting.parts)

    def _settle(self, number: int, waiting: _Waiting) -> None:
        del self._waiting[number]
        if waiting.sent:
            self._in_flight -= 1

    def _abandon(self, number: int) -> None:
        """Nobody waits for it any more: tell the store, unless it never heard of it."""
        waiting = self._waiting.get(number)
        if waiting is None:
            return
        self._settle(number, waiting)
        if waiting.sent and not self._lost:
            self._cancelled.append(number)
            self._wake.set()

    def _sweep(self) -> None:
        self._timer = None
        now = self._loop.time()
        for number in [number for number, waiting in self._waiting.items() if waiting.deadline <= now]:
            future = self._waiting[number].future
            self._abandon(number)
            if not future.done():
                future.set_exception(StoreError(Reason.DEADLINE_EXCEEDED))
        if self._waiting:
            self._timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _lose(self) -> None:
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, {}
        self._queue.clear()
        for entry in waiting.values():
            if not entry.future.done():
                entry.future.set_exception(StreamLostError(entry.sent))
