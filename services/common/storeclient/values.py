"""Domain values as the messages of `mailproto`, and back; the client and the servicers share each pair.

A function named after a value makes its message, `read_...` makes the value of a message. Columns of numbers are
little-endian octets on the wire (see messages.proto), so that an array goes in and out as one copy.

Reading raises StoreError INVALID_ARGUMENT where a column's length is not a multiple of its width, or columns that
belong together differ in length; nothing else is checked here.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final

from mailproto.store.v1 import accounts_pb2, mailboxes_pb2, messages_pb2, sessions_pb2
from services.common import domain
from services.common.domain import (
    Account,
    AccountId,
    BodyRef,
    Columns,
    FlagEdit,
    FlagEdited,
    FlagOperation,
    MailboxDelta,
    MailboxId,
    MailboxStatus,
    Quota,
    Rows,
    SessionInfo,
)
from services.common.errors import Reason, StoreError
from services.common.storeclient.status import error_of, status_of

DIGEST_SIZE: Final = 32
DELTA_ROWS: Final = 8_192
"""Rows of a delta in one message."""
NOT_EDITED: Final = FlagEdited(0, 0, 0, 0, 0, 0)
_OPERATIONS: Final = {one.value: one for one in FlagOperation}
_SWAP: Final = sys.byteorder == "big"


def packed(numbers: array[int]) -> bytes:
    """A column's octets."""
    if _SWAP:
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def packed_uids(uids: Sequence[int]) -> bytes:
    """UIDs of any sequence as a column. Raises OverflowError for what is not 32 bits."""
    if isinstance(uids, array) and uids.typecode == "I":
        return packed(uids)
    return packed(array("I", uids))


def _column(typecode: str, octets: bytes) -> array[int]:
    numbers: array[int] = array(typecode)
    try:
        numbers.frombytes(octets)
    except ValueError:
        raise StoreError(Reason.INVALID_ARGUMENT) from None
    if _SWAP:
        numbers.byteswap()
    return numbers


def read_uids(octets: bytes) -> array[int]:
    """A column of 4 octets each."""
    return _column("I", octets)


def read_numbers(octets: bytes) -> array[int]:
    """A column of 8 octets each."""
    return _column("Q", octets)


def read_signed(octets: bytes) -> array[int]:
    """A column of 8 octets each with signs."""
    return _column("q", octets)


def account(value: Account) -> accounts_pb2.Account:
    """An account with its counters."""
    return accounts_pb2.Account(
        account_id=value.account_id,
        name=value.name,
        used_bytes=value.used_bytes,
        used_messages=value.used_messages,
        modseq=value.modseq,
    )


def read_account(message: accounts_pb2.Account) -> Account:
    """An account with its counters."""
    return Account(
        AccountId(message.account_id), message.name, message.used_bytes, message.used_messages, message.modseq
    )


def quota(value: Quota) -> accounts_pb2.Quota:
    """What an account may hold."""
    return accounts_pb2.Quota(max_bytes=value.max_bytes, max_messages=value.max_messages)


def read_quota(message: accounts_pb2.Quota) -> Quota:
    """What an account may hold."""
    return Quota(
        message.max_bytes if message.HasField("max_bytes") else None,
        message.max_messages if message.HasField("max_messages") else None,
    )


def mailbox(value: MailboxStatus) -> mailboxes_pb2.Mailbox:
    """A mailbox with its counters."""
    return mailboxes_pb2.Mailbox(
        mailbox_id=value.mailbox_id,
        name=value.name,
        uidvalidity=value.uidvalidity,
        uidnext=value.uidnext,
        modseq=value.modseq,
        messages=value.messages,
        unseen=value.unseen,
        deleted=value.deleted,
        size=value.size,
        recent_from=value.recent_from,
        special_use=value.special_use,
        subscribed=value.subscribed,
        keywords=value.keywords,
    )


def read_mailbox(message: mailboxes_pb2.Mailbox) -> MailboxStatus:
    """A mailbox with its counters."""
    return MailboxStatus(
        MailboxId(message.mailbox_id),
        message.name,
        message.uidvalidity,
        message.uidnext,
        message.modseq,
        message.messages,
        message.unseen,
        message.deleted,
        message.size,
        message.recent_from,
        message.special_use,
        message.subscribed,
        tuple(message.keywords),
    )


