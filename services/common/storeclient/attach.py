"""Tells the store of this process's sessions, and closes those that `mailkeep kick` names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import grpc

from mailproto.store.v1 import sessions_pb2, sessions_pb2_grpc
from services.common.domain import SessionInfo
from services.common.sessions import SessionRegistry
from services.common.storeclient import values
from services.common.storeclient.connection import SECONDS, Connection, Patience
from services.common.storeclient.standing import keep_stream

PAUSE_SECONDS: Final = 0.25
"""Least time between two reports, so that a storm of logins costs four frames a second."""
_FRAME: Final = 5_000
"""Sessions in one report."""

Stream = grpc.aio.StreamStreamCall[sessions_pb2.AttachSessionsRequest, sessions_pb2.AttachSessionsResponse]


class Attachment:
    """The sessions of all processes as the store knows them, and this process's part in it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._task: asyncio.Task[None] | None = None
        self._registry = SessionRegistry()

    def _stub(self) -> sessions_pb2_grpc.SessionServiceAsyncStub:
        return sessions_pb2_grpc.SessionServiceStub(self._connection.channel)

    def attach(self, registry: SessionRegistry) -> None:
        """From now on the store knows the sessions of `registry`, and may end them. To be called once."""
        self._registry = registry
        self._task = asyncio.get_running_loop().create_task(keep_stream(self._carry))

    async def close(self) -> None:
        """The store forgets this process's sessions."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def list_sessions(
        self, *, user: str = "", service: str = "", address: str = "", session_id: str = ""
    ) -> Sequence[SessionInfo]:
        """Sessions of all processes; what is empty matches all."""
        request = sessions_pb2.ListSessionsRequest(filter=_filter(user, service, address, session_id))
        sessions: list[SessionInfo] = []
        while True:
            reply = await self._page(request)
            sessions.extend(values.read_session(session) for session in reply.sessions)
            if not reply.next_page_token:
                return sessions
            request.page_token = reply.next_page_token

    async def _page(self, request: sessions_pb2.ListSessionsRequest) -> sessions_pb2.ListSessionsResponse:
        async def attempt(_: Patience) -> sessions_pb2.ListSessionsResponse:
            return await self._stub().ListSessions(request, timeout=SECONDS, metadata=self._connection.metadata)

        return await self._connection.persist("list_sessions", attempt)

    async def kick_sessions(self, *, user: str = "", service: str = "", address: str = "", session_id: str = "") -> int:
        """End sessions; how many were told to. Raises INVALID_ARGUMENT where everything is empty."""
        request = sessions_pb2.KickSessionsRequest(filter=_filter(user, service, address, session_id))

        async def attempt(_: Patience) -> sessions_pb2.KickSessionsResponse:
            return await self._stub().KickSessions(request, timeout=SECONDS, metadata=self._connection.metadata)

        reply = await self._connection.persist("kick_sessions", attempt)
        return reply.kicked

    async def _carry(self) -> bool:
        """One stream from its opening to its end; whether it was opened."""
        stream = self._stub().AttachSessions(metadata=self._connection.metadata)
        writer = asyncio.create_task(self._report(stream))
        try:
            opened = bool(await stream.initial_metadata())
            while isinstance(reply := await stream.read(), sessions_pb2.AttachSessionsResponse):
                for session_id in reply.kick:
                    self._registry.kick(session_id)
        except grpc.aio.AioRpcError:
            return False
        finally:
            self._registry.on_change = None
            writer.cancel()
            stream.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return opened

    async def _report(self, stream: Stream) -> None:
        wake = asyncio.Event()
        self._registry.on_change = wake.set
        opened: Sequence[SessionInfo] = self._registry.snapshot()
        closed: Sequence[str] = ()
        while True:
            for request in _requests(opened, closed):
                await stream.write(request)
            await asyncio.sleep(PAUSE_SECONDS)
            await wake.wait()
            wake.clear()
            opened, closed = self._registry.drain_changes()


def _requests(opened: Sequence[SessionInfo], closed: Sequence[str]) -> Iterable[sessions_pb2.AttachSessionsRequest]:
    """At least one, since the first tells that the process is there."""
    for start in range(0, max(len(opened), len(closed), 1), _FRAME):
        yield sessions_pb2.AttachSessionsRequest(
            opened=[values.session(info) for info in opened[start : start + _FRAME]],
            closed=closed[start : start + _FRAME],
        )


def _filter(user: str, service: str, address: str, session_id: str) -> sessions_pb2.SessionFilter:
    return sessions_pb2.SessionFilter(user=user, service=service, address=address, session_id=session_id)
