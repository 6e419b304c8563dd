"""What is remembered of messages that are gone, and for how long.

`expunged` says which messages went after a modification sequence: for sessions that were cut off, and for clients that
resynchronise (RFC 7162 section 3.2.6). Of a mailbox with more than that to tell, the oldest is forgotten, up to the
sequence that its `history_floor` names; who knows the mailbox from before then is given the whole of it again, which
costs no more than such a history would.

`threads` says which thread a Message-ID belongs to. Nothing tells when the last message of a thread went, so the
threads of an account that lost messages are looked through once a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from services.common.domain import AccountId, MailboxId
from services.store.backends import Transaction

KEPT: Final = 5_000
"""Expunged messages of a mailbox that are remembered; fewer where the oldest of them went together with more."""
SLACK: Final = 5_000
"""So many more there may be before the oldest are forgotten: not one at a time."""
BATCH: Final = 1_000
GONE_MAILBOXES: Final = 20_000
"""So many changes of an account ago what went from mailboxes that are gone themselves is remembered."""
THREADS_SECONDS: Final = 86_400
_THREADS: Final = "threads/"

_SINCE: Final = "SELECT uid FROM expunged WHERE account_id = $1 AND mailbox_id = $2 AND modseq > $3"
_FLOOR: Final = "SELECT history_floor FROM mailboxes WHERE account_id = $1 AND mailbox_id = $2"
_GIVEN: Final = "SELECT uidnext - 1 - messages FROM mailboxes WHERE account_id = $1 AND mailbox_id = $2"
_NTH: Final = (
    "SELECT modseq FROM expunged WHERE account_id = $1 AND mailbox_id = $2 ORDER BY modseq DESC LIMIT 1 OFFSET $3"
)
_OLDEST: Final = (
    f"SELECT uid FROM expunged WHERE account_id = $1 AND mailbox_id = $2 AND modseq <= $3 ORDER BY modseq LIMIT {BATCH}"
)
_DEAD: Final = (
    "SELECT message_id_digest, thread_id FROM threads WHERE account_id = $1 AND thread_id NOT IN"
    " (SELECT thread_id FROM contents WHERE account_id = $1)"
)


# ---- expunged messages ----------------------------------------------------------------------------------------------
async def expunged_since(tx: Transaction, account_id: AccountId, mailbox_id: MailboxId, since: int) -> list[int] | None:
    """UIDs that went after a modification sequence, in no order; None where that is no longer known."""
    floor = await tx.fetch_row(_FLOOR, account_id, mailbox_id)
    if floor is not None and since < cast("tuple[int]", floor)[0]:
        return None
    rows: Any = await tx.fetch(_SINCE, account_id, mailbox_id, since)
    return [uid for (uid,) in rows]


async def is_long(tx: Transaction, account_id: AccountId, mailbox_id: MailboxId) -> bool:
    """Whether something of the mailbox is to be forgotten."""
    gone = await tx.fetch_row(_GIVEN, account_id, mailbox_id)
    if gone is None or cast("tuple[int]", gone)[0] <= KEPT + SLACK:
        return False  # so few went ever
    return await tx.fetch_row(_NTH, account_id, mailbox_id, KEPT + SLACK) is not None


async def shorten(tx: Transaction, account_id: AccountId, mailbox_id: MailboxId) -> bool:
    """Forget a batch of the oldest; False where nothing more is to be forgotten.

    Messages that went with one modification sequence are forgotten together, and the floor is raised with the first
    batch: whoever asks in between is told the truth.
    """
    floor = await tx.fetch_row(_NTH, account_id, mailbox_id, KEPT)
    if floor is None:
        return False
    rows: Any = await tx.fetch(_OLDEST, account_id, mailbox_id, floor[0])
    await tx.execute(
        "UPDATE mailboxes SET history_floor = $3 WHERE account_id = $1 AND mailbox_id = $2 AND history_floor < $3",
        account_id, mailbox_id, floor[0],
    )  # fmt: skip
    await tx.execute_many(
        "DELETE FROM expunged WHERE account_id = $1 AND mailbox_id = $2 AND uid = $3",
        [(account_id, mailbox_id, uid) for (uid,) in rows],
    )
    return len(rows) == BATCH


async def forget_mailboxes(tx: Transaction, account_id: AccountId) -> None:
    """Forget what went from mailboxes that were deleted long ago, and note that it is not known any more."""
    row = await tx.fetch_row("SELECT modseq FROM accounts WHERE account_id = $1", account_id)
    if row is None or (floor := cast("tuple[int]", row)[0] - GONE_MAILBOXES) <= 0:
        return
    await tx.execute(
        "DELETE FROM expunged WHERE account_id = $1 AND mailbox_id IN"
        " (SELECT mailbox_id FROM gone_mailboxes WHERE account_id = $1 AND modseq <= $2)",
        account_id, floor,
    )  # fmt: skip
    await tx.execute(
        "UPDATE gone_mailboxes SET messages = 1 WHERE account_id = $1 AND modseq <= $2 AND messages = 0",
        account_id, floor,
    )  # fmt: skip


# ---- threads --------------------------------------------------------------------------------------------------------
async def dead_threads(
    tx: Transaction, account_id: AccountId, now: int
) -> tuple[Sequence[tuple[bytes, int]], int] | None:
    """Message-IDs whose threads have no message any more, each with its thread, and the newest content by then.

    None where they were looked for within a day.
    """
    last = await tx.fetch_row("SELECT value FROM meta WHERE key = $1", threads_note(account_id))
    if last is not None and now - int(str(last[0])) < THREADS_SECONDS:
        return None
    found: Any = await tx.fetch(_DEAD, account_id)
    newest: Any = await tx.fetch_row("SELECT MAX(content_id) FROM contents WHERE account_id = $1", account_id)
    return found, newest[0] or 0


async def forget_threads(
    tx: Transaction, account_id: AccountId, dead: Sequence[tuple[bytes, int]], newest: int
) -> None:
    """Forget these, except where a message that came after `newest` has joined the thread."""
    rows: Any = await tx.fetch(
        "SELECT DISTINCT thread_id FROM contents WHERE account_id = $1 AND content_id > $2", account_id, newest
    )
    joined = {thread_id for (thread_id,) in rows}
    await tx.execute_many(
        "DELETE FROM threads WHERE account_id = $1 AND message_id_digest = $2",
        [(account_id, digest) for digest, thread_id in dead if thread_id not in joined],
    )


async def note_threads(tx: Transaction, account_id: AccountId, now: int) -> None:
    """They were looked for. Nothing is noted of an account that is gone."""
    await tx.execute(
        "INSERT INTO meta (key, value) SELECT $1, $2 FROM accounts WHERE account_id = $3"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        threads_note(account_id), str(now), account_id,
    )  # fmt: skip


def threads_note(account_id: AccountId) -> str:
    """The key in `meta` of when an account's threads were last looked through."""
    return f"{_THREADS}{account_id}"