def rows(value: Rows, start: int = 0, stop: int | None = None) -> messages_pb2.Rows:
    """Flags of messages, or those from index `start` to `stop`."""
    return messages_pb2.Rows(
        uids=packed(value.uids[start:stop]),
        flags=packed(value.flags[start:stop]),
        modseqs=packed(value.modseqs[start:stop]),
    )


def read_rows(message: messages_pb2.Rows) -> Rows:
    """Flags of messages."""
    return Rows(read_uids(message.uids), read_numbers(message.flags), read_numbers(message.modseqs))


def extend_rows(value: Rows, message: messages_pb2.Rows) -> None:
    """Put the rows of a later reply behind those that are there."""
    value.uids.extend(read_uids(message.uids))
    value.flags.extend(read_numbers(message.flags))
    value.modseqs.extend(read_numbers(message.modseqs))


def edits(value: Sequence[FlagEdit]) -> messages_pb2.BatchModifyFlagsRequest:
    """Changes of flags as columns. Raises INVALID_ARGUMENT for flags that are no system flags."""
    accounts, mailboxes, uids, operations, system = zip(*value, strict=True)
    if max(system) > 255:
        raise StoreError(Reason.INVALID_ARGUMENT)
    return messages_pb2.BatchModifyFlagsRequest(
        account_ids=packed(array("Q", accounts)),
        mailbox_ids=packed(array("Q", mailboxes)),
        uids=packed(array("I", uids)),
        operations=bytes([operation.value for operation in operations]),
        system=bytes(system),
    )


def read_edits(message: messages_pb2.BatchModifyFlagsRequest) -> list[FlagEdit]:
    """Changes of flags; raises INVALID_ARGUMENT also for operations that there are not."""
    operations = [_OPERATIONS.get(number) for number in message.operations]
    columns: tuple[Sequence[Any], ...] = (
        read_numbers(message.account_ids), read_numbers(message.mailbox_ids), read_uids(message.uids),
        operations, message.system,
    )  # fmt: skip
    if None in operations or len({len(column) for column in columns}) != 1:
        raise StoreError(Reason.INVALID_ARGUMENT)
    return list(map(FlagEdit, *columns))


def edited(value: Sequence[FlagEdited | StoreError]) -> messages_pb2.BatchModifyFlagsResponse:
    """What came of changes of flags, as columns."""
    refusals = [(index, one) for index, one in enumerate(value) if isinstance(one, StoreError)]
    columns = zip(*(NOT_EDITED if isinstance(one, StoreError) else one for one in value), strict=True)
    previous, mailbox_modseqs, unseen, deleted, flags, modseqs = (packed(array("Q", column)) for column in columns)
    return messages_pb2.BatchModifyFlagsResponse(
        previous=previous, mailbox_modseqs=mailbox_modseqs, unseen=unseen, deleted=deleted, flags=flags,
        modseqs=modseqs,
        refusals=[messages_pb2.Refusal(index=index, status=status_of(error)) for index, error in refusals],
    )  # fmt: skip


def read_edited(message: messages_pb2.BatchModifyFlagsResponse) -> list[FlagEdited | StoreError]:
    """What came of changes of flags."""
    columns = (
        message.previous, message.mailbox_modseqs, message.unseen, message.deleted, message.flags, message.modseqs,
    )  # fmt: skip
    found: list[FlagEdited | StoreError] = [*map(FlagEdited, *map(read_numbers, columns))]
    for refusal in message.refusals:
        found[refusal.index] = error_of(refusal.status)
    return found


def deltas(value: MailboxDelta) -> Iterator[messages_pb2.Delta]:
    """What happened in a mailbox, in as many messages as its rows need; all but the last are `continued`."""
    rows_left = max(len(value.changed), len(value.expunged))
    message = messages_pb2.Delta(
        account_id=value.account_id, since=value.since, mailbox=mailbox(value.status), gone=value.gone
    )
    for start in range(0, max(rows_left, 1), DELTA_ROWS):
        stop = start + DELTA_ROWS
        message.changed.CopyFrom(rows(value.changed, start, stop))
        message.expunged = packed(value.expunged[start:stop])
        message.continued = stop < rows_left
        yield message
        message = messages_pb2.Delta(
            account_id=value.account_id, mailbox=mailboxes_pb2.Mailbox(mailbox_id=value.status.mailbox_id)
        )


