"""The background indexer: makes search texts of what was delivered, when the store has nothing better to do.

What is to be done stands in `text_queue`, in the store itself: it survives a restart and nothing is forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import groupby
from typing import Final, cast

from services.common.domain import AccountId, BodyRef
from services.common.errors import StoreError
from services.common.mime.text import search_text
from services.store import textindex
from services.store.backends import Database, Transaction
from services.store.mailstore.bodies import Bodies
from services.store.mailstore.messages import LOCATION
from services.store.textindex import State, TextIndex, Texts

_log = logging.getLogger(__name__)

MAX_INDEXED: Final = 1 << 20
"""Characters of a text that is indexed; longer ones are looked through."""
MAX_KEPT: Final = 8 << 20
"""Characters of a text that is kept; of longer ones the body is looked through."""
MAKE_CONTENTS: Final = 64
MAKE_BYTES: Final = 1 << 20
INDEX_CONTENTS: Final = 32
INDEX_TEXT: Final = 96 * 1024
"""Characters of a batch. Indexing costs the writer about 100 us for each thousand, and others wait for it."""
QUIET_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 60.0
"""So long there may be work, all of it left to moments when nobody uses the store: deliveries come in bursts."""
PAUSE: Final = 4
"""After that the indexer rests this many times as long as it works: a backlog must not only grow."""
MAX_PAUSE_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 5.0

_WAITING: Final = (
    f"SELECT q.account_id, q.content_id, {LOCATION} FROM text_queue q"
    " LEFT JOIN contents c ON c.account_id = q.account_id AND c.content_id = q.content_id"
    f" WHERE q.state = {State.WAITING:d} ORDER BY q.account_id, q.content_id LIMIT {MAKE_CONTENTS}"
)
_MADE: Final = (
    "SELECT q.account_id, q.content_id, length(t.header_text) + length(t.body_text) FROM text_queue q"
    " LEFT JOIN texts t ON t.account_id = q.account_id AND t.content_id = q.content_id"
    f" WHERE q.state = {State.MADE:d} ORDER BY q.account_id, q.content_id LIMIT {INDEX_CONTENTS}"
)


@dataclass(frozen=True, slots=True)
class _Work:
    """A content of the queue; `ref` None: it is gone."""

    account_id: AccountId
    content_id: int
    ref: BodyRef | None


@dataclass(frozen=True, slots=True)
class _Made:
    """What came of it; `texts` None where there is none to keep."""

    work: _Work
    texts: Texts | None

    @property
    def state(self) -> State:
        """What is left to do."""
        length = -1 if self.texts is None else sum(map(len, self.texts))
        if not 0 <= length <= MAX_KEPT:
            return State.UNKEPT
        return State.MADE if length <= MAX_INDEXED else State.LONG


class TextMaker:
    """Bodies to texts, in an executor."""

    def __init__(self, bodies: Bodies, executor: Executor) -> None:
        self._bodies = bodies
        self._executor = executor

    async def make(self, account_id: AccountId, refs: Sequence[BodyRef]) -> list[Texts | None]:
        """Texts of messages; None for one whose body cannot be read."""
        messages = await self._bodies.read_each(account_id, refs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, _texts_of_all, messages)


def _texts_of_all(messages: Sequence[bytes | None]) -> list[Texts | None]:
    return [None if message is None else _texts(message) for message in messages]


def _texts(message: bytes) -> Texts | None:
    try:
        return textindex.texts_of(search_text(message))
    except Exception as error:  # one message that trips us must not keep all others from being found
        _log.error("a message's text could not be made: %s", type(error).__name__)
        return None


class Indexer:
    """Takes batches from the queue. `at_rest` says for how many seconds nobody else used the store."""

    def __init__(self, database: Database, maker: TextMaker, index: TextIndex, at_rest: Callable[[], float]) -> None:
        self._database = database
        self._maker = maker
        self._index = index
        self._at_rest = at_rest
        self._poked = asyncio.Event()
        self._pause = QUIET_SECONDS
        self._since = time.monotonic()

    def poke(self) -> None:
        """There is something to do."""
        self._poked.set()

    async def run(self) -> None:
        """Do it, for ever."""
        while True:
            self._poked.clear()
            try:
                while await self._when_quiet():
                    pass
            except StoreError as error:
                _log.warning("search texts could not be made: %s", error.reason.name)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:  # it is tried again: searches grow slower without them, and nobody would know why
                _log.exception("search texts could not be made")
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                await self._poked.wait()
                self._since = time.monotonic()

    async def _when_quiet(self) -> bool:
        until = max(time.monotonic() + self._pause, self._since + PATIENCE_SECONDS)
        # No event tells that nothing happened for a while.
        while self._at_rest() < QUIET_SECONDS and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(QUIET_SECONDS)
        began = time.monotonic()
        more = await self.step()
        self._pause = min(PAUSE * (time.monotonic() - began), MAX_PAUSE_SECONDS)
        return more

    async def step(self) -> bool:
        """One batch; texts come first, for without them a search reads bodies. False where there was nothing to do."""
        return await self._make() or await self._database.write(lambda tx: _index(tx, self._index))

    async def _make(self) -> bool:
        works = _within(await self._database.read(_waiting))
        made = [_Made(work, None) for work in works if work.ref is None]
        for account_id, group in groupby(works, lambda work: work.account_id):
            living = [work for work in group if work.ref is not None]
            texts = await self._maker.make(account_id, [work.ref for work in living if work.ref is not None])
            made += map(_Made, living, texts)
        if made:
            await self._database.write(lambda tx: _keep(tx, self._index, made))
        return bool(made)


async def _waiting(tx: Transaction) -> list[_Work]:
    rows = cast("list[tuple[AccountId, int, bytes | None, int, int, int, bytes]]", await tx.fetch(_WAITING))
    return [
        _Work(row[0], row[1], None if row[2] is None else BodyRef(row[2], row[3], row[4], row[5], row[6]))
        for row in rows
    ]


def _within(works: Sequence[_Work]) -> list[_Work]:
    """As many from the front as make a batch by their bytes; one at least."""
    size, count = 0, 0
    for work in works:
        size += 0 if work.ref is None else work.ref.length
        if size > MAKE_BYTES and count:
            break
        count += 1
    return list(works[:count])


async def _keep(tx: Transaction, index: TextIndex, made: Sequence[_Made]) -> None:
    for each in made:
        key = (each.work.account_id, each.work.content_id)
        await textindex.drop(tx, index, *key)
        if await tx.fetch_row("SELECT 1 FROM contents WHERE account_id = $1 AND content_id = $2", *key) is None:
            await textindex.finish(tx, *key)
            continue
        if each.texts is not None and each.state is not State.UNKEPT:
            await textindex.keep(tx, *key, each.texts)
        await textindex.mark(tx, *key, each.state)


async def _index(tx: Transaction, index: TextIndex) -> bool:
    """Index a batch of texts; False where there is none."""
    size = 0
    rows = cast("list[tuple[AccountId, int, int | None]]", await tx.fetch(_MADE))
    for account_id, content_id, length in rows:
        if size > INDEX_TEXT:
            break
        size += length or 0
        await textindex.index_kept(tx, index, account_id, content_id)
        await textindex.finish(tx, account_id, content_id)
    return bool(rows)
