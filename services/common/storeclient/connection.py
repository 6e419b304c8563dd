"""The client's connection: Exchange streams that come back by themselves, and calls that wait for them.

Rules:
1. A call is tried again, with back-off, where the store is away (no stream, a lost stream, UNAVAILABLE) until
   `store.storewait` is over since it first failed; then it raises UNAVAILABLE. Its own deadline runs anew in each try.
2. Every method is safe to try again: reads are idempotent, writes carry a request_id or a lock's name, and for the few
   others the caller says which error a repeat gets where the first try went through (`settled`).
3. Small calls and bulk go over streams of their own, so that a megabyte never stands before a look-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from services.common.errors import Reason, StoreError
from services.common.storeclient.channel import CONTRACT, Target, open_channel, stamp_of
from services.common.storeclient.exchange import Exchange, StreamLostError
from services.common.storeclient.standing import FIRST_DELAY, LONGEST_DELAY, keep_stream
from services.common.storeclient.status import error_of_call
from services.common.storeclient.streams import GrpcStream, SocketStream, Stream
from services.common.tracing import TRACEPARENT, calling, current_context, traceparent

T = TypeVar("T")
_log = logging.getLogger(__name__)
Metadata = tuple[tuple[str, str], ...]

_CONNECT_SECONDS: Final = 10.0
_RETIRED_SECONDS: Final = 3_600.0
"""How long calls may go on over a channel whose certificate was replaced; the store ends long streams before."""

BULK: Final = frozenset(
    {
        "append_messages", "deliver_message", "fetch_columns", "fetch_contents", "list_mailboxes",
        "list_subscriptions", "open_maildrop", "read_bodies", "release_maildrop", "search_messages", "sync_emails",
    }
)  # fmt: skip
"""Fields of `Call` whose requests or replies may be large; a release must not overtake its opening."""

SECONDS: Final = 30.0
LONG_SECONDS: Final = 300.0
_LONG: Final = frozenset({"search_messages", "copy_messages", "expunge_messages", "rename_mailbox", "delete_mailbox"})
"""Fields of `Call` whose work grows with the mailbox."""


class CallObserver(Protocol):
    """The part of `telemetry.Observer` that the client calls."""

    def store_call(self, method: str, result: str, seconds: float) -> None:
        """A call ended: `result` is ok or a Reason's name."""