def read_delta(message: messages_pb2.Delta) -> MailboxDelta:
    """What happened in a mailbox."""
    return MailboxDelta(
        AccountId(message.account_id),
        message.since,
        read_mailbox(message.mailbox),
        read_rows(message.changed),
        read_uids(message.expunged),
        message.gone,
    )


def extend_delta(value: MailboxDelta, message: messages_pb2.Delta) -> None:
    """Put the rows of a later message behind those that are there."""
    extend_rows(value.changed, message.changed)
    value.expunged.extend(read_uids(message.expunged))


def body_refs(values: Sequence[BodyRef]) -> messages_pb2.BodyRefs:
    """Where messages lie."""
    digests, lengths, segments, offsets, prefixes = zip(*values, strict=True) if values else ((),) * 5
    return messages_pb2.BodyRefs(
        digests=b"".join(digests),
        lengths=packed(array("Q", lengths)),
        segments=packed(array("Q", segments)),
        offsets=packed(array("Q", offsets)),
        prefixes=prefixes if any(prefixes) else (),
    )


def read_body_refs(message: messages_pb2.BodyRefs) -> list[BodyRef]:
    """Where messages lie."""
    lengths, segments, offsets = (
        read_numbers(message.lengths),
        read_numbers(message.segments),
        read_numbers(message.offsets),
    )
    octets = message.digests
    digests = [octets[at : at + DIGEST_SIZE] for at in range(0, len(octets), DIGEST_SIZE)]
    prefixes = message.prefixes or (b"",) * len(lengths)
    count = len(lengths)
    if not (len(octets) == DIGEST_SIZE * count and len(segments) == len(offsets) == len(prefixes) == count):
        raise StoreError(Reason.INVALID_ARGUMENT)
    return domain.body_refs(digests, lengths, segments, offsets, prefixes)


def columns(value: Columns, start: int, stop: int) -> messages_pb2.Columns:
    """The rows from index `start` to `stop`; columns that are empty stay so."""
    return messages_pb2.Columns(
        uids=packed(value.uids[start:stop]),
        internaldates=packed(value.internaldates[start:stop]),
        sizes=packed(value.sizes[start:stop]),
        savedates=packed(value.savedates[start:stop]),
        sentdates=packed(value.sentdates[start:stop]),
        content_ids=packed(value.content_ids[start:stop]),
        thread_ids=packed(value.thread_ids[start:stop]),
        header_sizes=packed(value.header_sizes[start:stop]),
        envelopes=value.envelopes[start:stop],
        bodystructures=value.bodystructures[start:stop],
        headers=value.headers[start:stop],
        previews=value.previews[start:stop],
        locations=body_refs(value.locations[start:stop]) if value.locations else None,
    )


def extend_columns(value: Columns, message: messages_pb2.Columns) -> None:
    """Put the rows of a reply behind those that are there."""
    value.uids.extend(read_uids(message.uids))
    value.internaldates.extend(read_signed(message.internaldates))
    value.sizes.extend(read_numbers(message.sizes))
    value.savedates.extend(read_signed(message.savedates))
    value.sentdates.extend(read_signed(message.sentdates))
    value.content_ids.extend(read_numbers(message.content_ids))
    value.thread_ids.extend(read_numbers(message.thread_ids))
    value.header_sizes.extend(read_numbers(message.header_sizes))
    value.envelopes.extend(message.envelopes)
    value.bodystructures.extend(message.bodystructures)
    value.headers.extend(message.headers)
    value.previews.extend(message.previews)
    value.locations.extend(read_body_refs(message.locations))


def session(value: SessionInfo) -> sessions_pb2.Session:
    """One client's session."""
    return sessions_pb2.Session(
        session_id=value.session_id,
        service=value.service,
        user=value.user,
        address=value.address,
        started=value.started,
        process=value.process,
    )


def read_session(message: sessions_pb2.Session, process: str | None = None) -> SessionInfo:
    """One client's session; `process` says whose it is where the message does not."""
    return SessionInfo(
        message.session_id,
        message.service,
        message.user,
        message.address,
        message.started,
        message.process if process is None else process,
    )
