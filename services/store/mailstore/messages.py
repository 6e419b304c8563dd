"""Reading a mailbox: what changed, and columns of its messages."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from services.common.domain import AccountId, Column, Columns, MailboxDelta, MailboxId, Rows, body_refs
from services.common.errors import Reason, StoreError
from services.store.backends import Transaction
from services.store.mailstore import account, box, history, uidranges
from services.store.mailstore.box import Box
from services.store.mailstore.outcome import Outcome, rows_of

_ALL: Final = "SELECT uid, flags, modseq FROM messages WHERE account_id = $1 AND mailbox_id = $2 ORDER BY uid"
# Sorted by us: with ORDER BY an engine may walk the whole mailbox by UID and not use the index by modseq.
_CHANGED: Final = "SELECT uid, flags, modseq FROM messages WHERE account_id = $1 AND mailbox_id = $2 AND modseq > $3"


async def resolve(tx: Transaction, account_id: AccountId, mailbox: str | MailboxId) -> Box:
    """A mailbox by its name or its id. Raises MAILBOX_NOT_FOUND and ACCOUNT_NOT_FOUND."""
    try:
        if isinstance(mailbox, str):
            return await box.by_name(tx, account_id, mailbox)
        return await box.by_id(tx, account_id, mailbox)
    except StoreError:
        await account.require(tx, account_id)
        raise


async def sync(tx: Transaction, account_id: AccountId, mailbox: str | MailboxId, since: int) -> MailboxDelta:
    """`Store.sync_mailbox`."""
    found = await resolve(tx, account_id, mailbox)
    return await _delta(tx, account_id, found, since)


async def _delta(tx: Transaction, account_id: AccountId, found: Box, since: int) -> MailboxDelta:
    if since > 0 and found.modseq <= since:
        return MailboxDelta(account_id, since, found.status(), Rows(), array("I"))
    gone = await history.expunged_since(tx, account_id, found.mailbox_id, since) if since > 0 else None
    if gone is None:
        rows: Any = await tx.fetch(_ALL, account_id, found.mailbox_id)
        return MailboxDelta(account_id, 0, found.status(), rows_of(rows), array("I"))
    rows = await tx.fetch(_CHANGED, account_id, found.mailbox_id, since)
    return MailboxDelta(account_id, since, found.status(), rows_of(sorted(rows)), array("I", sorted(gone)))


async def sync_and_claim(
    tx: Transaction, account_id: AccountId, mailbox: str | MailboxId, since: int
) -> Outcome[MailboxDelta]:
    """The same, for a session that is told of the recent messages: they are recent to no other (RFC 3501 2.3.2)."""
    delta = await sync(tx, account_id, mailbox, since)
    status = delta.status
    if status.recent_from < status.uidnext:
        await tx.execute(
            "UPDATE mailboxes SET recent_from = $3 WHERE account_id = $1 AND mailbox_id = $2",
            account_id, status.mailbox_id, status.uidnext,
        )  # fmt: skip
    return Outcome(delta)


async def follow(tx: Transaction, account_id: AccountId, mailbox_id: MailboxId, since: int) -> MailboxDelta:
    """The same for a follower, who learns by `gone` that the mailbox is no more."""
    try:
        return await _delta(tx, account_id, await box.by_id(tx, account_id, mailbox_id), since)
    except StoreError as error:
        if error.reason is not Reason.MAILBOX_NOT_FOUND:
            raise
    row = await tx.fetch_row(
        "SELECT name, modseq FROM gone_mailboxes WHERE account_id = $1 AND mailbox_id = $2", account_id, mailbox_id
    )
    name, modseq = cast("tuple[str, int]", row or ("", since + 1))
    left = Box(mailbox_id, name, 0, 0, modseq, 0, 0, 0, 0, 0, "", False)
    return MailboxDelta(account_id, since, left.status(), Rows(), array("I"), gone=True)


@dataclass(frozen=True, slots=True)
class Filler:
    """How a column is read: the SQL of its values, and how they get into `Columns`."""

    sql: tuple[str, ...]
    fill: Callable[[Columns, Sequence[Sequence[Any]]], None]


def _packed(name: str, typecode: str) -> Callable[[Columns, Sequence[Sequence[Any]]], None]:
    return lambda columns, values: setattr(columns, name, array(typecode, values[0]))


def _listed(name: str) -> Callable[[Columns, Sequence[Sequence[Any]]], None]:
    return lambda columns, values: setattr(columns, name, list(values[0]))


def _fill_contents(columns: Columns, values: Sequence[Sequence[Any]]) -> None:
    columns.content_ids = array("Q", values[0])
    columns.thread_ids = array("Q", values[1])


def _fill_locations(columns: Columns, values: Sequence[Sequence[Any]]) -> None:
    columns.header_sizes = array("Q", values[0])
    columns.locations = body_refs(*values[1:])


LOCATION: Final = 'c.digest, c.length, c.segment, c."offset", c.prefix'
"""The arguments of `BodyRef`."""

FILLERS: Final[dict[Column, Filler]] = {
    Column.INTERNALDATE: Filler(("m.internaldate",), _packed("internaldates", "q")),
    Column.SIZE: Filler(("m.size",), _packed("sizes", "Q")),
    Column.SAVEDATE: Filler(("m.savedate",), _packed("savedates", "q")),
    Column.LOCATION: Filler(("c.header_size", *LOCATION.split(", ")), _fill_locations),
    Column.CONTENT: Filler(("m.content_id", "c.thread_id"), _fill_contents),
    Column.SENTDATE: Filler(("c.sentdate",), _packed("sentdates", "q")),
    Column.ENVELOPE: Filler(("c.envelope",), _listed("envelopes")),
    Column.BODYSTRUCTURE: Filler(("c.bodystructure",), _listed("bodystructures")),
    Column.HEADERS: Filler(("c.headers",), _listed("headers")),
    Column.PREVIEW: Filler(("c.preview",), _listed("previews")),
}


@lru_cache(maxsize=1024)
def _query(columns: Column) -> str:
    wanted = [sql for column, filler in FILLERS.items() if column in columns for sql in filler.sql]
    joined = any(sql.startswith("c.") for sql in wanted)
    contents = " JOIN contents c ON c.account_id = m.account_id AND c.content_id = m.content_id" if joined else ""
    return (
        f"SELECT {', '.join(['m.uid', *wanted])} FROM messages m{contents}"
        " WHERE m.account_id = $1 AND m.mailbox_id = $2"
    )


async def columns_of(
    tx: Transaction, account_id: AccountId, mailbox_id: MailboxId, columns: Column, uids: Sequence[int] | None
) -> Columns:
    """`Store.fetch_columns`."""
    rows = await uidranges.select(tx, _query(columns), (account_id, mailbox_id), uids)
    if not rows:
        await _require(tx, account_id, mailbox_id)
        return Columns()
    values: list[Sequence[Any]] = list(zip(*rows, strict=True))
    found = Columns(uids=array("I", values[0]))
    at = 1
    for column, filler in FILLERS.items():
        if column in columns:
            filler.fill(found, values[at : at + len(filler.sql)])
            at += len(filler.sql)
    return found


async def _require(tx: Transaction, account_id: AccountId, mailbox_id: MailboxId) -> None:
    row = await tx.fetch_row(
        "SELECT 1 FROM mailboxes WHERE account_id = $1 AND mailbox_id = $2", account_id, mailbox_id
    )
    if row is None:
        raise StoreError(Reason.MAILBOX_NOT_FOUND)
