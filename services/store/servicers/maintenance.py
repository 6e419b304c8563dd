"""MaintenanceService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from mailproto.store.v1 import maintenance_pb2
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handlers


async def check_store(
    desk: Desk, request: maintenance_pb2.CheckStoreRequest, caller: Caller
) -> AsyncIterator[maintenance_pb2.CheckStoreResponse]:
    """MaintenanceService.CheckStore."""
    async for findings in desk.maintenance.check(bodies=request.bodies):
        yield maintenance_pb2.CheckStoreResponse(
            findings=[
                maintenance_pb2.Finding(kind=one.kind, place=one.place, account=one.account, detail=one.detail)
                for one in findings
            ]
        )


async def compact_store(
    desk: Desk, request: maintenance_pb2.CompactStoreRequest, caller: Caller
) -> maintenance_pb2.CompactStoreResponse:
    """MaintenanceService.CompactStore."""
    compacted = await desk.maintenance.compact()
    return maintenance_pb2.CompactStoreResponse(segments=compacted.segments, bytes=compacted.bytes)


async def backup_store(
    desk: Desk, request: maintenance_pb2.BackupStoreRequest, caller: Caller
) -> maintenance_pb2.BackupStoreResponse:
    """MaintenanceService.BackupStore."""
    return maintenance_pb2.BackupStoreResponse(bytes=await desk.maintenance.backup(request.path, request.keep))


HANDLERS: Final[Handlers] = {
    "CheckStore": check_store,
    "CompactStore": compact_store,
    "BackupStore": backup_store,
}
