"""A process that works on a store until it is killed: `python -m tests.support.storeload PATH SEED`.

It files and expunges messages from several tasks at once, with compaction beside them, and writes a line for each
thing that was acknowledged: `+ UID NUMBER` or `- UID`, and `? UID` before an expunge that may or may not come about.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import Final

import uvloop

from services.common.options import StoreOptions
from services.store.embedded import EmbeddedStore
from tests.support.rows import expunge_row, file_body, make_account

CALLERS: Final = 8
ACCOUNT: Final = 1


def body_of(number: int) -> bytes:
    """The body with that number: the same in every process."""
    source = random.Random(number)
    return b"%d\r\n" % number + source.randbytes(source.choice((0, 100, 3000, 9000, 60_000)))


def say(line: str) -> None:
    """Tell of something done, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def work(store: EmbeddedStore, source: random.Random) -> None:
    """One caller: it files, and expunges most of what it filed."""
    while True:
        number = source.getrandbits(60)
        uid = await file_body(store.database, store.bodies, ACCOUNT, body_of(number))
        say(f"+ {uid} {number}")
        if source.random() < 0.6:
            say(f"? {uid}")
            await store.database.write(lambda tx, at=uid: expunge_row(tx, ACCOUNT, at, int(time.time())))  # type: ignore[misc]
            say(f"- {uid}")


async def compact(store: EmbeddedStore) -> None:
    """Compaction with as little delay as it takes."""
    while True:
        await store.compactor.run_once(everything=True)
        await asyncio.sleep(0.005)


async def main(path: str, seed: int) -> None:
    """Work for ever."""
    store = await EmbeddedStore.open(path, StoreOptions(segmentbytes=1 << 20, cleanupage=0, compactpercent=20))
    store.bodies.segment_bytes = 200_000
    store.compactor._grace = 0.1
    if seed == 0:
        await make_account(store.database)
    say("ready")
    await asyncio.gather(compact(store), *(work(store, random.Random(seed * 100 + n)) for n in range(CALLERS)))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
