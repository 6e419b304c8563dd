"""An account's messages over all its mailboxes, and uploaded blobs, over the store's contract."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from mailproto.store.v1 import emails_pb2, emails_pb2_grpc
from services.common.domain import AccountId, BodyRef, Column, Columns, EmailDelta, MailboxId, Places
from services.common.storeclient import values
from services.common.storeclient.connection import LONG_SECONDS, Connection, Patience

CHUNK: Final = 512 << 10
ROWS: Final = 8_192


class EmailCalls:
    """Implements `services.common.store.Emails`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def sync(self, account_id: AccountId, since: int = 0) -> EmailDelta:
        """See `Emails.sync`."""
        request = emails_pb2.SyncEmailsRequest(account_id=account_id, since=since)
        first, *rest = await self._connection.parts("sync_emails", request)
        delta = read_delta(account_id, first)
        for part in rest:
            extend_delta(delta, part)
        return delta

    async def fetch(self, account_id: AccountId, content_ids: Sequence[int], columns: Column) -> Columns:
        """See `Emails.fetch`."""
        result = Columns()
        if not content_ids:
            return result
        request = emails_pb2.FetchContentsRequest(
            account_id=account_id, content_ids=values.packed(array("Q", content_ids)), columns=columns.value
        )
        for part in await self._connection.parts("fetch_contents", request):
            values.extend_columns(result, part.columns)
        return result

    async def upload(self, account_id: AccountId, data: bytes) -> BodyRef:
        """See `Emails.upload`."""

        def requests() -> Iterator[emails_pb2.UploadBlobRequest]:
            yield emails_pb2.UploadBlobRequest(account_id=account_id, size=len(data))
            for at in range(0, len(data), CHUNK):
                yield emails_pb2.UploadBlobRequest(chunk=data[at : at + CHUNK])

        async def attempt(_: Patience) -> emails_pb2.UploadBlobResponse:
            stub: emails_pb2_grpc.EmailServiceAsyncStub = emails_pb2_grpc.EmailServiceStub(self._connection.channel)
            return await stub.UploadBlob(requests(), timeout=LONG_SECONDS, metadata=self._connection.metadata)

        reply = await self._connection.persist("upload_blob", attempt)
        return values.read_body_refs(reply.ref)[0]

    async def find(self, account_id: AccountId, digests: Sequence[bytes]) -> Sequence[BodyRef]:
        """See `Emails.find`."""
        request = emails_pb2.FindBlobsRequest(account_id=account_id, digests=b"".join(digests))
        (reply,) = await self._connection.parts("find_blobs", request)
        return values.read_body_refs(reply.refs)


def deltas(value: EmailDelta) -> Iterator[emails_pb2.SyncEmailsResponse]:
    """A delta in as many messages as its places need."""
    message = emails_pb2.SyncEmailsResponse(
        since=value.since,
        modseq=value.modseq,
        next_id=value.next_id,
        mailboxes=[values.mailbox(mailbox) for mailbox in value.mailboxes],
        gone_mailboxes=values.packed(array("Q", value.gone_mailboxes)),
    )
    rows = max(len(value.places.uids), len(value.gone.uids), 1)
    for start in range(0, rows, ROWS):
        _put(message, value, slice(start, start + ROWS))
        yield message
        message = emails_pb2.SyncEmailsResponse()


def _put(message: emails_pb2.SyncEmailsResponse, value: EmailDelta, rows: slice) -> None:
    places, gone = value.places, value.gone
    message.content_ids = values.packed(places.content_ids[rows])
    message.thread_ids = values.packed(places.thread_ids[rows])
    message.mailbox_ids = values.packed(places.mailbox_ids[rows])
    message.uids = values.packed(places.uids[rows])
    message.flags = values.packed(places.flags[rows])
    message.internaldates = values.packed(places.internaldates[rows])
    message.sizes = values.packed(places.sizes[rows])
    message.gone_content_ids = values.packed(gone.content_ids[rows])
    message.gone_thread_ids = values.packed(gone.thread_ids[rows])
    message.gone_mailbox_ids = values.packed(gone.mailbox_ids[rows])
    message.gone_uids = values.packed(gone.uids[rows])


def read_delta(account_id: AccountId, message: emails_pb2.SyncEmailsResponse) -> EmailDelta:
    """A delta out of its first message."""
    gone = [MailboxId(number) for number in values.read_numbers(message.gone_mailboxes)]
    boxes = [values.read_mailbox(mailbox) for mailbox in message.mailboxes]
    delta = EmailDelta(account_id, message.since, message.modseq, message.next_id, boxes, gone, Places(), Places())
    extend_delta(delta, message)
    return delta


def extend_delta(delta: EmailDelta, message: emails_pb2.SyncEmailsResponse) -> None:
    """Put the places of a message behind those that are there."""
    places, gone = delta.places, delta.gone
    places.content_ids.extend(values.read_numbers(message.content_ids))
    places.thread_ids.extend(values.read_numbers(message.thread_ids))
    places.mailbox_ids.extend(values.read_numbers(message.mailbox_ids))
    places.uids.extend(values.read_uids(message.uids))
    places.flags.extend(values.read_numbers(message.flags))
    places.internaldates.extend(values.read_signed(message.internaldates))
    places.sizes.extend(values.read_numbers(message.sizes))
    gone.content_ids.extend(values.read_numbers(message.gone_content_ids))
    gone.thread_ids.extend(values.read_numbers(message.gone_thread_ids))
    gone.mailbox_ids.extend(values.read_numbers(message.gone_mailbox_ids))
    gone.uids.extend(values.read_uids(message.gone_uids))
