"""Many time-outs on one timer."""

from __future__ import annotations

import asyncio

from services.common.clocks import Wheel


class Sleeper:
    """Wakes once, or fails to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.due = 0
        self.fails = fails
        self.woken = asyncio.Event()

    def look(self, now: float) -> float | None:
        self.woken.set()
        if self.fails:
            raise ValueError
        return None


async def test_one_that_fails_takes_no_other_time_out_with_it() -> None:
    loop = asyncio.get_running_loop()
    told: list[object] = []
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    wheel = Wheel(loop, 0.001)
    sleepers = [Sleeper(fails=number % 2 == 0) for number in range(20)]
    for sleeper in sleepers:
        wheel.schedule(sleeper, wheel.now)
    async with asyncio.timeout(30):
        await asyncio.gather(*(sleeper.woken.wait() for sleeper in sleepers))
    wheel.stop()
    assert told == ["a time-out failed"] * 10
