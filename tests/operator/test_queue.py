"""Passes: one at a time for each MailService, coalesced, repeated after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mailoperator import queue
from mailoperator.queue import Key, Queue

ONE, OTHER = ("post", "one"), ("post", "other")


class Work:
    """Notes the passes; `gate` holds them back, `outcomes` are given in turn (then True)."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.done: list[Key] = []
        self.running: list[Key] = []
        self.outcomes: list[bool | Exception] = []
        self.failures: list[tuple[Key, Exception]] = []
        self.queue = Queue(self.work, lambda key, error: self.failures.append((key, error)))

    async def work(self, key: Key) -> bool:
        assert key not in self.running, "two passes over one key"
        self.running.append(key)
        await self.gate.wait()
        self.running.remove(key)
        self.done.append(key)
        outcome = self.outcomes.pop(0) if self.outcomes else True
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.done) < count:  # noqa: ASYNC110 - it is the work that is watched
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)


@pytest.fixture
async def work(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Work]:
    monkeypatch.setattr(queue, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(queue, "SOON_SECONDS", 0.01)
    made = Work()
    task = asyncio.create_task(made.queue.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_asked_for_many_times_is_done_once(work: Work) -> None:
    for _ in range(10):
        work.queue.add(ONE)
    work.queue.add(OTHER)
    await work.until(2)
    assert sorted(work.done) == [ONE, OTHER]


async def test_what_is_asked_for_during_a_pass_is_done_once_more(work: Work) -> None:
    work.gate.clear()
    work.queue.add(ONE)
    await asyncio.sleep(0.02)
    for _ in range(5):
        work.queue.add(ONE)
    assert len(work.queue) == 1
    work.gate.set()
    await work.until(2)
    assert work.done == [ONE, ONE]


async def test_a_failure_is_told_and_tried_again(work: Work) -> None:
    work.outcomes = [ValueError("no"), ValueError("no"), True]
    work.queue.add(ONE)
    await work.until(3)
    assert work.done == [ONE, ONE, ONE]
    assert [key for key, _ in work.failures] == [ONE, ONE]


async def test_what_is_not_settled_is_looked_at_again_soon(work: Work) -> None:
    work.outcomes = [False, False, True]
    work.queue.add(ONE)
    await work.until(3)
    assert work.done == [ONE, ONE, ONE]


async def test_what_is_gone_is_not_tried_again(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "FIRST_DELAY", 0.1)
    work.outcomes = [ValueError("no")]
    work.queue.add(ONE)
    await work.until(1)
    work.queue.forget(ONE)
    await asyncio.sleep(0.2)
    assert work.done == [ONE]
