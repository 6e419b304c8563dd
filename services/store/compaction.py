"""Giving the space of deleted bodies back while the store is in use.

A body without a row in `contents` or `dead_contents` is dead, whether it was deleted, or its transaction never came
about. Living records of a segment that is mostly dead are copied to a new one and synced; then their rows are pointed
there, some at a time; and only when no row names the old segment, and a while has passed, its file goes. A kill at any
point leaves copies without rows, which are dead, or an old segment without rows, which is found again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from services.common.errors import StoreError
from services.common.segments import segment_path
from services.store.backends import Database, Transaction
from services.store.backends.segmentfile import RECORD_HEADER, Record, SegmentFile, segment_numbers
from services.store.backends.segments import SegmentBodyStore

T = TypeVar("T")
_log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 60
SURVEY_SECONDS: Final = 6 * 3600
"""How often every segment is looked at; in between, those in which a body died."""
GRACE_SECONDS: Final = 600
"""Between a body's way to the disk and its row, and between a segment's last row and the end of its file."""
SMALL_SHARE: Final = 8
SMALL_SEGMENTS: Final = 8
"""So many segments below an eighth of the full size are made into one; each start of the store leaves one behind."""
PURGE_ROWS: Final = 500
BATCH_RECORDS: Final = 256
BATCH_BYTES: Final = 8 << 20

_EXPIRED: Final = "SELECT account_id, content_id, segment FROM dead_contents WHERE died <= $1 LIMIT $2"
_FORGET: Final = "DELETE FROM dead_contents WHERE account_id = $1 AND content_id = $2"
_LIVING: Final = (
    f"SELECT COALESCE(SUM(length + {RECORD_HEADER.size}), 0) FROM ("  # noqa: S608 - a constant
    'SELECT "offset", length FROM contents WHERE segment = $1 UNION '
    'SELECT "offset", length FROM dead_contents WHERE segment = $1) AS living'
)
_RECORDS: Final = (
    'SELECT "offset", length, digest FROM contents WHERE segment = $1 AND "offset" > $2 UNION '
    'SELECT "offset", length, digest FROM dead_contents WHERE segment = $1 AND "offset" > $2 '
    'ORDER BY "offset" LIMIT $3'
)
_MOVE: Final = tuple(
    f'UPDATE {table} SET segment = $1, "offset" = $2 WHERE segment = $3 AND "offset" = $4'  # noqa: S608
    for table in ("contents", "dead_contents")
)


@dataclass(slots=True)
class Compacted:
    """What a run did.

    `dropped` rows of dead bodies, `moved` living bodies, `emptied` segments, whose files of `bytes` in all go after a
    while; `removed` files went. `damaged` bodies could not be moved.
    """

    dropped: int = 0
    moved: int = 0
    emptied: int = 0
    bytes: int = 0
    removed: int = 0
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class _Survey:
    segment: int
    size: int
    living: int

    def dead_percent(self) -> float:
        return 100 - 100 * self.living / max(self.size, 1)


class Compactor:
    """Compacts one store. `percent` and `cleanup_seconds` may be changed at any time."""

    def __init__(
        self,
        database: Database,
        bodies: SegmentBodyStore,
        *,
        percent: int,
        cleanup_seconds: int,
        grace_seconds: float = GRACE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._bodies = bodies
        self.percent = percent
        self.cleanup_seconds = cleanup_seconds
        self._grace = grace_seconds
        self._clock = clock
        self._touched: set[int] = set()
        self._surveyed = float("-inf")
        self._doomed: dict[int, float] = {}
        self._stuck: set[int] = set()
        self._target: SegmentFile | None = None
        self._running = asyncio.Lock()
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Compact now and then until `end`."""
        while not self._ending.is_set():
            try:
                await self.run_once()
            except (StoreError, OSError) as error:
                _log.warning("compaction stopped: %s", _why(error))
                self._surveyed = float("-inf")
            except Exception:  # it is tried again; the store must not fill up because of one odd moment
                _log.exception("compaction failed")
                self._surveyed = float("-inf")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), INTERVAL_SECONDS)

    def end(self) -> None:
        """Let `run`, and a run that is under way, come to an end after the batch at hand."""
        self._ending.set()

    async def run_once(self, *, everything: bool = False) -> Compacted:
        """Do what there is to do; `everything` looks at every segment. Raises StoreError and OSError (no space)."""
        async with self._running:
            done = Compacted()
            await self._purge(done)
            try:
                for survey in self._chosen(await self._survey(everything)):
                    await self._empty(survey, done)
            finally:
                await _in_thread(self._end_target)
            await self._remove_doomed(done)
            return done

    async def _purge(self, done: Compacted) -> None:
        """Drop what died long enough ago."""
        before = int(self._clock()) - self.cleanup_seconds

        async def rule(tx: Transaction) -> Sequence[tuple[int, int, int]]:
            rows = cast("list[tuple[int, int, int]]", await tx.fetch(_EXPIRED, before, PURGE_ROWS))
            await tx.execute_many(_FORGET, [row[:2] for row in rows])
            return rows

        while rows := await self._database.write(rule):
            done.dropped += len(rows)
            self._touched.update(row[2] for row in rows)

    async def _survey(self, everything: bool) -> list[_Survey]:
        """What the segments hold that may be compacted and are due to be looked at."""
        sizes = await asyncio.to_thread(_sizes, self._bodies.store_path)
        if everything or time.monotonic() - self._surveyed >= SURVEY_SECONDS:
            self._surveyed = time.monotonic()
            self._touched.update(sizes)
        self._touched &= sizes.keys()
        small = {number for number, size in sizes.items() if size < self._bodies.segment_bytes // SMALL_SHARE}
        due = [number for number in sorted(self._touched | small) if self._may_go(number, max(sizes))]
        self._touched.difference_update(due)
        return [_Survey(number, sizes[number], await self._living(number)) for number in due]

    def _may_go(self, segment: int, highest: int) -> bool:
        # The highest one stays for its number, which must not be given out again.
        if segment == highest or segment in self._doomed or segment in self._stuck:
            return False
        return self._bodies.is_settled(segment, self._grace)

    async def _living(self, segment: int) -> int:
        async def rule(tx: Transaction) -> int:
            row = await tx.fetch_row(_LIVING, segment)
            return cast("int", row[0]) if row else 0

        return await self._database.read(rule)

    def _chosen(self, surveys: Iterable[_Survey]) -> list[_Survey]:
        """The segments worth rewriting, those that give most for least first: on a full disk that makes room."""
        limit = self._bodies.segment_bytes // SMALL_SHARE
        surveys = list(surveys)
        small = [survey for survey in surveys if survey.size < limit]
        merged = {survey.segment for survey in small} if len(small) >= SMALL_SEGMENTS else set()
        chosen = [survey for survey in surveys if survey.segment in merged or survey.dead_percent() >= self.percent]
        return sorted(chosen, key=lambda survey: survey.living)

    async def _empty(self, survey: _Survey, done: Compacted) -> None:
        """Move a segment's living records elsewhere, and let the file go later."""
        segment, position, damaged = survey.segment, 0, 0
        while records := await self._records(segment, position):
            if self._ending.is_set():
                return
            position = records[-1].offset
            places = await _in_thread(self._copy, segment, records)
            await self._point(segment, places)
            done.moved += len(places)
            damaged += len(records) - len(places)
        if damaged:
            # What cannot be copied is left where it is, for `store check` to name and perhaps for a better disk.
            _log.error("segment %d holds %d damaged bodies", segment, damaged)
            self._stuck.add(segment)
            done.damaged += damaged
        else:
            self._doomed[segment] = time.monotonic() + self._grace
            done.emptied += 1
            done.bytes += survey.size

    async def _records(self, segment: int, after: int) -> list[Record]:
        async def rule(tx: Transaction) -> list[Record]:
            rows = await tx.fetch(_RECORDS, segment, after, BATCH_RECORDS)
            return [Record(*cast("tuple[int, int, bytes]", row)) for row in rows]

        records = await self._database.read(rule)
        total = 0
        for count, record in enumerate(records, 1):
            total += record.length
            if total >= BATCH_BYTES:
                return records[:count]
        return records

    def _copy(self, segment: int, records: Sequence[Record]) -> list[tuple[int, int, int, int]]:
        """Copy records and sync them; returns new and old places. Blocks."""
        places: list[tuple[int, int, int, int]] = []
        with open(segment_path(self._bodies.store_path, segment), "rb", buffering=0) as source:
            for record in records:
                target = self._target_with_room()
                offset = target.copy(source.fileno(), record.offset, record.length, record.digest)
                if offset is not None:
                    places.append((target.number, offset, segment, record.offset))
        if self._target is not None:
            self._target.sync()
        return places

    def _target_with_room(self) -> SegmentFile:
        if self._target is not None and self._target.end >= self._bodies.segment_bytes:
            self._target.sync()
            self._end_target()
        if self._target is None:
            self._target = self._bodies.begin_segment()
        return self._target

    def _end_target(self) -> None:
        if self._target is not None:
            target, self._target = self._target, None
            self._bodies.settle(target.number)
            target.seal()

    async def _point(self, segment: int, places: Sequence[tuple[int, int, int, int]]) -> None:
        """Let the rows name the new places."""

        async def rule(tx: Transaction) -> None:
            for statement in _MOVE:
                await tx.execute_many(statement, places)

        if places:
            await self._database.write(rule)

    async def _remove_doomed(self, done: Compacted) -> None:
        for segment, when in list(self._doomed.items()):
            if time.monotonic() < when:
                continue
            del self._doomed[segment]
            # Asked behind all writes that are queued: one of them may have filed a body that lies there.
            if await self._database.write(lambda tx, at=segment: _is_named(tx, at)):  # type: ignore[misc]
                self._touched.add(segment)
                continue
            await self._bodies.remove(segment)
            done.removed += 1


async def _in_thread(call: Callable[..., T], *arguments: Any) -> T:
    """Run blocking work. Who is cancelled waits for its end: the files that it writes to are closed next."""
    work = asyncio.ensure_future(asyncio.to_thread(call, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


def _why(error: StoreError | OSError) -> str:
    return error.reason.name if isinstance(error, StoreError) else os.strerror(error.errno or 0)


async def _is_named(tx: Transaction, segment: int) -> bool:
    for table in ("contents", "dead_contents"):
        if await tx.fetch_row(f"SELECT 1 FROM {table} WHERE segment = $1 LIMIT 1", segment):  # noqa: S608
            return True
    return False


def _sizes(store_path: str) -> dict[int, int]:
    return {number: os.path.getsize(segment_path(store_path, number)) for number in segment_numbers(store_path)}
