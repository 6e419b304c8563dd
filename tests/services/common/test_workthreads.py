"""Threads for blocking calls: bounded, made on demand, the one that was idle last first, gone when idle."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait

import pytest
import uvloop

from services.common.workthreads import WorkThreads
from tests.support.processes import eventually


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end at the latest."""
    event = threading.Event()
    yield event
    event.set()


def alive(name: str) -> int:
    return sum(thread.name.startswith(f"{name}-") for thread in threading.enumerate())


def test_no_more_threads_than_allowed_and_none_without_need(gate: threading.Event) -> None:
    pool = WorkThreads("bounded", lambda: 3)
    assert pool.submit(lambda: 1).result(60) == 1
    eventually(lambda: pool.submit(lambda: 1).result(60) and len(pool) == 1)
    futures = [pool.submit(gate.wait, 60) for _ in range(10)]
    eventually(lambda: sum(future.running() for future in futures) == 3)
    assert (len(pool), alive("bounded")) == (3, 3)
    gate.set()
    assert not wait(futures, 60).not_done
    assert len(pool) == 3
    pool.shutdown()
    assert alive("bounded") == 0


def test_idle_threads_end_and_new_ones_are_made() -> None:
    pool = WorkThreads("reaped", lambda: 4, idle_seconds=0.05)
    barrier = threading.Barrier(4)
    for _ in range(3):
        assert not wait([pool.submit(barrier.wait, 60) for _ in range(4)], 60).not_done
        eventually(lambda: (len(pool), alive("reaped")) == (0, 0))
    pool.shutdown()


def test_a_trickle_of_work_keeps_one_thread_only() -> None:
    pool = WorkThreads("trickle", lambda: 4, idle_seconds=0.5)
    barrier = threading.Barrier(4)
    assert not wait([pool.submit(barrier.wait, 60) for _ in range(4)], 60).not_done

    def one_left() -> bool:
        pool.submit(time.monotonic).result(60)
        return len(pool) == 1

    eventually(one_left)
    pool.shutdown()


def test_nothing_is_lost_while_threads_come_and_go() -> None:
    pool = WorkThreads("churn", lambda: 2, idle_seconds=0.0001)
    for turn in range(3000):
        assert pool.submit(lambda number: number, turn).result(60) == turn
        if turn % 3 == 0:
            time.sleep(0.0001)
    pool.shutdown()


def test_a_lowered_limit_holds_at_once(gate: threading.Event) -> None:
    limit = [4]
    pool = WorkThreads("lowered", lambda: limit[0])
    futures = [pool.submit(gate.wait, 60) for _ in range(8)]
    eventually(lambda: sum(future.running() for future in futures) == 4)
    limit[0] = 1
    gate.set()
    assert not wait(futures, 60).not_done
    eventually(lambda: len(pool) == 1)
    limit[0] = 0
    assert pool.submit(lambda: "still one").result(60) == "still one"
    pool.shutdown()


def test_an_exception_goes_to_who_waits() -> None:
    pool = WorkThreads("failing", lambda: 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 // 0).result(60)
    assert pool.submit(lambda: 2).result(60) == 2
    pool.shutdown()


def test_a_shutdown_drops_what_waits_or_does_it(gate: threading.Event) -> None:
    for cancel in (True, False):
        gate.clear()
        pool = WorkThreads("ending", lambda: 1)
        running, waiting = pool.submit(gate.wait, 60), pool.submit(lambda: 5)
        eventually(running.running)
        pool.shutdown(wait=False, cancel_futures=cancel)
        with pytest.raises(RuntimeError):
            pool.submit(lambda: 1)
        gate.set()
        assert running.result(60)
        pool.shutdown(wait=True)
        assert waiting.cancelled() if cancel else waiting.result(60) == 5
        assert len(pool) == 0


def test_a_cancelled_call_is_not_made(gate: threading.Event) -> None:
    pool = WorkThreads("cancelled", lambda: 1)
    eventually(pool.submit(gate.wait, 60).running)
    calls: list[int] = []
    waiting = pool.submit(calls.append, 1)
    assert waiting.cancel()
    gate.set()
    pool.submit(lambda: 1).result(60)
    assert calls == []
    pool.shutdown()


def test_a_system_without_threads_is_told_of_and_got_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = WorkThreads("refused", lambda: 2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(lambda: 1)
    assert len(pool) == 0
    assert pool.submit(lambda: 3).result(60) == 3
    pool.shutdown()


def test_it_serves_an_event_loop() -> None:
    pool = WorkThreads("loop", lambda: 2)

    async def main() -> list[str]:
        asyncio.get_running_loop().set_default_executor(pool)
        return await asyncio.gather(*(asyncio.to_thread(lambda: threading.current_thread().name) for _ in range(20)))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        names = runner.run(main())
    assert {name.partition("-")[0] for name in names} == {"loop"}
    assert (len(pool), alive("loop")) == (0, 0)
