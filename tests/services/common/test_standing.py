"""Streams that stand: opened again whatever ended them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from services.common.storeclient.standing import keep_stream


async def test_a_stream_that_fails_oddly_is_opened_again() -> None:
    tries = asyncio.Semaphore(0)
    outcomes: Iterator[bool | Exception] = iter([True, ValueError("odd"), False, RuntimeError("odder")])

    async def carry() -> bool:
        tries.release()
        outcome = next(outcomes, True)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    task = asyncio.create_task(keep_stream(carry))
    async with asyncio.timeout(30):
        for _ in range(6):
            await tries.acquire()
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
