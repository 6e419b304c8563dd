"""The store's socket for frames without gRPC: the Exchange stream of callers on this machine.

The same handlers, roles, deadlines and bounds as over gRPC: a connection is one more `Link` for `exchange`. Its first
frame says who calls, as call metadata does; the answer to it, which contract the store speaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import Final

from google.protobuf.message import DecodeError

from mailproto.store.v1 import exchange_pb2
from services.common.errors import StoreError
from services.common.framesocket import FrameSocket, metadata_frame, read_metadata
from services.common.storeclient.channel import CONTRACT, CONTRACT_KEY, GREETING_KEY, MAX_MESSAGE
from services.store.servicers.caller import Caller, local_caller
from services.store.servicers.desk import Desk
from services.store.servicers.exchange import METHOD, exchange

_log = logging.getLogger(__name__)

GREETING_SECONDS: Final = 10.0
GREETING_BYTES: Final = 4_096
MAX_CONNECTIONS: Final = 1_000


class _Link:
    """`Link` of `exchange` over a socket."""

    def __init__(self, frames: FrameSocket) -> None:
        self._frames = frames

    async def read(self) -> exchange_pb2.ExchangeRequest | None:
        """The next frame; what is no frame ends the stream."""
        frame = await self._frames.read()
        try:
            return None if frame is None else exchange_pb2.ExchangeRequest.FromString(frame)
        except DecodeError:
            return None

    async def write(self, reply: bytes) -> None:
        """Send a frame. Raises ConnectionResetError."""
        await self._frames.write(reply)


class _Connection(FrameSocket):
    """A caller's end; `lane` serves it as soon as it is there."""

    def __init__(self, lane: FrameLane) -> None:
        super().__init__(GREETING_BYTES)
        self._lane = lane

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        super().connection_made(transport)
        self._lane.take(self)


class FrameLane:
    """Listens on a Unix socket (mode 0600). To be made in a running event loop."""

    def __init__(self, desk: Desk, path: str) -> None:
        self._desk = desk
        self._path = path
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError. What is left at the path of a store that was killed is replaced."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        listening = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            listening.bind(self._path)
        except OSError:
            listening.close()
            raise
        finally:
            os.umask(before)
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Connection(self), sock=listening)

    async def stop(self, seconds: float) -> None:
        """Take no new callers; with `Desk.draining` set the streams end by themselves; cut those that do not."""
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        if self._serving:
            _, late = await asyncio.wait(self._serving, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def take(self, frames: FrameSocket) -> None:
        """Serve a new connection, unless there are too many."""
        if len(self._serving) >= MAX_CONNECTIONS or self._desk.draining.is_set():
            frames.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(frames))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, frames: FrameSocket) -> None:
        try:
            caller = await self._greeted(frames)
            if caller is not None:
                frames.limit = MAX_MESSAGE
                await exchange(self._desk, _Link(frames), caller)
        except (ConnectionResetError, StoreError):
            pass  # the caller is gone, or has no name that a long stream needs
        except Exception:  # one caller's stream, not the store
            _log.exception("a stream of frames failed")
        finally:
            frames.close()

    async def _greeted(self, frames: FrameSocket) -> Caller | None:
        """The caller that may use the lane; None, and nothing is said, for anybody else."""
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                frame = await frames.read()
            metadata = read_metadata(frame or b"")
            caller = local_caller(metadata)
            caller.check(METHOD)
        except (TimeoutError, ValueError, StoreError):
            return None
        await frames.write(metadata_frame({GREETING_KEY: CONTRACT}))
        # Another contract: it has been told ours, and goes.
        return caller if metadata.get(CONTRACT_KEY) == CONTRACT else None
