"""Flag changes on their way to the store: those that can share a call do.

Changes of one message's system flags, which is what clients ask for nearly always, go as columns: all that the sessions
of this process want in the same turn of the loop, in whatever mailboxes, is one call.
Of the others, those that want the same of a mailbox wait while a change of it is being made durable, and then go as one
call for all their messages. Each session still gets its answer only when its own messages are on disk.
"""

from __future__ import annotations

import logging
from asyncio import Future, create_task, get_running_loop, shield
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from services.common.domain import MAX_EDITS, FlagChange, FlagEdit, FlagEdited, FlagOperation, FlagResult, Rows
from services.common.errors import Reason, StoreError

if TYPE_CHECKING:
    from asyncio import Task

    from services.common.store import Store
    from services.imap.sharedmailbox import SharedMailbox

_log = logging.getLogger(__name__)

Mailbox: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class _Batch:
    """Messages for one change, and those who wait for it."""

    shared: SharedMailbox
    result: Future[FlagResult]
    uids: set[int] = field(default_factory=set)


_Wanted: TypeAlias = "tuple[SharedMailbox, FlagEdit, Future[FlagEdited]]"


class FlagWrites:
    """Makes changes of flags, and takes their outcome into the mailbox."""

    __slots__ = ("_edits", "_running", "_store", "_tasks", "_waiting")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._edits: list[_Wanted] = []
        """Changes of one message that this turn of the loop has brought."""
        self._running: dict[Mailbox, int] = {}
        """Calls under way for each mailbox."""
        self._waiting: dict[Mailbox, dict[FlagChange, _Batch]] = {}
        self._tasks: set[Task[Any]] = set()

    async def modify(
        self, shared: SharedMailbox, uids: Sequence[int], change: FlagChange, unchanged_since: int | None = None
    ) -> FlagResult:
        """`Store.modify_flags`; the result is in `shared` when this returns."""
        if shared.key not in self._running or unchanged_since is not None:
            return await self._call(shared, uids, change, unchanged_since)
        batches = self._waiting.setdefault(shared.key, {})
        batch = batches.get(change)
        if batch is None:
            batch = batches[change] = _Batch(shared, get_running_loop().create_future())
        batch.uids.update(uids)
        return _part(await shield(batch.result), set(uids))

    def edit(self, shared: SharedMailbox, uid: int, operation: FlagOperation, system: int) -> Future[FlagEdited]:
        """Change the system flags of one message; what came of it is in `shared` when the future is done."""
        loop = get_running_loop()
        if not self._edits:
            loop.call_soon(self._send_edits)
        future: Future[FlagEdited] = loop.create_future()
        self._edits.append((shared, FlagEdit(*shared.key, uid, operation, system), future))
        return future

    def _send_edits(self) -> None:
        edits, self._edits = self._edits, []
        for start in range(0, len(edits), MAX_EDITS):
            self._start(self._make(edits[start : start + MAX_EDITS]))

    async def _make(self, wanted: list[_Wanted]) -> None:
        """Have changes made; a session that has gone meanwhile is not told, but the others are of its change."""
        try:
            outcomes = await self._store.modify_each([edit for _, edit, _ in wanted])
        except Exception as error:
            outcomes = [error if isinstance(error, StoreError) else StoreError(Reason.INTERNAL)] * len(wanted)
            if not isinstance(error, StoreError):
                _log.exception("changes of flags failed")
        for (shared, edit, future), outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, StoreError):
                if not future.done():
                    future.set_exception(StoreError(outcome.reason, outcome.metadata))
                continue
            shared.apply_edit(edit.uid, outcome)
            if not future.done():
                future.set_result(outcome)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(
        self, shared: SharedMailbox, uids: Sequence[int], change: FlagChange, unchanged_since: int | None = None
    ) -> FlagResult:
        key = shared.key
        self._running[key] = self._running.get(key, 0) + 1
        try:
            result = await self._store.modify_flags(*key, uids, change, unchanged_since=unchanged_since)
            shared.apply_flags(result)
            return result
        finally:
            self._finished(key)

    def _finished(self, key: Mailbox) -> None:
        left = self._running[key] - 1
        if left:
            self._running[key] = left
            return
        del self._running[key]
        for change, batch in self._waiting.pop(key, {}).items():
            self._start(self._run(batch, change))

    async def _run(self, batch: _Batch, change: FlagChange) -> None:
        try:
            result = await self._call(batch.shared, sorted(batch.uids), change)
        except Exception as error:
            batch.result.set_exception(error)
            batch.result.exception()  # those who waited may all be gone
        else:
            batch.result.set_result(result)


def _part(result: FlagResult, uids: set[int]) -> FlagResult:
    """The outcome for some of the messages."""
    rows = Rows()
    for uid, flags, modseq in zip(result.rows.uids, result.rows.flags, result.rows.modseqs, strict=True):
        if uid in uids:
            rows.uids.append(uid)
            rows.flags.append(flags)
            rows.modseqs.append(modseq)
    return replace(result, rows=rows)
