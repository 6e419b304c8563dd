"""`mailkeep store check`: whether a store holds what its rows say, told row by row and body by body.

It reads through a connection of its own and may run beside the store: rows are compared on one snapshot, bodies are
read without one, which would keep the log from being cut for as long as that takes. A damaged segment concerns only the
messages that lie in it, and each of them is named.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import apsw

from services.common.segments import segment_path
from services.store.backends.segmentfile import (
    RECORD_HEADER,
    Record,
    body_is_whole,
    has_file_header,
    parse_record_header,
    read_at,
)
from services.store.backends.sqliteconnection import BUSY_MILLISECONDS, schema_version
from services.store.embedded import metadata_path
from services.store.invariants import INVARIANTS, REPAIRS
from services.store.schema import pending


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and whose messages it concerns."""

    kind: str
    detail: str
    file: str = ""
    offset: int | None = None
    account: str = ""
    mailbox: str = ""
    uid: int | None = None


Progress = Callable[[int, int], None]
"""Bytes of segments that were gone through, of how many."""

_SEGMENTS: Final = (
    "SELECT segment FROM contents WHERE segment > 0 UNION SELECT segment FROM dead_contents WHERE segment > 0"
    " ORDER BY 1"
)
_BODIES: Final = (
    'SELECT "offset", length, digest FROM contents WHERE segment = ?1 UNION '
    'SELECT "offset", length, digest FROM dead_contents WHERE segment = ?1 ORDER BY "offset"'
)
_OWNERS: Final = (
    "SELECT a.name, b.name, m.uid FROM contents c JOIN messages m USING (account_id, content_id) "
    "JOIN mailboxes b USING (account_id, mailbox_id) JOIN accounts a USING (account_id) "
    'WHERE c.segment = ? AND c."offset" = ? ORDER BY 1, 2, 3'
)
_NAMED: Final = (
    'SELECT 1 FROM contents WHERE segment = ?1 AND "offset" = ?2 UNION ALL '
    'SELECT 1 FROM dead_contents WHERE segment = ?1 AND "offset" = ?2'
)


def check(store_path: str, *, bodies: bool = True, progress: Progress | None = None) -> Iterator[Finding]:
    """Verify metadata and, with `bodies`, every body. Blocks; yields what it finds as it goes.

    Raises SchemaTooNew.
    """
    path = metadata_path(store_path)
    try:
        with closing(_connect(path)) as connection:
            pending(schema_version(connection))
            connection.execute("BEGIN")
            yield from _check_file(connection, path)
            yield from _check_invariants(connection, path)
            connection.execute("COMMIT")
            if bodies:
                yield from _check_bodies(connection, store_path, progress)
    except apsw.Error as error:
        yield Finding("metadata", f"cannot be read: {error}", path)


def repair(store_path: str) -> int:
    """Set counters to what the rows say, in one transaction; returns how many rows that changed. Blocks."""
    with closing(_connect(metadata_path(store_path), apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        changed = 0
        for statement in REPAIRS:
            connection.execute(statement)
            changed += connection.changes()
        connection.execute("COMMIT")
        return changed


def _connect(path: str, mode: int = apsw.SQLITE_OPEN_READONLY) -> apsw.Connection:
    connection = apsw.Connection(path, flags=mode)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    return connection


def _check_file(connection: apsw.Connection, path: str) -> Iterator[Finding]:
    """The engine's own check: pages, indexes, types."""
    for (text,) in connection.execute("PRAGMA integrity_check"):
        if text != "ok":
            yield Finding("metadata", str(text), path)


def _check_invariants(connection: apsw.Connection, path: str) -> Iterator[Finding]:
    for kind, query in INVARIANTS.items():
        for account, mailbox, uid, detail in connection.execute(query):
            number = uid if isinstance(uid, int) else None
            yield Finding(kind, str(detail), path, account=str(account or ""), mailbox=str(mailbox or ""), uid=number)


def _check_bodies(connection: apsw.Connection, store_path: str, progress: Progress | None) -> Iterator[Finding]:
    segments = [int(str(segment)) for (segment,) in connection.execute(_SEGMENTS)]
    sizes = {segment: _size(segment_path(store_path, segment)) for segment in segments}
    passed, total = 0, sum(sizes.values())
    for segment, size in sizes.items():
        for record, problem in _check_segment(connection, store_path, segment):
            if problem:
                yield from _concerned(connection, segment, record, problem, store_path)
            if progress is not None:
                progress(min(passed + record.end, total), total)
        passed += size


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _check_segment(connection: apsw.Connection, store_path: str, segment: int) -> Iterator[tuple[Record, str]]:
    """Each record that rows name, with what is wrong about it ("": nothing)."""
    rows = connection.execute(_BODIES, (segment,)).fetchall()
    found = [Record(offset, length, digest) for offset, length, digest in rows]  # type: ignore[arg-type]
    try:
        with open(segment_path(store_path, segment), "rb", buffering=0) as file:
            for record in found:
                yield record, _problem(file.fileno(), segment, record)
    except OSError as error:
        yield from ((record, f"the file cannot be opened: {os.strerror(error.errno or 0)}") for record in found)


def _problem(fd: int, segment: int, record: Record) -> str:
    try:
        if not body_is_whole(fd, record):
            return "the body is not what its digest says"
        header = read_at(fd, record.offset - RECORD_HEADER.size, RECORD_HEADER.size)
        if parse_record_header(header) != (record.length, record.digest):
            return "the record's header is damaged; the body is whole"
        return "" if has_file_header(fd, segment) else "the file's header is damaged; the body is whole"
    except OSError as error:
        return f"cannot be read: {os.strerror(error.errno or 0)}"


def _concerned(
    connection: apsw.Connection, segment: int, record: Record, problem: str, store_path: str
) -> Iterator[Finding]:
    """One finding for each message that has the body, one without a message where only dead rows name it, and none
    where no row does any more: compaction has moved the body meanwhile.
    """
    file = segment_path(store_path, segment)
    owners = connection.execute(_OWNERS, (segment, record.offset)).fetchall()
    if not owners and connection.execute(_NAMED, (segment, record.offset)).fetchall():
        owners = [("", "", None)]
    for account, mailbox, uid in owners:
        number = uid if isinstance(uid, int) else None
        yield Finding("body", problem, file, record.offset, str(account), str(mailbox), number)
