"""Group commit: the one thread that writes to a SQLite file."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import apsw

from services.common.errors import Reason, StoreError
from services.store.backends.jobs import Inbox, Job, Outcomes
from services.store.backends.sqliteconnection import SqliteTransaction, run_rule, storage_error

GROUP_RULES: Final = 512
GROUP_SECONDS: Final = 0.02
"""A group that took this long so far is committed, so that a slow rule does not hold back the ones before it."""


class _GroupLostError(Exception):
    """SQLite ended the transaction by itself: nothing of the group is left. `cause` is what the rule then raised."""

    def __init__(self, cause: BaseException | None) -> None:
        super().__init__()
        self.cause = cause


class _HalfDoneError(Exception):
    """A rule failed after it had written, in a group without savepoints."""


class GroupCommit:
    """Takes what is queued, runs the rules in one transaction, and commits them together.

    A rule that fails is undone alone. Most fail before they write, so a group begins without savepoints, which would
    cost two statements a rule; where one fails later, all of it is rolled back and run again, each rule under its own.
    Nothing is answered before the commit is on the disk.
    """

    def __init__(
        self, connection: apsw.Connection, inbox: Inbox[Job], outcomes: Outcomes, committed: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._transaction = SqliteTransaction(connection, writes=True)
        self._inbox = inbox
        self._outcomes = outcomes
        self._committed = committed
        self._suspect = False

    def run(self) -> None:
        """The thread's whole life."""
        waiting: list[Job] = []
        while self._inbox.gather(waiting, GROUP_RULES):
            waiting = self._group(waiting)
        self._connection.close()

    def _group(self, waiting: list[Job]) -> list[Job]:
        """Commit a group from the front of `waiting` and answer it; returns the rest."""
        done: list[Job] = []
        try:
            self._settle()
            self._transaction.control("BEGIN IMMEDIATE")
            try:
                self._run_rules(waiting, done, self._attempt)
            except _HalfDoneError:
                self._transaction.control("ROLLBACK")
                self._transaction.forget()
                self._transaction.control("BEGIN IMMEDIATE")
                done.clear()
                self._run_rules(waiting, done, self._attempt_with_savepoint)
            self._commit()
        except Exception as error:  # whatever it is: nobody may wait in vain, and the thread must go on
            done = done or waiting[:GROUP_RULES]
            self._abandon(done, error)
        self._outcomes.post(done)
        return waiting[len(done) :]

    def _run_rules(self, waiting: list[Job], done: list[Job], attempt: Callable[[Job], None]) -> None:
        deadline = time.monotonic() + GROUP_SECONDS
        for job in waiting:
            done.append(job)
            if not job.future.cancelled():
                attempt(job)
            if len(done) >= GROUP_RULES or time.monotonic() > deadline:
                return

    def _attempt(self, job: Job) -> None:
        """Run a rule. Raises _HalfDoneError where it failed and has written."""
        written = self._connection.total_changes()
        self._run(job)
        if job.error is not None and self._connection.total_changes() != written:
            raise _HalfDoneError

    def _attempt_with_savepoint(self, job: Job) -> None:
        """Run a rule, and undo it where it fails."""
        self._transaction.control("SAVEPOINT rule")
        self._run(job)
        if job.error is not None:
            self._transaction.control("ROLLBACK TO rule")
            self._transaction.forget()
        self._transaction.control("RELEASE rule")

    def _run(self, job: Job) -> None:
        if job.reads:
            self._connection.pragma("query_only", 1)
        run_rule(job, self._transaction)
        if job.reads:
            self._connection.pragma("query_only", 0)
        if not self._transaction.open:
            raise _GroupLostError(job.error)

    def _commit(self) -> None:
        try:
            self._transaction.control("COMMIT")
        except apsw.IOError:
            # Part of the log may have reached the disk and part not, and a later fsync need not say so.
            self._suspect = True
            raise
        self._committed()

    def _settle(self) -> None:
        """After a failed write of the log, trust it only once all of it was copied into the file and synced."""
        if self._suspect:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._suspect = False

    def _abandon(self, jobs: list[Job], error: Exception) -> None:
        """Roll everything back and give each job the reason, also those that had failed on their own: what they saw
        may have been the work of a rule that is now undone.
        """
        self._transaction.forget()
        if self._transaction.open:
            try:
                self._transaction.control("ROLLBACK")
            except apsw.Error:
                self._suspect = True
        told = _told(error)
        for job in jobs:
            job.error = StoreError(told.reason, told.metadata)  # one for each: a traceback belongs to one caller


def _told(error: Exception) -> StoreError:
    """What the callers of a group hear of its failure."""
    if isinstance(error, apsw.Error):
        return storage_error(error)
    if isinstance(error, _GroupLostError) and isinstance(error.cause, StoreError):
        return error.cause
    return StoreError(Reason.INTERNAL, {"kind": type(error).__name__})
