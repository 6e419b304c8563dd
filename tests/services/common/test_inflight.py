"""Memory for arriving messages: in turn, bounded, and never lost between two who end at once."""

from __future__ import annotations

import asyncio

import pytest

from services.common.inflight import Inflight


async def waiting(inflight: Inflight, size: int, seconds: float = 60.0) -> asyncio.Task[bool]:
    """Somebody who waits for memory."""
    task = asyncio.create_task(inflight.reserve(size, seconds))
    await asyncio.sleep(0)
    return task


async def test_first_come_first_served() -> None:
    inflight = Inflight(lambda: 10)
    assert inflight.try_reserve(20), "one message is always let in"
    assert not inflight.try_reserve(1)
    large, small = await waiting(inflight, 8), await waiting(inflight, 3)
    inflight.release(20)
    assert await large
    assert not small.done()
    inflight.release(8)
    assert await small
    assert inflight.held == 3


async def test_whose_time_is_over_holds_nothing() -> None:
    inflight = Inflight(lambda: 10)
    assert inflight.try_reserve(10)
    assert await inflight.reserve(5, 0.001) is False
    inflight.release(10)
    assert inflight.held == 0
    assert inflight.try_reserve(10)


async def test_memory_handed_out_to_who_is_cancelled_goes_back() -> None:
    inflight = Inflight(lambda: 10)
    assert inflight.try_reserve(10)
    task = await waiting(inflight, 5)
    inflight.release(10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert inflight.held == 0


async def test_memory_handed_out_as_the_time_runs_out_is_the_callers() -> None:
    inflight = Inflight(lambda: 10)
    assert inflight.try_reserve(10)
    task = asyncio.create_task(inflight.reserve(5, 0.0))
    # The release and the end of the time fall into one turn of the loop.
    asyncio.get_running_loop().call_soon(inflight.release, 10)
    granted = await task
    assert inflight.held == (5 if granted else 0)
