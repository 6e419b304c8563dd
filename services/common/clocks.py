"""Time-outs of many connections with one timer.

A connection is looked at when the time comes that it was scheduled for, and says then when it wants to be looked at
next. What a client does in between costs no more than setting a number: an idle clock that is put forward by every
command is a slot in the connection, read when the old time comes.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from typing import Protocol


class Timed(Protocol):
    """Something with time-outs. `due` is the wheel's own mark on it."""

    due: int

    def look(self, now: float) -> float | None:
        """The time asked for has come. Returns the next one, None for never."""


class Wheel:
    """Buckets of `tick` seconds each. `now` is the loop's time at the last tick: cheap, and up to a tick old.

    Nothing is looked at before its time; it may be up to two ticks late.
    """

    __slots__ = ("_buckets", "_loop", "_next", "_timer", "now", "tick")

    def __init__(self, loop: AbstractEventLoop, tick: float = 1.0) -> None:
        self.tick = tick
        self._loop = loop
        self._buckets: dict[int, set[Timed]] = {}
        self.now = loop.time()
        self._next = int(self.now / tick)
        self._timer: TimerHandle | None = loop.call_later(tick, self._turn)

    def schedule(self, what: Timed, when: float) -> None:
        """Look at it at `when`, or earlier where it is scheduled earlier already."""
        due = max(int(when / self.tick) + 2, self._next)
        if what.due:
            if what.due <= due:
                return
            self.forget(what)
        what.due = due
        self._buckets.setdefault(due, set()).add(what)

    def forget(self, what: Timed) -> None:
        """No longer look at it."""
        bucket = self._buckets.get(what.due)
        if bucket is not None:
            bucket.discard(what)
        what.due = 0

    def stop(self) -> None:
        """No more turns."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self.now = self._loop.time()
        self._timer = self._loop.call_later(self.tick, self._turn)
        last = int(self.now / self.tick)
        for due in range(self._next, last + 1):
            bucket = self._buckets.pop(due, ())
            self._next = due + 1
            for what in bucket:
                what.due = 0
                try:
                    again = what.look(self.now)
                except Exception as error:
                    # One that fails must not take the others' time-outs with it.
                    self._loop.call_exception_handler({"message": "a time-out failed", "exception": error})
                    continue
                if again is not None:
                    self.schedule(what, again)