class Patience:
    """How long one call goes on trying, from when it first has to."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end: float | None = None
        self._delay = FIRST_DELAY

    @property
    def left(self) -> float:
        """Seconds; not below 0."""
        now = asyncio.get_running_loop().time()
        if self._end is None:
            self._end = now + self._seconds
        return max(0.0, self._end - now)

    async def pause(self) -> None:
        """Wait before the next try. Raises UNAVAILABLE when there is no more time."""
        if self.left == 0.0:
            raise StoreError(Reason.UNAVAILABLE)
        await asyncio.sleep(min(self._delay * random.uniform(0.5, 1.0), self.left))  # noqa: S311
        self._delay = min(self._delay * 2, LONGEST_DELAY)


class Lane:
    """One Exchange stream, opened again whenever it is lost."""

    def __init__(self, open_stream: Callable[[], Stream]) -> None:
        self._open_stream = open_stream
        self._up = asyncio.Event()
        self._closed = False
        self.foreign = ""
        """The contract of a store that was asked last and cannot be understood."""
        self.exchange: Exchange | None = None
        """The stream that calls go over now; None while there is none."""

    async def opened(self, patience: Patience) -> Exchange:
        """The stream, as soon as there is one. Raises UNAVAILABLE."""
        try:
            async with asyncio.timeout(patience.left):
                while self.exchange is None:
                    if self._closed:
                        raise StoreError(Reason.UNAVAILABLE)
                    await self._up.wait()
        except TimeoutError:
            raise StoreError(Reason.UNAVAILABLE) from None
        return self.exchange

    def close(self) -> None:
        """Whoever waits for the stream waits no longer."""
        self._closed = True
        self._up.set()

    async def carry(self) -> bool:
        """Open a stream and use it until it is lost; False where it could not be opened."""
        stream = self._open_stream()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                contract = await stream.greeting()
            if not self._understood(contract):
                return False
            self.exchange = Exchange(stream)
            self._up.set()
            await self.exchange.run()
        except TimeoutError:
            return False
        finally:
            self.exchange = None
            self._up.clear()
            stream.cancel()
        return True

    def _understood(self, contract: str) -> bool:
        """Whether the store speaks our contract; another one is told once."""
        if contract not in ("", CONTRACT, self.foreign):
            _log.error(
                "the store speaks contract %.20s and this process %s: install the same version", contract, CONTRACT
            )
        if contract:
            self.foreign = "" if contract == CONTRACT else contract
        return contract == CONTRACT


class Connection:
    """The way to the store: its channel, its lanes, and the one place where calls are tried again.

    `storewait` (seconds) may be changed at any time.
    """

    def __init__(self, target: Target, metadata: Metadata, storewait: float, observer: CallObserver | None) -> None:
        """Raises OSError where a certificate file cannot be read."""
        self._metadata = metadata
        self.storewait = storewait
        self._target = target
        self._stamp = stamp_of(target)
        self._channel = open_channel(target)
        self._retired: set[asyncio.Task[None]] = set()
        self._observer = observer
        self._closed = False
        self._point, self._bulk = Lane(self._open_stream), Lane(self._open_stream)
        self._tasks = [asyncio.create_task(keep_stream(lane.carry)) for lane in (self._point, self._bulk)]

    @property
    def channel(self) -> grpc.aio.Channel:
        """For the next call; where a certificate was replaced meanwhile it is a new one, with that."""
        if self._target.certfile and not self._closed:
            with contextlib.suppress(OSError):  # in the middle of being replaced: the next call finds it whole
                stamp = stamp_of(self._target)
                if stamp != self._stamp:
                    channel = open_channel(self._target)
                    self._retire(self._channel)
                    self._channel, self._stamp = channel, stamp
        return self._channel

    def _retire(self, channel: grpc.aio.Channel) -> None:
        """Let what runs over a channel come to its end."""
        task = asyncio.create_task(channel.close(_RETIRED_SECONDS))
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    @property
    def metadata(self) -> Metadata:
        """For a call of its own: who calls, and the span that it is a part of."""
        context = current_context()
        return (*self._metadata, (TRACEPARENT, traceparent(context))) if context else self._metadata

    def _open_stream(self) -> Stream:
        if self._target.frames:
            return SocketStream(self._target.frames, self._metadata)
        return GrpcStream(self.channel, self._metadata)

    @property
    def ready(self) -> bool:
        """Whether calls are answered now."""
        return self._point.exchange is not None and self._bulk.exchange is not None

    @property
    def understood(self) -> bool:
        """Whether the store speaks our contract, as far as it was ever there."""
        return not (self._point.foreign or self._bulk.foreign)

    async def wait_ready(self, seconds: float) -> None:
        """Raises UNAVAILABLE where the store is not there in time."""
        patience = Patience(seconds)
        await self._point.opened(patience)
        await self._bulk.opened(patience)

    async def close(self) -> None:
        """End the streams; calls that wait raise UNAVAILABLE."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._point.close()
        self._bulk.close()
        for task in self._retired:
            task.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        await self._channel.close()

    async def parts(self, name: str, request: Message, settled: Reason | None = None) -> list[Any]:
        """The replies to a call over Exchange; `name` is its field in `Call`.

        `settled` is the error that a repeat gets where an earlier try went through; the replies are empty then.
        """
        lane = self._bulk if name in BULK else self._point
        seconds = LONG_SECONDS if name in _LONG else SECONDS

        async def attempt(patience: Patience) -> list[Any]:
            exchange = lane.exchange or await lane.opened(patience)
            return await exchange.call(name, request, seconds)

        return await self.persist(name, attempt, None if settled is None else (settled, []))

    def persist(
        self, name: str, attempt: Callable[[Patience], Awaitable[T]], settled: tuple[Reason, T] | None = None
    ) -> Awaitable[T]:
        """As `_persist`; a call of a command that is traced is a part of its trace, with all that it waits for."""
        return calling(f"store {name}", self._persist(name, attempt, settled))

    async def _persist(
        self, name: str, attempt: Callable[[Patience], Awaitable[T]], settled: tuple[Reason, T] | None
    ) -> T:
        """Try until it succeeds or rule 1 ends it.

        `settled` is the error that a repeat gets where an earlier try went through, and what to return then.
        """
        patience, started, result = Patience(self.storewait), perf_counter(), "ok"
        maybe_done = False
        try:
            while True:
                try:
                    if self._point.exchange is None:
                        # Also for calls of their own: only the stream's greeting tells that the store understands us.
                        await self._point.opened(patience)
                    return await attempt(patience)
                except (StoreError, grpc.aio.AioRpcError) as raised:
                    error = raised if isinstance(raised, StoreError) else error_of_call(raised)
                if maybe_done and settled is not None and error.reason is settled[0]:
                    return settled[1]
                if error.reason is not Reason.UNAVAILABLE or self._closed:
                    raise error
                maybe_done = maybe_done or not isinstance(error, StreamLostError) or error.sent
                await patience.pause()
        except StoreError as error:
            result = error.reason.name
            raise
        finally:
            if self._observer is not None:
                self._observer.store_call(name, result, perf_counter() - started)
