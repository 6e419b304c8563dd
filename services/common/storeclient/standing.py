"""Streams that stand as long as the process does, and are opened again when they are lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

FIRST_DELAY: Final = 0.02
LONGEST_DELAY: Final = 1.0


async def keep_stream(carry: Callable[[], Awaitable[bool]]) -> None:
    """Call `carry` again and again until cancelled; it returns, after the stream's end, whether it was ever open.

    Pauses double while it cannot be opened, with jitter, so that many processes do not fall upon a store that starts.
    """
    delay = FIRST_DELAY
    while True:
        if await carry():
            delay = FIRST_DELAY
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
        delay = min(delay * 2, LONGEST_DELAY)
