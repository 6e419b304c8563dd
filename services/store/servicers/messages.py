"""MessageService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Final

from mailproto.store.v1 import messages_pb2
from services.common.domain import (
    MAX_EDITS,
    AccountId,
    AppendItem,
    Column,
    Columns,
    FlagChange,
    FlagOperation,
    MailboxId,
    TextField,
    TextKey,
)
from services.common.errors import Reason, StoreError
from services.common.storeclient import values
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handlers
from services.store.uploads import gather, read_out

COLUMN_ROWS: Final = 4_096
COLUMN_BYTES: Final = 512 << 10
READ_BYTES: Final = 4 << 20
"""Texts that are read from the database at a time, about."""
FIRST_ROWS: Final = 64
LEAST_ROWS: Final = 4
_TEXTS: Final = Column.ENVELOPE | Column.BODYSTRUCTURE | Column.HEADERS | Column.PREVIEW
_ALL_COLUMNS: Final = sum(Column)
_OPERATIONS: Final = {one.value: one for one in FlagOperation}
_FIELDS: Final = {one.value: one for one in TextField}


async def sync_mailbox(
    desk: Desk, request: messages_pb2.SyncMailboxRequest, caller: Caller
) -> AsyncIterator[messages_pb2.SyncMailboxResponse]:
    """MessageService.SyncMailbox."""
    which = request.WhichOneof("mailbox")
    if which is None:
        raise StoreError(Reason.INVALID_ARGUMENT)
    delta = await desk.store.sync_mailbox(
        AccountId(request.account_id),
        request.name if which == "name" else MailboxId(request.mailbox_id),
        request.since,
        claim_recent=request.claim_recent,
    )
    for part in values.deltas(delta):
        yield messages_pb2.SyncMailboxResponse(delta=part)


async def fetch_columns(
    desk: Desk, request: messages_pb2.FetchColumnsRequest, caller: Caller
) -> AsyncIterator[messages_pb2.FetchColumnsResponse]:
    """MessageService.FetchColumns."""
    if request.columns & ~_ALL_COLUMNS:
        raise StoreError(Reason.INVALID_ARGUMENT)
    async for columns in _read_columns(desk, request, None if request.all else values.read_uids(request.uids)):
        for start, stop in slices(columns, len(columns.uids)):
            yield messages_pb2.FetchColumnsResponse(columns=values.columns(columns, start, stop))


async def _read_columns(
    desk: Desk, request: messages_pb2.FetchColumnsRequest, uids: Sequence[int] | None
) -> AsyncIterator[Columns]:
    """The columns, texts in so many rows at a time as seem to make `READ_BYTES`: a header may be a MiB."""
    wanted = Column(request.columns)
    read = partial(desk.store.fetch_columns, AccountId(request.account_id), MailboxId(request.mailbox_id))
    if not wanted & _TEXTS:
        yield await read(wanted, uids)
        return
    places = sorted(set(uids)) if uids is not None else (await read(Column(0), None)).uids
    start, rows = 0, FIRST_ROWS
    while True:
        columns = await read(wanted, places[start : start + rows])
        yield columns
        start += rows
        if start >= len(places):
            return
        size = sum([sum(map(len, text)) for text in _texts(columns)])
        rows = min(max(rows * READ_BYTES // max(size, 1), LEAST_ROWS), 8 * rows, COLUMN_ROWS)


def _texts(columns: Columns) -> list[Sequence[bytes | str]]:
    return [text for text in (columns.envelopes, columns.bodystructures, columns.headers, columns.previews) if text]


def slices(columns: Columns, rows: int) -> Iterator[tuple[int, int]]:
    """Rows that go into one reply each: a number of rows, or of bytes where rows are large."""
    texts = _texts(columns)
    start = size = 0
    for row in range(rows):
        size += sum([len(text[row]) for text in texts])
        if row - start >= COLUMN_ROWS or (size > COLUMN_BYTES and row > start):
            yield start, row
            start, size = row, sum([len(text[row]) for text in texts])
    if start < rows:
        yield start, rows


async def modify_flags(
    desk: Desk, request: messages_pb2.ModifyFlagsRequest, caller: Caller
) -> messages_pb2.ModifyFlagsResponse:
    """MessageService.ModifyFlags."""
    operation = _OPERATIONS.get(request.operation)
    if operation is None:
        raise StoreError(Reason.INVALID_ARGUMENT)
    result = await desk.store.modify_flags(
        AccountId(request.account_id),
        MailboxId(request.mailbox_id),
        values.read_uids(request.uids),
        FlagChange(operation, request.system, tuple(request.keywords)),
        unchanged_since=request.unchanged_since if request.HasField("unchanged_since") else None,
    )
    return messages_pb2.ModifyFlagsResponse(
        mailbox=values.mailbox(result.status),
        previous=result.previous,
        rows=values.rows(result.rows),
        conflicts=values.packed(result.conflicts),
    )


async def batch_modify_flags(
    desk: Desk, request: messages_pb2.BatchModifyFlagsRequest, caller: Caller
) -> messages_pb2.BatchModifyFlagsResponse:
    """MessageService.BatchModifyFlags."""
    edits = values.read_edits(request)
    if not 0 < len(edits) <= MAX_EDITS:
        raise StoreError(Reason.INVALID_ARGUMENT)
    return values.edited(await desk.store.modify_each(edits))


async def append_messages(
    desk: Desk, request: messages_pb2.AppendMessagesRequest, caller: Caller
) -> messages_pb2.AppendMessagesResponse:
    """MessageService.AppendMessages."""
    return await _append(desk, request, [item.body for item in request.items])


async def upload_messages(
    desk: Desk, requests: AsyncIterator[messages_pb2.UploadMessagesRequest], caller: Caller
) -> messages_pb2.AppendMessagesResponse:
    """MessageService.UploadMessages."""
    first = await anext(requests, None)
    if first is None or first.WhichOneof("part") != "append":
        raise StoreError(Reason.INVALID_ARGUMENT)
    sizes = [item.size for item in first.append.items]
    async with read_out(requests), desk.uploads.take(sizes):
        bodies = await gather(sizes, (request.chunk async for request in requests))
        return await _append(desk, first.append, bodies)


async def _append(
    desk: Desk, request: messages_pb2.AppendMessagesRequest, bodies: Sequence[bytes]
) -> messages_pb2.AppendMessagesResponse:
    if not bodies:
        raise StoreError(Reason.INVALID_ARGUMENT)
    items = [
        AppendItem(
            body, item.system, tuple(item.keywords), item.internaldate if item.HasField("internaldate") else None
        )
        for item, body in zip(request.items, bodies, strict=True)
    ]
    quota = values.read_quota(request.quota)
    result = await desk.store.append(
        AccountId(request.account_id), request.mailbox, items, quota, request_id=request.request_id
    )
    return messages_pb2.AppendMessagesResponse(
        mailbox_id=result.mailbox_id, uidvalidity=result.uidvalidity, uids=values.packed(result.uids)
    )


async def copy_messages(
    desk: Desk, request: messages_pb2.CopyMessagesRequest, caller: Caller
) -> messages_pb2.CopyMessagesResponse:
    """MessageService.CopyMessages."""
    result = await desk.store.copy_messages(
        AccountId(request.account_id),
        MailboxId(request.mailbox_id),
        values.read_uids(request.uids),
        request.target,
        values.read_quota(request.quota),
        move=request.move,
        request_id=request.request_id,
    )
    return messages_pb2.CopyMessagesResponse(
        mailbox_id=result.mailbox_id,
        uidvalidity=result.uidvalidity,
        source_uids=values.packed(result.source_uids),
        target_uids=values.packed(result.target_uids),
    )


async def expunge_messages(
    desk: Desk, request: messages_pb2.ExpungeMessagesRequest, caller: Caller
) -> messages_pb2.ExpungeMessagesResponse:
    """MessageService.ExpungeMessages."""
    uids = None if request.all else values.read_uids(request.uids)
    result = await desk.store.expunge(
        AccountId(request.account_id), MailboxId(request.mailbox_id), uids, regardless=request.regardless
    )
    return messages_pb2.ExpungeMessagesResponse(
        mailbox=values.mailbox(result.status), previous=result.previous, uids=values.packed(result.uids)
    )


async def search_messages(
    desk: Desk, request: messages_pb2.SearchMessagesRequest, caller: Caller
) -> messages_pb2.SearchMessagesResponse:
    """MessageService.SearchMessages."""
    keys = [_text_key(key) for key in request.keys]
    found = await desk.store.search_text(
        AccountId(request.account_id), MailboxId(request.mailbox_id), keys, request.uid_from or 1
    )
    return messages_pb2.SearchMessagesResponse(uids=[values.packed(uids) for uids in found])


def _text_key(key: messages_pb2.TextKey) -> TextKey:
    field = _FIELDS.get(key.field)
    if field is None:
        raise StoreError(Reason.INVALID_ARGUMENT)
    return TextKey(field, key.needle, key.header)


HANDLERS: Final[Handlers] = {
    "SyncMailbox": sync_mailbox,
    "FetchColumns": fetch_columns,
    "ModifyFlags": modify_flags,
    "BatchModifyFlags": batch_modify_flags,
    "AppendMessages": append_messages,
    "UploadMessages": upload_messages,
    "CopyMessages": copy_messages,
    "ExpungeMessages": expunge_messages,
    "SearchMessages": search_messages,
}
