"""One process at a time on a store's folder."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.common.options import StoreOptions
from services.common.segments import segment_path
from services.store.embedded import EmbeddedStore, MetadataMissing
from services.store.lock import StoreInUse, StoreLock

HOLD = (
    "import sys; from services.store.lock import StoreLock; StoreLock(sys.argv[1]); print('held', flush=True); input()"
)


async def opened(path: Path) -> None:
    """Open a store there and close it."""
    await (await EmbeddedStore.open(str(path), StoreOptions())).close()


def test_a_second_process_is_refused_by_name(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreInUse, match=f"in use by process {holder.pid}") as caught:
            asyncio.run(opened(tmp_path))
        assert caught.value.pid == str(holder.pid)
        assert os.listdir(tmp_path) == ["lock"], "nothing was touched"
        holder.kill()
    asyncio.run(opened(tmp_path))


def test_a_lock_is_given_up(tmp_path: Path) -> None:
    lock = StoreLock(str(tmp_path))
    with pytest.raises(StoreInUse):
        StoreLock(str(tmp_path))
    lock.release()
    StoreLock(str(tmp_path)).release()


async def test_bodies_without_metadata_are_not_taken_for_a_new_store(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(str(tmp_path / "store"), StoreOptions())
    await store.bodies.put(b"body", bytes(32))
    await store.close()
    os.unlink(tmp_path / "store" / "metadata.db")
    for _ in range(2):
        with pytest.raises(MetadataMissing, match="restore a backup"):
            await EmbeddedStore.open(str(tmp_path / "store"), StoreOptions())
    os.unlink(segment_path(str(tmp_path / "store"), 1))
    await (await EmbeddedStore.open(str(tmp_path / "store"), StoreOptions())).close()


async def test_options_reach_the_parts(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(str(tmp_path), StoreOptions(segmentbytes=1 << 20))
    store.start_compaction()
    assert store.bodies.segment_bytes == 1 << 20
    store.apply(StoreOptions(segmentbytes=2 << 20, compactpercent=70, cleanupage=5))
    assert (store.bodies.segment_bytes, store.compactor.percent, store.compactor.cleanup_seconds) == (2 << 20, 70, 300)
    await store.close()
