"""Contents: what was delivered or appended once, and is filed in `refs` places of its account."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from services.common.domain import AccountId
from services.common.mime.analysis import Analysis
from services.store.backends import Location, Transaction

THREAD_MEMBERS: Final = 24
"""Message-IDs of one message that are looked up: its own, and as many of those it refers to."""

_INSERT: Final = (
    'INSERT INTO contents (account_id, content_id, thread_id, refs, segment, "offset", length, header_size, sentdate,'
    " digest, prefix, envelope, bodystructure, headers, preview)"
    " VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
)
_BURY: Final = (
    'INSERT INTO dead_contents (account_id, content_id, segment, "offset", length, digest, died)'
    ' SELECT account_id, content_id, segment, "offset", length, digest, $4 FROM contents'
    " WHERE account_id = $1 AND content_id = $2 AND refs <= $3"
)
_RELEASE: Final = "UPDATE contents SET refs = refs - $3 WHERE account_id = $1 AND content_id = $2 AND refs > $3"
_DROP: Final = "DELETE FROM contents WHERE account_id = $1 AND content_id = $2 AND refs <= $3"
_ENQUEUE: Final = "INSERT INTO text_queue (account_id, content_id) VALUES ($1, $2)"
_ENQUEUE_DEAD: Final = (
    "INSERT INTO text_queue (account_id, content_id)"
    " SELECT account_id, content_id FROM contents WHERE account_id = $1 AND content_id = $2 AND refs <= $3"
    " ON CONFLICT (account_id, content_id) DO UPDATE SET state = 0"
)


@dataclass(frozen=True, slots=True)
class Filed:
    """A message whose body is durable, with all that is known of it: ready for a transaction."""

    digest: bytes
    location: Location
    analysis: Analysis


async def insert(
    tx: Transaction, account_id: AccountId, content_id: int, thread_id: int, filed: Filed, prefix: bytes = b""
) -> None:
    """Add a content that is filed once; its text follows in the background."""
    location, analysis = filed.location, filed.analysis
    await tx.execute(
        _INSERT,
        account_id, content_id, thread_id, location.segment, location.offset, location.length,
        len(prefix) + analysis.header_size, analysis.sentdate, filed.digest, prefix, analysis.envelope,
        analysis.bodystructure, analysis.headers, analysis.preview,
    )  # fmt: skip
    await tx.execute(_ENQUEUE, account_id, content_id)


async def refer(tx: Transaction, account_id: AccountId, content_ids: Iterable[int]) -> None:
    """Count further places."""
    await tx.execute_many(
        "UPDATE contents SET refs = refs + $3 WHERE account_id = $1 AND content_id = $2",
        [(account_id, content_id, times) for content_id, times in Counter(content_ids).items()],
    )


async def release(tx: Transaction, account_id: AccountId, content_ids: Iterable[int], now: int) -> None:
    """Count places that are gone; a content without any is dead, and its bytes are kept for a while."""
    gone = [(account_id, content_id, times) for content_id, times in Counter(content_ids).items()]
    await tx.execute_many(_BURY, [(*row, now) for row in gone])
    await tx.execute_many(_ENQUEUE_DEAD, gone)
    await tx.execute_many(_DROP, gone)
    await tx.execute_many(_RELEASE, gone)


async def thread(tx: Transaction, account_id: AccountId, content_id: int, message_ids: Sequence[bytes]) -> int:
    """The thread that one of these messages is in, else a new one named after the content.

    Message-ID, In-Reply-To and References tie messages together; which arrives first does not matter.
    """
    related = [*message_ids[:1], *message_ids[1:][-(THREAD_MEMBERS - 1) :]]
    digests = [hashlib.blake2b(name, digest_size=16).digest() for name in dict.fromkeys(related)]
    if not digests:
        return content_id
    places = ", ".join(f"${place + 2}" for place in range(len(digests)))
    rows = await tx.fetch(
        f"SELECT message_id_digest, thread_id FROM threads WHERE account_id = $1 AND message_id_digest IN ({places})",
        account_id, *digests,
    )  # fmt: skip
    known: dict[Any, int] = dict(cast("list[tuple[bytes, int]]", rows))
    thread_id = min(known.values(), default=content_id)
    await tx.execute_many(
        "INSERT INTO threads (account_id, message_id_digest, thread_id) VALUES ($1, $2, $3)",
        [(account_id, digest, thread_id) for digest in digests if digest not in known],
    )
    return thread_id


async def locate(tx: Transaction, account_id: AccountId, digest: bytes) -> Location | None:
    """Where a body of this account lies now, dead ones included."""
    for table in ("contents", "dead_contents"):
        row = await tx.fetch_row(
            f'SELECT segment, "offset", length FROM {table} WHERE account_id = $1 AND digest = $2',
            account_id, digest,
        )  # fmt: skip
        if row is not None:
            return Location(*cast("tuple[int, int, int]", row))
    return None
