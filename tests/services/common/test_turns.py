"""Storms of logins: those of one address wait behind each other, strangers behind strangers, and lines have an end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from services.common import turns as module
from services.common.accessoptions import AccessOptions
from services.common.badguys import BadGuys
from services.common.directory import Throttled
from services.common.limits import CommandSlots, in_slot
from services.common.live import Live
from services.common.login import Login
from services.common.options import DirectoryOptions
from services.common.peer import Peer
from services.common.turns import IN_LINE_OF_ADDRESS, KNOWN, OF_ADDRESS, OF_STRANGERS, LineTooLong, Turns
from tests.support.people import PASSWORD, People


class Checks:
    """Turns that last until the test ends them, by address."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.running: list[str] = []
        self._ends = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, address: str, times: int = 1) -> None:
        self._tasks += [asyncio.create_task(self._check(address)) for _ in range(times)]
        for _ in range(5):
            await asyncio.sleep(0)

    async def _check(self, address: str) -> None:
        async with self.turns.turn(address):
            self.running.append(address)
            await self._ends.wait()

    async def end(self) -> None:
        self._ends.set()
        await asyncio.gather(*self._tasks)


async def test_of_one_address_a_few_are_checked_at_once() -> None:
    checks = Checks()
    await checks.begin("bad", 50)
    assert checks.running.count("bad") == OF_ADDRESS
    await checks.begin("other")
    assert checks.running.count("other") == 1
    await checks.end()
    assert checks.running.count("bad") == 50
    assert checks.turns.length == 0


async def test_who_is_known_passes_strangers_by() -> None:
    checks = Checks()
    checks.turns.welcome("known")
    for number in range(OF_STRANGERS + 10):
        await checks.begin(f"stranger {number}")
    assert len(checks.running) == OF_STRANGERS
    await checks.begin("known", OF_ADDRESS + 1)
    assert checks.running.count("known") == OF_ADDRESS
    await checks.end()
    assert len(checks.running) == OF_STRANGERS + 10 + OF_ADDRESS + 1


async def test_a_line_has_an_end() -> None:
    checks = Checks()
    await checks.begin("bad", IN_LINE_OF_ADDRESS)
    with pytest.raises(LineTooLong):
        async with checks.turns.turn("bad"):
            pass
    async with checks.turns.turn("other"):
        pass
    await checks.end()


async def test_all_lines_together_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_LINE", 3)
    checks = Checks()
    for number in range(3):
        await checks.begin(str(number))
    with pytest.raises(LineTooLong):
        async with checks.turns.turn("other"):
            pass
    await checks.end()


async def test_only_so_many_are_known() -> None:
    turns = Turns()
    for number in range(KNOWN + 5):
        turns.welcome(number)
    assert len(turns._known) == KNOWN
    assert 4 not in turns._known


async def test_who_gives_up_leaves_the_line() -> None:
    turns = Turns()
    async with AsyncExitStack() as stack:
        for _ in range(OF_ADDRESS):
            await stack.enter_async_context(turns.turn("bad"))
        waiting = asyncio.create_task(stack.enter_async_context(turns.turn("bad")))
        await asyncio.sleep(0)
        assert turns.length == OF_ADDRESS + 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert turns.length == OF_ADDRESS
    assert turns.length == 0


async def test_logins_in_line_hold_no_slot_and_others_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commands may run at once; the directory is slow for what comes from the bad address."""
    gate, asked = asyncio.Event(), asyncio.Event()

    class Slow(People):
        async def authenticate(self, name: str, password: str):  # type: ignore[no-untyped-def]
            if name.startswith("bad"):
                asked.set()
                await gate.wait()
            return await super().authenticate(name, password)

    monkeypatch.setattr(module, "OF_ADDRESS", 1)
    people = Slow({"anna@example.com": PASSWORD, **{f"bad{number}@example.com": PASSWORD for number in range(5)}})
    login = Login(people, Live(DirectoryOptions()), badguys=BadGuys(Live(AccessOptions())))
    slots = CommandSlots(lambda: 2)
    bad, good = Peer("192.0.2.7"), Peer("192.0.2.8")
    waiting = [
        asyncio.create_task(in_slot(slots, login.password("imap", f"bad{number}@example.com", PASSWORD, bad)))
        for number in range(5)
    ]
    await asked.wait()
    entry = await in_slot(slots, login.password("imap", "anna@example.com", PASSWORD, good))
    assert entry.account == "anna@example.com"
    monkeypatch.setattr(module, "IN_LINE_OF_ADDRESS", 5)
    with pytest.raises(Throttled):
        await login.password("imap", "anna@example.com", "wrong", bad)
    gate.set()
    assert len(await asyncio.gather(*waiting)) == 5
