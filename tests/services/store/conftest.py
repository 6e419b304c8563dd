"""Engines, opened and closed."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.store.backends import BodyStore
from services.store.backends.memory import MemoryBodyStore
from services.store.backends.segments import SegmentBodyStore
from services.store.backends.sqlite import SqliteDatabase


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """A database in a file."""
    database = await SqliteDatabase.open(str(tmp_path / "metadata.db"))
    yield database
    await database.close()


@pytest.fixture(params=["file", "memory"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """Every database that there is."""
    in_file = request.param == "file"
    opened = await (SqliteDatabase.open(str(tmp_path / "metadata.db")) if in_file else SqliteDatabase.open_memory())
    yield opened
    await opened.close()


@pytest.fixture
async def segments(tmp_path: Path) -> AsyncIterator[SegmentBodyStore]:
    """Bodies in files."""
    bodies = await SegmentBodyStore.open(str(tmp_path))
    yield bodies
    await bodies.close()


@pytest.fixture(params=["segments", "memory"])
async def bodies(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BodyStore]:
    """Every body store that there is."""
    opened: BodyStore = await SegmentBodyStore.open(str(tmp_path)) if request.param == "segments" else MemoryBodyStore()
    yield opened
    await opened.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=False)
