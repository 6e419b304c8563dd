"""Streams that stand as long as the process does, and are opened again when they are lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

_log = logging.getLogger(__name__)

FIRST_DELAY: Final = 0.02
LONGEST_DELAY: Final = 1.0


async def keep_stream(carry: Callable[[], Awaitable[bool]]) -> None:
    """Call `carry` again and again until cancelled; it returns, after the stream's end, whether it was ever open.

    Pauses double while it cannot be opened, with jitter, so that many processes do not fall upon a store that starts.
    """
    delay = FIRST_DELAY
    while True:
        try:
            if await carry():
                delay = FIRST_DELAY
        except Exception:  # without the stream the process would be of no use, and would not say so
            _log.exception("a stream to the store failed")
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
        delay = min(delay * 2, LONGEST_DELAY)
