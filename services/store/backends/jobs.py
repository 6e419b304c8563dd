"""How work gets from the event loop to an engine's threads and their outcomes back, with few thread hops.

Everything that one pass of the loop submits goes over in one piece, and all outcomes that are ready come back under one
wake-up of the loop, in the order in which they were posted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from services.common.errors import Reason, StoreError
from services.store.backends import Transaction


class Ticket:
    """Work on its way: who waits for it, what it weighs while it waits, and what came of it."""

    __slots__ = ("error", "future", "result", "weight")

    def __init__(self, future: asyncio.Future[Any], weight: int) -> None:
        self.future = future
        self.weight = weight
        self.result: Any = None
        self.error: BaseException | None = None

    def announce(self) -> None:
        """Called in the loop before the one who waits resumes, where the work went well."""


class Job(Ticket):
    """A rule to run."""

    __slots__ = ("committed", "ran", "reads", "rule")

    def __init__(
        self,
        future: asyncio.Future[Any],
        rule: Callable[[Transaction], Awaitable[Any]],
        *,
        reads: bool,
        committed: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__(future, 1)
        self.rule = rule
        self.reads = reads
        self.committed = committed
        self.ran = False

    def announce(self) -> None:
        """Tell of the commit, also where the caller was cancelled after the rule had run."""
        if self.committed is not None and self.ran:
            self.committed(self.result)


class Outcomes:
    """Admits work up to a total weight, and carries what is finished back into the loop.

    `post` may be called in any thread, everything else belongs to the loop's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self._loop = loop
        self._limit = limit
        self._pending = 0
        self._finished: deque[Ticket] = deque()
        self._scheduled = False
        self.closed = False

    def admit(self, weight: int = 1) -> asyncio.Future[Any]:
        """The future of a ticket of that weight, which must be posted in the end.

        One ticket alone is never too heavy. Raises RESOURCE_EXHAUSTED, and UNAVAILABLE once closed.
        """
        if self.closed:
            raise StoreError(Reason.UNAVAILABLE)
        if self._pending and self._pending + weight > self._limit:
            raise StoreError(Reason.RESOURCE_EXHAUSTED, {"limit": str(self._limit)})
        self._pending += weight
        return self._loop.create_future()

    def post(self, tickets: Sequence[Ticket]) -> None:
        """Hand tickets back, in this order."""
        self._finished.extend(tickets)
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

    def _answer(self, ticket: Ticket) -> None:
        self._pending -= ticket.weight
        future = ticket.future
        if ticket.error is not None:
            if not future.done():  # done: the caller was cancelled
                future.set_exception(ticket.error)
            return
        try:
            ticket.announce()
        except Exception as error:
            self._loop.call_exception_handler({"message": "what hangs on a commit failed", "exception": error})
        if not future.done():
            future.set_result(ticket.result)


W = TypeVar("W", bound=Ticket)


class Inbox(Generic[W]):
    """The way into a writing thread, which takes what it finds as groups."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._fresh: list[W] = []
        self._queue: SimpleQueue[list[W] | None] = SimpleQueue()
        self._ended = False

    def submit(self, ticket: W) -> None:
        """Queue a ticket, together with all others of this pass of the loop."""
        self._fresh.append(ticket)
        if len(self._fresh) == 1:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        if self._fresh:
            self._queue.put(self._fresh)
            self._fresh = []

    def close(self) -> None:
        """The end comes after what was submitted."""
        self._hand_over()
        self._queue.put(None)

    def gather(self, waiting: list[W], most: int) -> bool:
        """In the thread: add what is queued to `waiting`, up to about `most`, and wait where there is nothing at all.

        False at the end: then `waiting` is empty and nothing will come.
        """
        while not self._ended and len(waiting) < most and (not waiting or not self._queue.empty()):
            if (tickets := self._queue.get()) is None:
                self._ended = True
            else:
                waiting += tickets
        return bool(waiting)
