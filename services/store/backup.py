"""Copies of a store, made while it runs, and put back into an empty folder.

Every body that a copy of the metadata names must be in the copied segments. Bodies are durable before their rows, and a
segment only grows until it is closed; what could go wrong is a segment that compaction removes meanwhile. So all
segments are opened first, which keeps their bytes; then the metadata is copied from one snapshot; and then the segments
that are open, with those begun meanwhile, are copied: together they hold whatever that snapshot names.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from typing import BinaryIO, Final

import apsw

from services.common.descriptors import raise_limit
from services.common.segments import segment_folder, segment_path
from services.store.backends.segmentfile import segment_numbers, sync_folder
from services.store.backends.sqliteconnection import BUSY_MILLISECONDS, make_private, schema_version
from services.store.check import Finding, check
from services.store.embedded import metadata_path
from services.store.lock import StoreInUse, StoreLock
from services.store.restoring import skip_ahead
from services.store.schema import pending

MANIFEST: Final = "backup.json"
PAGES: Final = 2_000
"""Pages of metadata that are copied in one go."""
QUIET_SECONDS: Final = 600
"""A segment that was not written for so long, and is not the last, is closed: a link to it is as good as a copy."""
CHUNK: Final = 8 << 20

Progress = Callable[[str, int, int], None]
"""What is being copied, how much of it, of how much."""


class BackupRefused(Exception):  # noqa: N818 - the name is what the operator reads
    """The folder cannot be used for that. The text is for the operator."""


def backup(store_path: str, target: str, progress: Progress | None = None) -> list[Finding]:
    """Copy a store, running or not, into a new or empty folder; returns what a check of the copy found. Blocks.

    Raises BackupRefused, SchemaTooNew and OSError.
    """
    if not os.path.exists(metadata_path(store_path)):
        raise BackupRefused(f"there is no store in {store_path}")
    raise_limit()  # every segment is open at once
    _make_empty(target)
    with ExitStack() as opened:
        files = _open_segments(store_path, opened, {})
        version = _copy_metadata(store_path, target, progress)
        files = _open_segments(store_path, opened, files)
        _copy_segments(store_path, files, target, progress)
    manifest = {"schema": version, "made": int(time.time()), "segments": len(files)}
    _write_durably(os.path.join(target, MANIFEST), json.dumps(manifest).encode() + b"\n")
    sync_folder(target)
    return list(check(target))


def finished(folder: str) -> list[str]:
    """The finished backups in a folder, newest first: paths. Empty where there is no such folder."""
    found = []
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            with (
                suppress(OSError, ValueError, KeyError, TypeError),
                open(os.path.join(folder, name, MANIFEST), "rb") as file,
            ):
                found.append((int(json.load(file)["made"]), os.path.join(folder, name)))
    return [path for _, path in sorted(found, reverse=True)]


def prune_beside(path: str, keep: int) -> list[str]:
    """Remove the oldest finished backups in the folder around `path` until `keep` are left; their paths.

    Blocks. Raises OSError.
    """
    removed = finished(os.path.dirname(os.path.normpath(path)))[keep:]
    for old in removed:
        # Without its manifest a backup is none any more: one that goes halfway is never restored.
        os.unlink(os.path.join(old, MANIFEST))
        shutil.rmtree(old)
    return removed


def restore(source: str, store_path: str, progress: Progress | None = None) -> list[Finding]:
    """Put a backup into a new or empty folder; returns what a check of the result found. Blocks.

    Its counters are then ahead of every number that was given since the backup was made.
    Raises BackupRefused, SchemaTooNew and OSError.
    """
    try:
        with open(os.path.join(source, MANIFEST), "rb") as file:
            pending(int(json.load(file)["schema"]))
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise BackupRefused(f"{source} is not a backup, or one that was not finished") from error
    raise_limit()
    _make_empty(store_path)
    with ExitStack() as opened:
        opened.callback(_locked(store_path).release)
        # Links would let the store write into the backup.
        _copy_segments("", _open_segments(source, opened, {}), store_path, progress)
        # The metadata comes last: without it, no store opens on a folder that was filled by half.
        path = metadata_path(store_path)
        _copy_bytes(opened.enter_context(open(metadata_path(source), "rb")), path + ".part")
        try:
            skip_ahead(path + ".part")
        except apsw.Error as error:
            raise BackupRefused(f"the metadata in {source} is damaged: {error}") from error
        os.rename(path + ".part", path)
        sync_folder(store_path)
    return list(check(store_path))


def _locked(store_path: str) -> StoreLock:
    """No store may begin anew in a folder while it is filled. Raises BackupRefused."""
    try:
        return StoreLock(store_path)
    except StoreInUse as error:
        raise BackupRefused(str(error)) from error


def _make_empty(path: str) -> None:
    os.makedirs(path, mode=0o750, exist_ok=True)
    if os.listdir(path):
        raise BackupRefused(f"{path} is not empty")
    os.mkdir(segment_folder(path), mode=0o750)


def _open_segments(store_path: str, opened: ExitStack, known: dict[int, BinaryIO]) -> dict[int, BinaryIO]:
    """The segments that there are, together with those known before."""
    files = dict(known)
    for number in segment_numbers(store_path):
        if number not in files:
            with suppress(FileNotFoundError):  # compacted away this moment: no row has named it for a while
                file = open(segment_path(store_path, number), "rb")  # noqa: SIM115 - `opened` closes it
                files[number] = opened.enter_context(file)
    return files


def _copy_metadata(store_path: str, target: str, progress: Progress | None) -> int:
    """Copy the metadata as of one moment; returns its schema version."""
    make_private(metadata_path(target))
    source = apsw.Connection(metadata_path(store_path), flags=apsw.SQLITE_OPEN_READONLY)
    copy = apsw.Connection(metadata_path(target))
    with closing(source), closing(copy):
        source.set_busy_timeout(BUSY_MILLISECONDS)
        # A snapshot held over all slices: otherwise each commit of the store would begin the copy anew.
        source.execute("BEGIN")
        version = schema_version(source)
        pending(version)
        with copy.backup("main", source, "main") as slices:
            while not slices.done:
                slices.step(PAGES)
                if progress is not None:
                    progress("metadata", slices.page_count - slices.remaining, slices.page_count)
        source.execute("COMMIT")
        copy.pragma("journal_mode", "DELETE")  # one file, also for whoever only looks at it; a store sets it back
    return version


def _copy_segments(store_path: str, files: dict[int, BinaryIO], target: str, progress: Progress | None) -> None:
    """Copy segments, or link those that are closed; `store_path` "" allows no links."""
    last = max(files, default=0)
    for count, (number, file) in enumerate(files.items(), 1):
        path = segment_path(target, number)
        closed = number != last and os.fstat(file.fileno()).st_mtime < time.time() - QUIET_SECONDS
        if not (store_path and closed and _link(segment_path(store_path, number), path)):
            _copy_bytes(file, path)
        if progress is not None:
            progress("segments", count, len(files))
    sync_folder(segment_folder(target))


def _link(source: str, target: str) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, or gone: the open file still has the bytes
        return False
    return True


def _copy_bytes(source: BinaryIO, target: str) -> None:
    with open(target, "xb") as copy:
        os.fchmod(copy.fileno(), 0o640)
        shutil.copyfileobj(source, copy, CHUNK)
        copy.flush()
        os.fsync(copy.fileno())


def _write_durably(path: str, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
