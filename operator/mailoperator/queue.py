"""Which MailServices wait for a pass: each once, however often it was asked for; failed ones later and later."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

Key = tuple[str, str]
"""Namespace and name."""

WORKERS: Final = 4
"""Passes at once."""
FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 60.0
SOON_SECONDS: Final = 5.0
"""When one that is not ready yet is looked at again, beside what its objects' changes cause."""


class Queue:
    """Runs `work` for the keys that were added: never two passes over one key at a time.

    `work` says whether all is as it shall be. `failed` is told of what it raises; the key is tried again, with a delay
    that doubles.
    """

    def __init__(self, work: Callable[[Key], Awaitable[bool]], failed: Callable[[Key, Exception], None]) -> None:
        self._work = work
        self._failed = failed
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._delays: dict[Key, float] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """Keys that wait."""
        return len(self._waiting) + len(self._again)

    def add(self, key: Key) -> None:
        """Ask for a pass, now or after the one that runs."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._delays.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._running.add(key)
            try:
                await self._pass(key)
            finally:
                self._running.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    async def _pass(self, key: Key) -> None:
        try:
            settled = await self._work(key)
        except Exception as error:
            delay = self._delays.get(key, FIRST_DELAY)
            self._delays[key] = min(delay * 2, LONGEST_DELAY)
            self._failed(key, error)
            self._later(key, delay * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        else:
            self._delays.pop(key, None)
            if not settled:
                self._later(key, SOON_SECONDS)

    def _later(self, key: Key, delay: float) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(delay, self.add, key)
