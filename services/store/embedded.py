"""A store in one folder: its lock, its metadata, its bodies and what tidies them up, opened and closed in order."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from services.common.options import StoreOptions
from services.common.segments import segment_folder
from services.store.backends.segmentfile import segment_numbers
from services.store.backends.segments import SegmentBodyStore
from services.store.backends.sqlite import SqliteDatabase
from services.store.compaction import Compactor
from services.store.lock import StoreLock

METADATA_FILE: Final = "metadata.db"


class MetadataMissing(Exception):  # noqa: N818 - the name is what the operator reads
    """There are bodies but no metadata: beginning a new store here would give the bodies up."""

    def __init__(self, store_path: str) -> None:
        super().__init__(
            f"{metadata_path(store_path)} is missing, but there are segments of bodies beside it: "
            "restore a backup into an empty folder, or move the segments away to begin a new store"
        )


def metadata_path(store_path: str) -> str:
    """The SQLite file of a store."""
    return os.path.join(store_path, METADATA_FILE)


class EmbeddedStore:
    """An open store folder."""

    def __init__(
        self, lock: StoreLock, database: SqliteDatabase, bodies: SegmentBodyStore, options: StoreOptions
    ) -> None:
        self._lock = lock
        self.database = database
        self.bodies = bodies
        self.compactor = Compactor(
            database, bodies, percent=options.compactpercent, cleanup_seconds=options.cleanupage * 60
        )
        self.apply(options)
        self._compaction: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, store_path: str, options: StoreOptions) -> EmbeddedStore:
        """Open a folder, made where it is missing; an older schema is migrated.

        Raises StoreInUse, SchemaTooNew, MetadataMissing (each with a text for the operator), StoreError and OSError.
        """
        lock = await asyncio.to_thread(_take, store_path)
        try:
            database = await SqliteDatabase.open(metadata_path(store_path))
            try:
                bodies = await SegmentBodyStore.open(store_path)
            except BaseException:
                await database.close()
                raise
        except BaseException:
            lock.release()
            raise
        return cls(lock, database, bodies, options)

    def apply(self, options: StoreOptions) -> None:
        """Take up what may change while the store runs."""
        self.bodies.segment_bytes = options.segmentbytes
        self.compactor.percent = options.compactpercent
        self.compactor.cleanup_seconds = options.cleanupage * 60

    def start_compaction(self) -> None:
        """Compact in the background until `close`."""
        self._compaction = self._compaction or asyncio.create_task(self.compactor.run())

    async def close(self) -> None:
        """Finish what is queued and give the folder up."""
        self.compactor.end()
        if self._compaction is not None:
            await asyncio.wait([self._compaction])
        await self.bodies.close()
        await self.database.close()
        self._lock.release()


def _take(store_path: str) -> StoreLock:
    os.makedirs(store_path, mode=0o750, exist_ok=True)
    lock = StoreLock(store_path)
    has_bodies = os.path.isdir(segment_folder(store_path)) and segment_numbers(store_path)
    if has_bodies and not os.path.exists(metadata_path(store_path)):
        lock.release()
        raise MetadataMissing(store_path)
    return lock
