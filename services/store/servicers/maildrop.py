"""MaildropService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from mailproto.store.v1 import maildrop_pb2
from services.common.domain import AccountId
from services.common.errors import Reason, StoreError
from services.common.storeclient import values
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handlers

CHUNK: Final = 4_096


async def open_maildrop(
    desk: Desk, request: maildrop_pb2.OpenMaildropRequest, caller: Caller
) -> AsyncIterator[maildrop_pb2.OpenMaildropResponse]:
    """MaildropService.OpenMaildrop."""
    if not desk.processes.alive(caller.process) or not 16 <= len(request.lock) <= 64:
        # Nobody would ever free it.
        raise StoreError(Reason.INVALID_ARGUMENT)
    drop = await desk.store.open_maildrop(AccountId(request.account_id), owner=caller.process, lock=request.lock)
    if request.known_modseq and drop.status.modseq == request.known_modseq:
        yield maildrop_pb2.OpenMaildropResponse(mailbox=values.mailbox(drop.status), unchanged=True)
        return
    for start in range(0, max(len(drop.uids), 1), CHUNK):
        stop = start + CHUNK
        yield maildrop_pb2.OpenMaildropResponse(
            mailbox=values.mailbox(drop.status) if start == 0 else None,
            uids=values.packed(drop.uids[start:stop]),
            sizes=values.packed(drop.sizes[start:stop]),
            locations=values.body_refs(drop.locations[start:stop]),
        )


async def commit_maildrop(
    desk: Desk, request: maildrop_pb2.CommitMaildropRequest, caller: Caller
) -> maildrop_pb2.CommitMaildropResponse:
    """MaildropService.CommitMaildrop."""
    deleted, seen = values.read_uids(request.deleted), values.read_uids(request.seen)
    await desk.store.commit_maildrop(AccountId(request.account_id), request.lock, deleted, seen)
    return maildrop_pb2.CommitMaildropResponse()


async def release_maildrop(
    desk: Desk, request: maildrop_pb2.ReleaseMaildropRequest, caller: Caller
) -> maildrop_pb2.ReleaseMaildropResponse:
    """MaildropService.ReleaseMaildrop."""
    await desk.store.release_maildrop(AccountId(request.account_id), request.lock)
    return maildrop_pb2.ReleaseMaildropResponse()


HANDLERS: Final[Handlers] = {
    "OpenMaildrop": open_maildrop,
    "CommitMaildrop": commit_maildrop,
    "ReleaseMaildrop": release_maildrop,
}
