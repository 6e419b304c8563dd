"""How rules get from the event loop to an engine's threads and their outcomes back, with few thread hops.

Everything that one pass of the loop submits goes over in one piece, and all outcomes that are ready come back under one
wake-up of the loop, in the order in which they were posted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from queue import SimpleQueue
from typing import Any

from services.common.errors import Reason, StoreError
from services.store.backends import Transaction


class Job:
    """A rule on its way: what to run, who waits, and what came of it."""

    __slots__ = ("committed", "error", "future", "ran", "reads", "result", "rule")

    def __init__(
        self,
        rule: Callable[[Transaction], Awaitable[Any]],
        future: asyncio.Future[Any],
        committed: Callable[[Any], None] | None,
        reads: bool,
    ) -> None:
        self.rule = rule
        self.future = future
        self.committed = committed
        self.reads = reads
        self.ran = False
        self.result: Any = None
        self.error: BaseException | None = None


class Outcomes:
    """Admits jobs up to a bound, and carries finished ones back into the loop. `post` may be called in any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self._loop = loop
        self._limit = limit
        self._pending = 0
        self._finished: deque[Job] = deque()
        self._scheduled = False
        self.closed = False

    def admit(
        self,
        rule: Callable[[Transaction], Awaitable[Any]],
        committed: Callable[[Any], None] | None = None,
        *,
        reads: bool,
    ) -> Job:
        """A job, which must be posted in the end. Raises RESOURCE_EXHAUSTED, and UNAVAILABLE once closed."""
        if self.closed:
            raise StoreError(Reason.UNAVAILABLE)
        if self._pending >= self._limit:
            raise StoreError(Reason.RESOURCE_EXHAUSTED, {"limit": str(self._limit)})
        self._pending += 1
        return Job(rule, self._loop.create_future(), committed, reads)

    def post(self, jobs: Sequence[Job]) -> None:
        """Hand jobs back, in this order."""
        self._finished.extend(jobs)
        if self._scheduled:
            return
        self._scheduled = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._finished.clear()

    def _deliver(self) -> None:
        # Cleared first: what is posted from here on is either seen below or schedules the next delivery.
        self._scheduled = False
        finished = self._finished
        while finished:
            self._answer(finished.popleft())

    def _answer(self, job: Job) -> None:
        self._pending -= 1
        if job.error is None and job.committed is not None and job.ran:
            try:
                job.committed(job.result)
            except Exception as error:
                self._loop.call_exception_handler({"message": "a committed callback failed", "exception": error})
        if job.future.done():  # the caller was cancelled
            return
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)


class Inbox:
    """The writer's way in. `submit` belongs to the loop's thread; `queue` gives lists of jobs, and None at the end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fresh: list[Job] = []
        self.queue: SimpleQueue[list[Job] | None] = SimpleQueue()

    def submit(self, job: Job) -> None:
        """Queue a job, together with all others of this pass of the loop."""
        self._fresh.append(job)
        if len(self._fresh) == 1:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        if self._fresh:
            self.queue.put(self._fresh)
            self._fresh = []

    def close(self) -> None:
        """The end comes after what was submitted."""
        self._hand_over()
        self.queue.put(None)
