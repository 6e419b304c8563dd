"""EmailService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from mailproto.store.v1 import emails_pb2
from services.common.domain import AccountId, Column
from services.common.errors import Reason, StoreError
from services.common.storeclient import values
from services.common.storeclient.emails import deltas
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.messages import slices
from services.store.servicers.method import Handlers
from services.store.uploads import gather, read_out

_ALL_COLUMNS: Final = sum(Column)


async def sync_emails(
    desk: Desk, request: emails_pb2.SyncEmailsRequest, caller: Caller
) -> AsyncIterator[emails_pb2.SyncEmailsResponse]:
    """EmailService.SyncEmails."""
    for part in deltas(await desk.store.emails.sync(AccountId(request.account_id), request.since)):
        yield part


async def fetch_contents(
    desk: Desk, request: emails_pb2.FetchContentsRequest, caller: Caller
) -> AsyncIterator[emails_pb2.FetchContentsResponse]:
    """EmailService.FetchContents."""
    if request.columns & ~_ALL_COLUMNS:
        raise StoreError(Reason.INVALID_ARGUMENT)
    columns = await desk.store.emails.fetch(
        AccountId(request.account_id), values.read_numbers(request.content_ids), Column(request.columns)
    )
    for start, stop in slices(columns, len(columns.content_ids)):
        yield emails_pb2.FetchContentsResponse(columns=values.columns(columns, start, stop))


async def upload_blob(
    desk: Desk, requests: AsyncIterator[emails_pb2.UploadBlobRequest], caller: Caller
) -> emails_pb2.UploadBlobResponse:
    """EmailService.UploadBlob."""
    first = await anext(requests, None)
    if first is None or first.chunk:
        raise StoreError(Reason.INVALID_ARGUMENT)
    async with read_out(requests), desk.uploads.take([first.size]):
        (data,) = await gather([first.size], (request.chunk async for request in requests))
        ref = await desk.store.emails.upload(AccountId(first.account_id), data)
    return emails_pb2.UploadBlobResponse(ref=values.body_refs([ref]))


async def find_blobs(desk: Desk, request: emails_pb2.FindBlobsRequest, caller: Caller) -> emails_pb2.FindBlobsResponse:
    """EmailService.FindBlobs."""
    octets, size = request.digests, values.DIGEST_SIZE
    digests = [octets[at : at + size] for at in range(0, len(octets), size)]
    refs = await desk.store.emails.find(AccountId(request.account_id), digests)
    return emails_pb2.FindBlobsResponse(refs=values.body_refs(refs))


HANDLERS: Final[Handlers] = {
    "SyncEmails": sync_emails,
    "FetchContents": fetch_contents,
    "UploadBlob": upload_blob,
    "FindBlobs": find_blobs,
}
