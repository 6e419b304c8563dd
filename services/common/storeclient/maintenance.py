"""What an administrator asks of a running store; for the role `admin`, and `backup`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import grpc

from mailproto.store.v1 import maintenance_pb2, maintenance_pb2_grpc
from services.common.storeclient.connection import Connection
from services.common.storeclient.status import error_of_call

_SECONDS: Final = 24 * 3600.0
"""Checks and backups read everything there is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `store check` found wrong. `kind` is a word for scripts, `detail` is for people."""

    kind: str
    place: str
    account: str
    detail: str


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction gave back."""

    segments: int
    bytes: int


class Maintenance:
    """Calls that are made once: a store that is away, or goes away, raises UNAVAILABLE at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _stub(self) -> maintenance_pb2_grpc.MaintenanceServiceAsyncStub:
        return maintenance_pb2_grpc.MaintenanceServiceStub(self._connection.channel)

    async def check(self, *, bodies: bool = False) -> AsyncIterator[Finding]:
        """What is wrong with the store, as it is found; `bodies` reads every body too."""
        request = maintenance_pb2.CheckStoreRequest(bodies=bodies)
        try:
            async for reply in self._stub().CheckStore(request, timeout=_SECONDS, metadata=self._connection.metadata):
                for finding in reply.findings:
                    yield Finding(finding.kind, finding.place, finding.account, finding.detail)
        except grpc.aio.AioRpcError as error:
            raise error_of_call(error) from None

    async def compact(self) -> Compacted:
        """Give the space of deleted bodies back now."""
        request = maintenance_pb2.CompactStoreRequest()
        try:
            reply = await self._stub().CompactStore(request, timeout=_SECONDS, metadata=self._connection.metadata)
        except grpc.aio.AioRpcError as error:
            raise error_of_call(error) from None
        return Compacted(reply.segments, reply.bytes)

    async def backup(self, path: str, keep: int = 0) -> int:
        """Write a consistent copy into a folder (absolute path) of the store's machine; returns its bytes.

        `keep`: so many of the finished backups around it stay, the newest; 0: all.
        """
        request = maintenance_pb2.BackupStoreRequest(path=path, keep=keep)
        try:
            reply = await self._stub().BackupStore(request, timeout=_SECONDS, metadata=self._connection.metadata)
        except grpc.aio.AioRpcError as error:
            raise error_of_call(error) from None
        return reply.bytes
