"""Logins: remembered, forgotten, refused, delayed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from services.common.directory import DirectoryUnavailable, Entry, LoginRefusal, LoginRefused, Status
from services.common.limits import CommandSlots, in_slot
from services.common.live import Live
from services.common.login import Login
from services.common.options import DirectoryOptions
from services.common.peer import Peer
from tests.support.people import PASSWORD, People
from tests.support.recorder import Recorder

ANNA = "anna@example.com"
PEER = Peer("192.0.2.1")


class Counting(People):
    """People that count how often they are asked, and may be made to wait or to fail."""

    def __init__(self) -> None:
        super().__init__({ANNA: PASSWORD, "bert@example.com": PASSWORD})
        self.statuses = {}
        self.asked = 0
        self.gate: asyncio.Event | None = None
        self.away = False

    async def authenticate(self, name: str, password: str) -> Entry:
        """See `Directory.authenticate`."""
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise DirectoryUnavailable("away")
        return await super().authenticate(name, password)


def made(**options: Any) -> tuple[Login, Counting, Recorder, Live[DirectoryOptions]]:
    people, recorder = Counting(), Recorder()
    live = Live(DirectoryOptions(**{"faildelay": 0, **options}))
    return Login(people, live, recorder), people, recorder, live


async def refused(login: Login, name: str, password: str) -> LoginRefusal:
    with pytest.raises(LoginRefused) as caught:
        await login.password("imap", name, password, PEER)
    assert caught.value.detail == ""
    return caught.value.kind


async def test_a_right_password_is_remembered() -> None:
    login, people, recorder, _ = made()
    assert login.cached("imap", ANNA, PASSWORD, PEER) is None
    assert (await login.password("imap", ANNA, PASSWORD, PEER)).account == ANNA
    remembered = login.cached("pop", ANNA, PASSWORD, PEER)
    assert remembered is not None
    assert remembered.account == ANNA
    assert (await login.password("imap", ANNA, PASSWORD, PEER)).account == ANNA
    assert people.asked == 1
    assert recorder.logins == [("imap", "ok"), ("pop", "cached"), ("imap", "cached")]
    assert recorder.caches == [("login", False), ("login", True), ("login", True)]


async def test_only_the_same_name_and_password_are() -> None:
    login, _, _, _ = made()
    await login.password("imap", ANNA, PASSWORD, PEER)
    for name, password in ((ANNA, PASSWORD + "x"), (ANNA[:-1], "m" + PASSWORD), ("bert@example.com", PASSWORD)):
        assert login.cached("imap", name, password, PEER) is None


async def test_a_wrong_password_is_not_remembered() -> None:
    login, people, recorder, _ = made()
    assert await refused(login, ANNA, "wrong") is LoginRefusal.CREDENTIALS
    assert await refused(login, ANNA, "wrong") is LoginRefusal.CREDENTIALS
    assert people.asked == 2
    assert recorder.logins == [("imap", "credentials")] * 2


async def test_nothing_is_remembered_over_a_change_of_the_directory() -> None:
    login, people, _, _ = made()
    await login.password("imap", ANNA, PASSWORD, PEER)
    people.generation += 1
    assert login.cached("imap", ANNA, PASSWORD, PEER) is None


async def test_an_answer_that_a_change_overtook_is_not_remembered() -> None:
    login, people, _, _ = made()
    people.gate = asyncio.Event()
    task = asyncio.create_task(login.password("imap", ANNA, PASSWORD, PEER))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    people.generation += 1
    people.gate.set()
    await task
    assert login.cached("imap", ANNA, PASSWORD, PEER) is None


async def test_memory_ends_with_its_time_and_its_size() -> None:
    login, _, _, live = made(authcachesize=1)
    await login.password("imap", ANNA, PASSWORD, PEER)
    await login.password("imap", "bert@example.com", PASSWORD, PEER)
    assert login.cached("imap", ANNA, PASSWORD, PEER) is None
    assert login.cached("imap", "bert@example.com", PASSWORD, PEER) is not None
    live.replace(DirectoryOptions(authcachettl=0))
    assert login.cached("imap", "bert@example.com", PASSWORD, PEER) is None


async def test_equal_logins_at_the_same_time_are_checked_once() -> None:
    login, people, _, _ = made()
    people.gate = asyncio.Event()
    tasks = [asyncio.create_task(login.password("imap", ANNA, PASSWORD, PEER)) for _ in range(20)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    people.gate.set()
    entries = await asyncio.gather(*tasks[1:])
    assert people.asked == 1
    assert {entry.account for entry in entries} == {ANNA}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.INACTIVE, LoginRefusal.INACTIVE),
        (Status.DISABLED, LoginRefusal.INACTIVE),
        (Status.HOLD, LoginRefusal.INACTIVE),
        (Status.DELETED, LoginRefusal.CREDENTIALS),
        (Status.REMOVED, LoginRefusal.CREDENTIALS),
    ],
)
async def test_a_status_is_told_to_who_gave_the_right_password_only(status: Status, kind: LoginRefusal) -> None:
    login, people, _, _ = made()
    people.statuses = {ANNA: status}
    assert await refused(login, ANNA, PASSWORD) is kind
    assert await refused(login, ANNA, "wrong") is LoginRefusal.CREDENTIALS
    assert login.cached("imap", ANNA, PASSWORD, PEER) is None


async def test_who_is_over_quota_logs_in_to_make_room() -> None:
    login, people, _, _ = made()
    people.statuses = {ANNA: Status.OVERQUOTA}
    assert (await login.password("imap", ANNA, PASSWORD, PEER)).status is Status.OVERQUOTA
    assert login.cached("imap", ANNA, PASSWORD, PEER) is not None


async def test_a_delayed_refusal_holds_no_slot() -> None:
    login, _, _, _ = made(faildelay=30)
    slots = CommandSlots(lambda: 1)
    task = asyncio.create_task(in_slot(slots, login.password("imap", ANNA, "wrong", PEER)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    assert slots.try_acquire()
    slots.release()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert slots.running == 0


async def test_a_directory_that_is_away_is_no_refusal() -> None:
    login, people, recorder, _ = made(faildelay=30)
    people.away = True
    with pytest.raises(DirectoryUnavailable):
        await login.password("imap", ANNA, PASSWORD, PEER)
    assert recorder.logins == [("imap", "unavailable")]


async def test_slots_are_given_in_turn_and_survive_cancelled_waiters() -> None:
    slots = CommandSlots(lambda: 1)
    assert slots.try_acquire()
    waiters = [asyncio.create_task(slots.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    assert slots.waiting == 3
    waiters[0].cancel()
    slots.release()
    waiters[1].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiters[2].done()
    assert slots.running == 1
    slots.release()
    assert (slots.running, slots.waiting) == (0, 0)


@pytest.mark.parametrize(
    ("listed", "default", "is_one"),
    [
        ((), "", False),
        (("Bert@Example.com",), "", True),
        (("bert",), "", False),
        (("bert",), "example.com", True),
        (("anna@example.com",), "example.com", False),
    ],
)
async def test_administrators_are_named_by_the_options_too(listed: tuple[str, ...], default: str, is_one: bool) -> None:
    login, _, recorder, _ = made(administrators=listed, defaultdomain=default)
    bert = await login.password("imap", "bert@example.com", PASSWORD, PEER)
    assert bert.administrator is is_one
    remembered = login.cached("imap", "bert@example.com", PASSWORD, PEER)
    assert remembered is not None
    assert remembered.administrator is is_one
    if is_one:
        assert (await login.acting("imap", bert, ANNA, PEER)).account == ANNA
        assert recorder.logins[-1] == ("imap", "acting")
    else:
        with pytest.raises(LoginRefused) as caught:
            await login.acting("imap", bert, ANNA, PEER)
        assert caught.value.kind is LoginRefusal.AUTHORIZATION


async def test_who_acts_as_whom_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    login, _, _, _ = made(administrators=("bert@example.com",))
    bert = await login.password("imap", "bert@example.com", PASSWORD, PEER)
    await login.acting("imap", bert, "bert@example.com", PEER)
    await login.acting("imap", bert, ANNA, PEER)
    (record,) = [each for each in caplog.records if each.message == "acts for another"]
    fields = record.fields  # type: ignore[attr-defined]
    assert (fields["administrator"], fields["account"], fields["peer"]) == ("bert@example.com", ANNA, PEER.address)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.INACTIVE, LoginRefusal.INACTIVE),
        (Status.DELETED, LoginRefusal.AUTHORIZATION),
    ],
)
async def test_an_administrator_is_told_that_an_account_is_shut(status: Status, kind: LoginRefusal) -> None:
    login, people, _, _ = made(administrators=("bert@example.com",))
    people.statuses = {ANNA: status}
    bert = await login.password("imap", "bert@example.com", PASSWORD, PEER)
    with pytest.raises(LoginRefused) as caught:
        await login.acting("imap", bert, ANNA, PEER)
    assert caught.value.kind is kind


async def test_a_right_that_was_taken_back_is_gone_in_sessions_that_go_on() -> None:
    login, people, _, live = made(administrators=("bert@example.com",))
    bert = await login.password("imap", "bert@example.com", PASSWORD, PEER)
    assert (await login.acting("imap", bert, ANNA, PEER)).account == ANNA
    live.replace(DirectoryOptions(faildelay=0))
    with pytest.raises(LoginRefused) as caught:
        await login.acting("imap", bert, ANNA, PEER)
    assert caught.value.kind is LoginRefusal.AUTHORIZATION
    live.replace(DirectoryOptions(faildelay=0, administrators=("bert@example.com",)))
    people.statuses = {"bert@example.com": Status.DISABLED}
    with pytest.raises(LoginRefused) as caught:
        await login.acting("imap", bert, ANNA, PEER)
    assert caught.value.kind is LoginRefusal.INACTIVE
