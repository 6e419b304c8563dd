"""The embedded engine: SQLite in WAL mode, one writer thread with group commit, a few reader threads.

Readers and the writer do not wait for each other. The log is copied back into the file by a thread of its own, so that
no commit pays for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

import apsw

from services.common.tracing import within
from services.store.backends import Rule
from services.store.backends.jobs import Inbox, Job, Outcomes
from services.store.backends.sqliteconnection import (
    MEMORY,
    SqliteTransaction,
    connect,
    prepare,
    run_rule,
    storage_error,
)
from services.store.backends.sqlitewriter import GroupCommit

T = TypeVar("T")
_log = logging.getLogger(__name__)

READERS: Final = 3
QUEUE: Final = 20_000
"""Rules that may wait at once; more are refused."""
WRITER_CACHE: Final = 64 << 20
READER_CACHE: Final = 32 << 20
CHECKPOINT_PAGES: Final = 2_000
HARD_CHECKPOINT_PAGES: Final = 32_000
"""From here on the writer copies the log back itself: commits must not outrun the thread whose work that is."""


class _Checkpointer:
    """Copies the log into the file, beside readers and the writer."""

    def __init__(self, writer: apsw.Connection, path: str) -> None:
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._asked = False
        self._connection = connect(path, cache_bytes=1 << 20)
        writer.set_wal_hook(self._log_grew)

    def _log_grew(self, writer: apsw.Connection, _name: str, pages: int) -> int:
        if pages >= CHECKPOINT_PAGES and not self._asked:
            self._asked = True
            self._wanted.put(True)
        return apsw.SQLITE_OK if pages < HARD_CHECKPOINT_PAGES else self._copy(writer)

    def run(self) -> None:
        while self._wanted.get():
            self._copy(self._connection)
            self._asked = False
        self._connection.close()

    def _copy(self, connection: apsw.Connection) -> int:
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            pass  # the other one is at it
        except apsw.Error as error:
            _log.warning("the log could not be copied into the metadata file: %s", type(error).__name__)
        return apsw.SQLITE_OK

    def close(self) -> None:
        self._wanted.put(False)


class _Reader:
    """A thread that runs rules on snapshots. Rules share one for as long as nothing was committed."""

    def __init__(self, database: SqliteDatabase, connection: apsw.Connection) -> None:
        self._database = database
        self._connection = connection
        self._transaction = SqliteTransaction(connection)
        connection.pragma("query_only", 1)

    def run(self) -> None:
        jobs = self._database.reading
        while (job := jobs.get()) is not None:
            # Noted before the snapshot is taken: it is then never older than a commit that a caller knows of.
            self._snapshot(job, self._database.commits)
        jobs.put(None)  # for the next reader
        self._connection.close()

    def _snapshot(self, job: Job | None, commits: int) -> None:
        try:
            self._transaction.control("BEGIN")
            while job is not None:
                self._answer(job)
                job = self._next(commits)
            self._transaction.control("COMMIT")
        except apsw.Error as error:
            self._recover(job, error)

    def _next(self, commits: int) -> Job | None:
        if self._database.commits != commits:
            return None
        try:
            job = self._database.reading.get_nowait()
        except Empty:
            return None
        if job is None:
            self._database.reading.put(None)
        return job

    def _answer(self, job: Job) -> None:
        if not job.future.cancelled():
            run_rule(job, self._transaction)
        self._database.outcomes.post((job,))

    def _recover(self, job: Job | None, error: apsw.Error) -> None:
        if self._transaction.open:
            self._transaction.control("ROLLBACK")
        if job is not None:
            job.error = storage_error(error)
            self._database.outcomes.post((job,))


class SqliteDatabase:
    """`Database` over one SQLite file; it belongs to the event loop in which it was opened."""

    def __init__(self, writer: apsw.Connection, path: str, readers: int) -> None:
        loop = asyncio.get_running_loop()
        self.path = path
        self.outcomes = Outcomes(loop, QUEUE)
        self.commits = 0
        """Groups that were committed; readers compare it to know whether their snapshot is still the newest."""
        self.reading: SimpleQueue[Job | None] = SimpleQueue()
        self._inbox: Inbox[Job] = Inbox(loop)
        self._checkpointer = _Checkpointer(writer, path) if path != MEMORY else None
        # A database in memory is seen by one connection only: its writer runs the reads too.
        self._readers = [_Reader(self, connect(path, cache_bytes=READER_CACHE)) for _ in range(readers)]
        self._writer = GroupCommit(writer, self._inbox, self.outcomes, self._committed)
        self._threads = [threading.Thread(target=run, name=name, daemon=True) for name, run in self._lives()]
        for thread in self._threads:
            thread.start()

    @classmethod
    async def open(cls, path: str) -> SqliteDatabase:
        """Open the file, made or migrated where needed.

        Raises services.store.schema.SchemaTooNew (the file is untouched then), StoreError and OSError.
        """
        writer = await asyncio.to_thread(prepare, path, cache_bytes=WRITER_CACHE)
        return cls(writer, path, READERS)

    @classmethod
    async def open_memory(cls) -> SqliteDatabase:
        """A database that is gone when it is closed."""
        return cls(prepare(MEMORY, cache_bytes=WRITER_CACHE), MEMORY, 0)

    def _lives(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "store-writer", self._writer.run
        for number, reader in enumerate(self._readers):
            yield f"store-reader-{number}", reader.run
        if self._checkpointer is not None:
            yield "store-checkpoint", self._checkpointer.run

    def _committed(self) -> None:
        self.commits += 1

    async def read(self, rule: Rule[T]) -> T:
        """Run a rule that only reads, on a consistent snapshot, beside other reads and writes."""
        job = Job(self.outcomes.admit(), rule, reads=True)
        if self._readers:
            self.reading.put(job)
        else:
            self._inbox.submit(job)
        return await within("read", job.future)

    async def write(self, rule: Rule[T], *, committed: Callable[[T], None] | None = None) -> T:
        """Run a rule; returns once it is durable. A caller that is cancelled leaves the others of its group alone,
        and its own rule may still be committed.
        """
        job = Job(self.outcomes.admit(), rule, reads=False, committed=committed)
        self._inbox.submit(job)
        return await within("commit", job.future)

    async def close(self) -> None:
        """Finish what is queued, then release files and threads."""
        if self.outcomes.closed:
            return
        self.outcomes.closed = True
        self._inbox.close()
        if self._readers:
            self.reading.put(None)
        if self._checkpointer is not None:
            self._checkpointer.close()
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()
