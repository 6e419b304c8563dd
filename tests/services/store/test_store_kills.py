"""A store that is killed at any moment has everything that it acknowledged, and opens by itself."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from services.common.options import StoreOptions
from services.store.check import check
from services.store.embedded import EmbeddedStore
from tests.support.rows import read_all
from tests.support.storeload import ACCOUNT, body_of

KILLS: Final = int(os.environ.get("MAILKEEP_KILLS", "3"))


@dataclass(slots=True)
class Promises:
    """What the killed processes said."""

    filed: dict[int, int] = field(default_factory=dict)
    expunged: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)

    def hear(self, line: str) -> None:
        """Take one line of a process."""
        sign, uid, *number = line.split()
        if sign == "+":
            assert int(uid) not in self.filed, "a UID was used twice"
            self.filed[int(uid)] = int(number[0])
        else:
            (self.doubtful if sign == "?" else self.expunged).add(int(uid))

    def verify(self, there: dict[int, bytes]) -> None:
        """Compare with what is there now."""
        for uid, number in self.filed.items():
            if uid in self.expunged:
                assert uid not in there
            elif uid not in self.doubtful:
                assert there[uid] == body_of(number)


def run_and_kill(path: Path, seed: int, promises: Promises) -> None:
    """Let a process work on the store, and kill it in the middle of something."""
    command = [sys.executable, "-m", "tests.support.storeload", str(path), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0.02, 0.5))
        process.kill()
        for line in process.stdout:
            if line.endswith("\n"):  # the last one may be cut
                promises.hear(line)


async def contents(path: Path) -> dict[int, bytes]:
    """Every message after a clean start, each body verified."""
    store = await EmbeddedStore.open(str(path), StoreOptions())
    there = await read_all(store.database, store.bodies, ACCOUNT)
    await store.close()
    return there


@pytest.mark.faults
@pytest.mark.timeout(60 + 5 * KILLS)
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    promises = Promises()
    for seed in range(KILLS):
        run_and_kill(tmp_path, seed, promises)
        promises.verify(asyncio.run(contents(tmp_path)))
        assert list(check(str(tmp_path))) == []
    assert len(promises.filed) > 10 * KILLS
