"""Flag changes on their way to the store: those that can share a call do.

While a change of a mailbox is being made durable, the same change asked for by other sessions waits and then goes as
one call for all their messages. Each session still gets its answer only when its own messages are on disk.
"""

from __future__ import annotations

from asyncio import Future, create_task, get_running_loop, shield
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from services.common.domain import FlagChange, FlagResult, Rows

if TYPE_CHECKING:
    from asyncio import Task

    from services.common.store import Store
    from services.imap.sharedmailbox import SharedMailbox

Mailbox: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class _Batch:
    """Messages for one change, and those who wait for it."""

    shared: SharedMailbox
    result: Future[FlagResult]
    uids: set[int] = field(default_factory=set)


class FlagWrites:
    """Makes changes of flags, and takes their outcome into the mailbox."""

    __slots__ = ("_running", "_store", "_tasks", "_waiting")

    def __init__(self, store: Store) -> None:
        self._store = store
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
            task = create_task(self._run(batch, change))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

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
