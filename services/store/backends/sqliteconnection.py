"""One SQLite connection: how it is opened, what its errors mean, and the transaction that rules see.

Everything here blocks and belongs to the thread that opened the connection.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Generator, Hashable, Sequence
from typing import Any, Final, TypeVar

import apsw

from services.common.errors import Reason, StoreError
from services.store.backends import Row, Transaction, Value
from services.store.backends.jobs import Job
from services.store.schema import MIGRATIONS, READ_VERSION, RECORD_VERSION, SQLITE, pending

T = TypeVar("T")

MEMORY: Final = ":memory:"
BUSY_MILLISECONDS: Final = 10_000
STATEMENTS: Final = 512
"""Prepared statements kept; the rules have fewer texts than that."""
KEPT: Final = 1_000
"""Values that rules keep."""
JOURNAL_BYTES: Final = 64 << 20
"""A write-ahead log that grew beyond this is cut back once it starts over."""

_PLACEHOLDER: Final = re.compile(r"'(?:[^']|'')*'|\$(\d+)")
_FULL: Final = (apsw.FullError, apsw.IOError, apsw.CantOpenError)
_CORRUPT: Final = (apsw.CorruptError, apsw.NotADBError)


def storage_error(error: apsw.Error) -> StoreError:
    """What an engine error means to a caller of the store; the engine's own text is in the metadata, for the log."""
    if isinstance(error, _CORRUPT):
        reason = Reason.STORAGE_CORRUPT
    elif isinstance(error, _FULL):
        reason = Reason.STORAGE_FULL
    elif isinstance(error, (apsw.BusyError, apsw.LockedError)):
        reason = Reason.RESOURCE_EXHAUSTED
    else:
        reason = Reason.INTERNAL
    return StoreError(reason, {"engine": str(error), "kind": type(error).__name__})


def numbered(sql: str) -> str:
    """`$1` as SQLite spells it (`?1`): there, `$1` is a name, and names are numbered by where they first stand."""
    return _PLACEHOLDER.sub(lambda match: f"?{match[1]}" if match[1] else match[0], sql)


class Statements(dict[str, str]):
    """Statement text -> the text for SQLite; filled as statements are met."""

    def __missing__(self, sql: str) -> str:
        text = numbered(sql)
        if len(self) < STATEMENTS:  # a text that is made at run time must not grow this for ever
            self[sql] = text
        return text


class SqliteTransaction:
    """`Transaction` over one connection. Its coroutines never suspend.

    `writes`: it is the one connection through which the file changes, so that it knows when what is kept is no longer
    true: then its count of changed rows is another one than when something was last kept.
    """

    __slots__ = ("_accounted", "_connection", "_cursor", "_kept", "_statements", "_writes")

    def __init__(self, connection: apsw.Connection, *, writes: bool = False) -> None:
        self._connection = connection
        self._writes = writes
        self._kept: dict[Hashable, Any] = {}
        self._accounted = 0
        # One cursor for all statements: the next one resets a query whose rows were not all taken.
        self._cursor = connection.cursor()
        self._statements = Statements()

    async def fetch(self, sql: str, *parameters: Value) -> list[Row]:
        """All rows of a query (or of RETURNING)."""
        rows: list[Row] = self._cursor.execute(self._statements[sql], parameters).fetchall()  # type: ignore[assignment]
        return rows

    async def fetch_row(self, sql: str, *parameters: Value) -> Row | None:
        """The first row or None."""
        row: Row | None = self._cursor.execute(self._statements[sql], parameters).fetchone()
        return row

    async def execute(self, sql: str, *parameters: Value) -> int:
        """Run a statement; returns how many rows it changed."""
        self._cursor.execute(self._statements[sql], parameters)
        return self._connection.changes()

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        """Run a statement for each row of parameters."""
        self._cursor.executemany(self._statements[sql], rows)

    def recall(self, key: Hashable) -> Any:
        """See `Transaction.recall`."""
        if self._accounted != self._connection.total_changes():
            self._kept.clear()
        return self._kept.get(key)

    def keep(self, key: Hashable, value: Any) -> None:
        """See `Transaction.keep`."""
        if not self._writes:
            return
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[key] = value
        self._accounted = self._connection.total_changes()

    def forget(self) -> None:
        """What is kept is no longer true: something was rolled back."""
        self._kept.clear()

    def control(self, sql: str) -> None:
        """BEGIN, SAVEPOINT, COMMIT and their like."""
        self._cursor.execute(sql)

    @property
    def open(self) -> bool:
        """Whether a transaction is open; SQLite ends one by itself after some errors."""
        return self._connection.in_transaction


def run_rule(job: Job, transaction: SqliteTransaction) -> None:
    """Run a job's rule to its end in this thread and note what came of it, this time."""
    job.ran, job.error = True, None
    try:
        job.result = _drive(job.rule, transaction)
    except apsw.Error as error:
        job.error = storage_error(error)
    except Exception as error:
        job.error = error
    except BaseException as error:  # the thread serves others too: it must not end here
        job.error = StoreError(Reason.INTERNAL, {"kind": type(error).__name__})


def _drive(rule: Callable[[Transaction], Awaitable[T]], transaction: Transaction) -> T:
    steps = rule(transaction).__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    if isinstance(steps, Generator):
        steps.close()
    raise StoreError(Reason.INTERNAL, {"rule": "awaited something else than its transaction"})


def connect(path: str, *, cache_bytes: int) -> apsw.Connection:
    """A connection with the settings that every one of them needs."""
    connection = apsw.Connection(path, statementcachesize=STATEMENTS)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    # Without it SQLite plans a statement anew whenever a bound value might suit another plan: each range of UIDs did.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    for pragma, value in (
        ("synchronous", "FULL"),
        ("foreign_keys", 0),
        ("temp_store", "MEMORY"),
        ("cache_size", -(cache_bytes >> 10)),
        ("journal_size_limit", JOURNAL_BYTES),
        ("wal_autocheckpoint", 0),
    ):
        connection.pragma(pragma, value)
    return connection


def schema_version(connection: apsw.Connection) -> int:
    """The version of the schema that the file has, 0 for an empty one."""
    tables = connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'").fetchall()
    if not tables:
        return 0
    row = connection.execute(READ_VERSION).fetchone()
    return int(str(row[0])) if row else 0


def migrate(connection: apsw.Connection) -> None:
    """Bring the file to the present schema, one transaction for each version.

    Raises SchemaTooNew, and has changed nothing then.
    """
    for version in pending(schema_version(connection)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in MIGRATIONS[version](SQLITE):
                connection.execute(statement)
            connection.execute(numbered(RECORD_VERSION), (str(version),))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def make_private(path: str) -> None:
    """Make the file where it is missing, as closed to others as the segments: it holds the text of all mail.

    SQLite would go by the umask alone; its log gets the permissions of the file. Raises OSError.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))


def prepare(path: str, *, cache_bytes: int) -> apsw.Connection:
    """Open the file, made or migrated where needed; the connection that writes.

    Raises SchemaTooNew (the file is untouched), StoreError and OSError.
    """
    try:
        if path != MEMORY:
            make_private(path)
        connection = connect(path, cache_bytes=cache_bytes)
        # Until the version is known, not even the end of this connection may write the log back into the file.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        try:
            pending(schema_version(connection))
            if path != MEMORY:
                connection.pragma("journal_mode", "WAL")
            migrate(connection)
        except BaseException:
            connection.close()
            raise
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    except apsw.Error as error:
        raise storage_error(error) from error
    return connection
