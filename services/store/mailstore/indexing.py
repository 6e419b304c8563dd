"""The background indexer: makes search texts of what was delivered, when the writer has nothing better to do.

What is to be done stands in `text_queue`, in the store itself: it survives a restart and nothing is forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, cast

from services.common.domain import AccountId, BodyRef
from services.common.errors import Reason, StoreError
from services.common.mime.text import search_text
from services.store import textindex
from services.store.backends import Database, Transaction
from services.store.mailstore.bodies import Bodies
from services.store.mailstore.messages import LOCATION
from services.store.textindex import TextIndex, Texts

_log = logging.getLogger(__name__)

MAX_TEXT: Final = 1 << 20
"""Longest text (in characters) that is indexed; longer ones are searched in their bodies."""
BATCH_CONTENTS: Final = 16
BATCH_TEXT: Final = 128 * 1024
QUIET_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 1.0
"""Under steady load one batch is made this often all the same, so that the backlog does not only grow."""
_RETRY_SECONDS: Final = 5.0

_WAITING: Final = (
    f"SELECT q.account_id, q.content_id, {LOCATION} FROM text_queue q"
    " LEFT JOIN contents c ON c.account_id = q.account_id AND c.content_id = q.content_id"
    f" WHERE q.skipped = 0 ORDER BY q.account_id, q.content_id LIMIT {BATCH_CONTENTS}"
)
_DONE: Final = "DELETE FROM text_queue WHERE account_id = $1 AND content_id = $2"
_SKIP: Final = "UPDATE text_queue SET skipped = 1 WHERE account_id = $1 AND content_id = $2"


@dataclass(frozen=True, slots=True)
class _Work:
    """A content of the queue; `ref` None: it is gone."""

    account_id: AccountId
    content_id: int
    ref: BodyRef | None


@dataclass(frozen=True, slots=True)
class _Made:
    """What came of it; `texts` None: too long, or unreadable."""

    work: _Work
    texts: Texts | None = None


class TextMaker:
    """Bodies to texts, in an executor."""

    def __init__(self, bodies: Bodies, executor: Executor) -> None:
        self._bodies = bodies
        self._executor = executor

    async def make(self, account_id: AccountId, refs: Sequence[BodyRef]) -> list[Texts | None]:
        """Texts of messages; None for one whose body cannot be read."""
        messages = [await self._body(account_id, ref) for ref in refs]
        return await asyncio.get_running_loop().run_in_executor(self._executor, _texts_of_all, messages)

    async def _body(self, account_id: AccountId, ref: BodyRef) -> bytes | None:
        try:
            return (await self._bodies.read_many(account_id, [ref]))[0]
        except StoreError as error:
            if error.reason not in (Reason.MESSAGE_NOT_FOUND, Reason.STORAGE_CORRUPT):
                raise
            return None


def _texts_of_all(messages: Sequence[bytes | None]) -> list[Texts | None]:
    return [None if message is None else textindex.texts_of(search_text(message)) for message in messages]


class Indexer:
    """Takes batches from the queue. `busy` says for how many seconds the writer has been at rest."""

    def __init__(self, database: Database, maker: TextMaker, index: TextIndex, at_rest: Callable[[], float]) -> None:
        self._database = database
        self._maker = maker
        self._index = index
        self._at_rest = at_rest
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """There is something to index."""
        self._poked.set()

    async def run(self, failed: Callable[[StoreError], Awaitable[None]] | None = None) -> None:
        """Index for ever."""
        while True:
            self._poked.clear()
            try:
                while await self._when_quiet():
                    pass
            except StoreError as error:
                if error.reason is Reason.UNAVAILABLE:
                    return
                _log.warning("search texts could not be made: %s", error.reason.name)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await self._poked.wait()

    async def _when_quiet(self) -> bool:
        waited = 0.0
        while self._at_rest() < QUIET_SECONDS and waited < PATIENCE_SECONDS:
            await asyncio.sleep(QUIET_SECONDS)
            waited += QUIET_SECONDS
        return await self.step()

    async def step(self) -> bool:
        """One batch; False where there was nothing to do."""
        waiting = await self._database.read(_waiting)
        made = await self._make(waiting)
        if made:
            await self._database.write(lambda tx: _record(tx, self._index, made))
        return bool(made)

    async def _make(self, waiting: Sequence[_Work]) -> list[_Made]:
        """Texts of as much as fits into a batch."""
        made: list[_Made] = []
        size = 0
        for work in waiting:
            if size > BATCH_TEXT:
                break
            texts = None if work.ref is None else (await self._maker.make(work.account_id, [work.ref]))[0]
            length = 0 if texts is None else sum(map(len, texts))
            size += min(length, MAX_TEXT)
            made.append(_Made(work, texts if length <= MAX_TEXT else None))
        return made


async def _waiting(tx: Transaction) -> list[_Work]:
    rows = cast("list[tuple[AccountId, int, bytes | None, int, int, int, bytes]]", await tx.fetch(_WAITING))
    return [
        _Work(row[0], row[1], None if row[2] is None else BodyRef(row[2], row[3], row[4], row[5], row[6]))
        for row in rows
    ]


async def _record(tx: Transaction, index: TextIndex, made: Sequence[_Made]) -> None:
    for each in made:
        key = (each.work.account_id, each.work.content_id)
        lives = await tx.fetch_row("SELECT 1 FROM contents WHERE account_id = $1 AND content_id = $2", *key)
        await textindex.drop(tx, index, *key)
        if lives is not None and each.texts is not None:
            await textindex.store(tx, index, *key, each.texts)
        keep = lives is not None and each.texts is None and each.work.ref is not None
        await tx.execute(_SKIP if keep else _DONE, *key)
