"""How much room the store takes and has left, for whoever watches it."""

from __future__ import annotations

import os
from collections.abc import Callable

from services.common.segments import segment_folder
from services.store.embedded import metadata_path


def disk_gauges(store_path: str) -> list[tuple[str, str, Callable[[], float]]]:
    """Names, texts and readers of gauges. The readers run in a thread; what cannot be read is 0."""
    return [
        ("store_filesystem_size_bytes", "Size of the store's file system.", lambda: _statvfs(store_path, "f_blocks")),
        ("store_filesystem_free_bytes", "What is free in it for the store.", lambda: _statvfs(store_path, "f_bavail")),
        ("store_bodies_bytes", "Segment files of bodies.", lambda: _folder_bytes(segment_folder(store_path))),
        ("store_metadata_bytes", "The metadata and its log.", lambda: _metadata_bytes(store_path)),
    ]


def _statvfs(path: str, blocks: str) -> float:
    try:
        found = os.statvfs(path)
    except OSError:
        return 0.0
    return float(getattr(found, blocks) * found.f_frsize)


def _folder_bytes(path: str) -> float:
    """What files take on the disk: a segment is reserved ahead of what is in it."""
    total = 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                total += _allocated(entry.path)
    except OSError:
        return 0.0
    return float(total)


def _metadata_bytes(store_path: str) -> float:
    path = metadata_path(store_path)
    return float(_allocated(path) + _allocated(f"{path}-wal"))


def _allocated(path: str) -> int:
    try:
        return os.stat(path).st_blocks * 512
    except OSError:
        return 0
