"""Threads for calls that block: made when there is work for one more, gone when there has been none for a while.

The standard pool makes threads on demand too, but never ends one; "threads are created and destroyed, as needed during
execution, up to the maximum number you have set" (Messaging Server, Number of Threads per Process).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

IDLE_SECONDS: Final = 10.0
COMPUTING: Final = min(32, (os.cpu_count() or 1) + 4)
"""Threads that make sense for work of our own: more of them would only wait for the interpreter, and the event loop for
them."""

_Task = Callable[[], None]


class WorkThreads(Executor):
    """An executor of at most `limit()` threads; `limit` is asked at every turn, so that a reload holds at once.

    The thread that was idle last is used first, so that those beyond the need are idle for `idle_seconds` and end.
    """

    def __init__(self, name: str, limit: Callable[[], int], idle_seconds: float = IDLE_SECONDS) -> None:
        self._name = name
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._numbers = count()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idle: list[SimpleQueue[_Task | None]] = []
        self._waiting: deque[tuple[_Task, Future[Any]]] = deque()
        self._closed = False

    def __len__(self) -> int:
        """Threads there are now."""
        return len(self._threads)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread call it. Raises RuntimeError after the shutdown."""
        future: Future[T] = Future()

        def task() -> None:
            _run(future, fn, args, kwargs)

        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._idle:
                self._idle.pop().put(task)
            else:
                self._waiting.append((task, future))
                self._grow()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; what waits is done still, or is cancelled. `wait`: until every thread has ended."""
        with self._lock:
            self._closed = True
            dropped = [future for _, future in self._waiting] if cancel_futures else []
            if cancel_futures:
                self._waiting.clear()
            for inbox in self._idle:
                inbox.put(None)
            self._idle.clear()
            threads = list(self._threads)
        for future in dropped:
            future.cancel()
        if wait:
            for thread in threads:
                thread.join()

    def _grow(self) -> None:
        """One more thread where there may be. Raises RuntimeError where the system has none for us and we have none."""
        if len(self._threads) >= max(1, self._limit()):
            return
        # Daemons: a call that hangs keeps no process from its end.
        thread = threading.Thread(target=self._live, name=f"{self._name}-{next(self._numbers)}", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.discard(thread)
            if not self._threads:
                self._waiting.pop()
                raise

    def _live(self) -> None:
        inbox: SimpleQueue[_Task | None] = SimpleQueue()
        while (task := self._next(inbox)) is not None:
            task()
            del task  # nothing of it is held while the thread is idle

    def _next(self, inbox: SimpleQueue[_Task | None]) -> _Task | None:
        """What to do next; None ends the thread, which is out of the books then."""
        with self._lock:
            beyond = len(self._threads) > max(1, self._limit())
            if self._waiting and not beyond:
                return self._waiting.popleft()[0]
            if self._closed or beyond:
                self._threads.discard(threading.current_thread())
                return None
            self._idle.append(inbox)
        return self._await(inbox)

    def _await(self, inbox: SimpleQueue[_Task | None]) -> _Task | None:
        """The next task; None when there was none for a while, or will be none."""
        try:
            task = inbox.get(timeout=self._idle_seconds)
        except Empty:
            with self._lock:
                if inbox in self._idle:
                    # Both in one step: whoever submits now has to see that there is room for a thread.
                    self._idle.remove(inbox)
                    self._threads.discard(threading.current_thread())
                    return None
            task = inbox.get()  # it was given in the last moment
        if task is None:
            with self._lock:
                self._threads.discard(threading.current_thread())
        return task


def _run(future: Future[T], fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:
        # As the standard pool does: whoever waits gets it, whatever it is.
        future.set_exception(error)
    else:
        future.set_result(result)
