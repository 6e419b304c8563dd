"""Rows as the store's rules make them, in the least number of statements: for tests below the rules."""

from __future__ import annotations

from typing import cast

from services.store.backends import BodyStore, Database, Location, Transaction
from services.store.backends.digests import digest_of


async def make_account(database: Database, name: str = "a@example.org") -> int:
    """An account with an INBOX, whose mailbox id is 1."""

    async def rule(tx: Transaction) -> int:
        row = await tx.fetch_row(
            "INSERT INTO accounts (name, created, next_id) VALUES ($1, 0, 2) RETURNING account_id", name
        )
        account_id = cast("tuple[int]", row)[0]
        await tx.execute(
            "INSERT INTO mailboxes (account_id, mailbox_id, name, uidvalidity) VALUES ($1, 1, 'INBOX', 1)", account_id
        )
        return account_id

    return await database.write(rule)


async def file_row(tx: Transaction, account_id: int, location: Location, digest: bytes) -> int:
    """File a body in INBOX; returns its UID."""
    row = await tx.fetch_row(
        "UPDATE accounts SET modseq = modseq + 1, next_id = next_id + 1, used_bytes = used_bytes + $2,"
        " used_messages = used_messages + 1 WHERE account_id = $1 RETURNING modseq, next_id - 1",
        account_id,
        location.length,
    )
    modseq, content_id = cast("tuple[int, int]", row)
    row = await tx.fetch_row(
        "UPDATE mailboxes SET uidnext = uidnext + 1, modseq = $2, messages = messages + 1, unseen = unseen + 1,"
        " size = size + $3 WHERE account_id = $1 AND mailbox_id = 1 RETURNING uidnext - 1",
        account_id,
        modseq,
        location.length,
    )
    uid = cast("tuple[int]", row)[0]
    await tx.execute(
        'INSERT INTO contents (account_id, content_id, thread_id, refs, segment, "offset", length, header_size,'
        " sentdate, digest, prefix, envelope, bodystructure, headers, preview)"
        " VALUES ($1, $2, $2, 1, $3, $4, $5, 0, 0, $6, $7, $7, $7, $7, '')",
        account_id,
        content_id,
        location.segment,
        location.offset,
        location.length,
        digest,
        b"",
    )
    await tx.execute(
        "INSERT INTO messages (account_id, mailbox_id, uid, content_id, modseq, internaldate, savedate, size)"
        " VALUES ($1, 1, $2, $3, $4, 0, 0, $5)",
        account_id,
        uid,
        content_id,
        modseq,
        location.length,
    )
    return uid


async def file_body(database: Database, bodies: BodyStore, account_id: int, body: bytes) -> int:
    """Keep a body and file it; returns its UID."""
    digest = digest_of(body)
    location = await bodies.put(body, digest)
    return await database.write(lambda tx: file_row(tx, account_id, location, digest))


async def expunge_row(tx: Transaction, account_id: int, uid: int, died: int) -> None:
    """Expunge a message of INBOX that is filed nowhere else; its body dies at that time."""
    row = await tx.fetch_row(
        "DELETE FROM messages WHERE account_id = $1 AND mailbox_id = 1 AND uid = $2 RETURNING content_id, size",
        account_id,
        uid,
    )
    content_id, size = cast("tuple[int, int]", row)
    await tx.execute(
        "UPDATE accounts SET modseq = modseq + 1, used_bytes = used_bytes - $2, used_messages = used_messages - 1"
        " WHERE account_id = $1",
        account_id,
        size,
    )
    await tx.execute(
        "UPDATE mailboxes SET messages = messages - 1, unseen = unseen - 1, size = size - $2,"
        " modseq = (SELECT modseq FROM accounts WHERE account_id = $1) WHERE account_id = $1 AND mailbox_id = 1",
        account_id,
        size,
    )
    await tx.execute(
        "INSERT INTO expunged SELECT $1, 1, $2, modseq, 0, 0 FROM accounts WHERE account_id = $1", account_id, uid
    )
    await tx.execute(
        'INSERT INTO dead_contents (account_id, content_id, segment, "offset", length, digest, died)'
        ' SELECT account_id, content_id, segment, "offset", length, digest, $3 FROM contents'
        " WHERE account_id = $1 AND content_id = $2",
        account_id,
        content_id,
        died,
    )
    await tx.execute("DELETE FROM contents WHERE account_id = $1 AND content_id = $2", account_id, content_id)


async def located(tx: Transaction, account_id: int) -> dict[int, tuple[Location, bytes]]:
    """UID -> where its body lies, and the digest."""
    rows = await tx.fetch(
        'SELECT m.uid, c.segment, c."offset", c.length, c.digest FROM messages m'
        " JOIN contents c USING (account_id, content_id) WHERE m.account_id = $1",
        account_id,
    )
    found = cast("list[tuple[int, int, int, int, bytes]]", rows)
    return {uid: (Location(segment, offset, length), digest) for uid, segment, offset, length, digest in found}


async def read_all(database: Database, bodies: BodyStore, account_id: int) -> dict[int, bytes]:
    """UID -> body, each verified."""
    places = await database.read(lambda tx: located(tx, account_id))
    return {uid: await bodies.read(location, digest) for uid, (location, digest) in places.items()}
