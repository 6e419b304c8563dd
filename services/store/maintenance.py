"""Check, compaction and backup of a store that runs, each beside its work."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Sequence
from itertools import islice

from services.common.errors import Reason, StoreError
from services.common.storeclient.maintenance import Compacted, Finding
from services.store import backup, check
from services.store.compaction import Compactor

_log = logging.getLogger(__name__)

_BATCH = 100


class EmbeddedMaintenance:
    """For a store in a folder."""

    def __init__(self, store_path: str, compactor: Compactor) -> None:
        self._path = store_path
        self._compactor = compactor
        self._busy = asyncio.Lock()

    async def check(self, *, bodies: bool) -> AsyncIterator[Sequence[Finding]]:
        """What is wrong, in batches. One check, or backup, at a time."""
        async with self._busy:
            given_up = False

            def progress(_passed: int, _total: int) -> None:
                if given_up:
                    raise InterruptedError

            findings = check.check(self._path, bodies=bodies, progress=progress)
            try:
                while batch := await asyncio.to_thread(lambda: list(islice(findings, _BATCH))):
                    yield [_told(finding) for finding in batch]
            finally:
                given_up = True

    async def compact(self) -> Compacted:
        """Look at every segment now."""
        done = await self._compactor.run_once(everything=True)
        return Compacted(done.emptied, done.bytes)

    async def backup(self, path: str, keep: int = 0) -> int:
        """Copy the store into a folder; its bytes. Raises INVALID_ARGUMENT, with the reason as `detail`.

        `keep`: so many of the finished backups around it stay, the newest; 0: all.
        """
        if not os.path.isabs(path):
            raise StoreError(Reason.INVALID_ARGUMENT, {"detail": "the path is not absolute"})
        async with self._busy:
            try:
                findings = await asyncio.to_thread(backup.backup, self._path, path)
            except backup.BackupRefused as refused:
                raise StoreError(Reason.INVALID_ARGUMENT, {"detail": str(refused)}) from None
            except OSError as error:
                raise StoreError(Reason.STORAGE_FULL, {"detail": os.strerror(error.errno or 0)}) from None
        if findings:
            _log.warning("the backup is as damaged as the store: %d findings", len(findings))
        if keep:
            removed = await asyncio.to_thread(backup.prune_beside, path, keep)
            _log.info("older backups removed: %s", ", ".join(map(os.path.basename, removed)) or "none")
        return await asyncio.to_thread(_size, path)


class NoMaintenance:
    """For a store in memory: nothing to check, compact or copy."""

    async def check(self, *, bodies: bool) -> AsyncIterator[Sequence[Finding]]:
        """Nothing is wrong."""
        yield ()

    async def compact(self) -> Compacted:
        """Nothing is given back."""
        return Compacted(0, 0)

    async def backup(self, path: str, keep: int = 0) -> int:
        """Raises INVALID_ARGUMENT."""
        raise StoreError(Reason.INVALID_ARGUMENT, {"detail": "a store in memory"})


def _told(finding: check.Finding) -> Finding:
    """A finding as callers see it: where it is in one text."""
    place = finding.file if finding.offset is None else f"{finding.file}:{finding.offset}"
    message = finding.mailbox if finding.uid is None else f"{finding.mailbox} UID {finding.uid}"
    return Finding(finding.kind, ", ".join(filter(None, (place, message))), finding.account, finding.detail)


def _size(path: str) -> int:
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)
