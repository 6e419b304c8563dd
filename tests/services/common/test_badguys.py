"""Failed logins: what their address waits, when it is shut out, and who is not concerned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.common import badguys as module
from services.common.access.marks import FOR_EVER, Ban, network_key
from services.common.accessoptions import AccessOptions
from services.common.badguys import BadGuys, open_marks
from services.common.directory import DirectoryUnavailable, LoginRefused, Throttled
from services.common.limits import CommandSlots, in_slot
from services.common.live import Live
from services.common.login import Login
from services.common.markfile import MarkFile
from services.common.options import DirectoryOptions
from services.common.peer import LOCAL_ADDRESS, Forwarded, Peer
from tests.support.lineserver import line_server
from tests.support.people import PASSWORD, People
from tests.support.recorder import Recorder

ANNA, BAD, GOOD = "anna@example.com", "192.0.2.7", "192.0.2.8"


class Clock:
    """Time as a test wants it; a wait takes none and is written down."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        self.waits: list[float] = []
        monkeypatch.setattr(module, "sleep", self._sleep)

    def __call__(self) -> float:
        return self.now

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def made(clock: Callable[[], float], penalty: int = 2, file: MarkFile | None = None, **options: Any) -> BadGuys:
    return BadGuys(Live(AccessOptions(**options)), lambda: penalty, file, Recorder(), clock)


def logins(badguys: BadGuys) -> tuple[Login, People]:
    people = People({ANNA: PASSWORD})
    return Login(people, Live(DirectoryOptions(faildelay=0)), badguys=badguys), people


async def wrong(login: Login, address: str = BAD) -> None:
    with pytest.raises(LoginRefused):
        await login.password("imap", ANNA, "wrong", Peer(address))


async def test_each_failure_makes_the_next_login_wait_for_longer(clock: Clock) -> None:
    login, _ = logins(made(clock, bgmaxbadness=5))
    for _ in range(5):
        await wrong(login)
    assert clock.waits == [2, 4, 5, 5]


async def test_a_success_waits_too_and_clears_the_mark(clock: Clock) -> None:
    login, _ = logins(made(clock))
    await wrong(login)
    assert await login.password("imap", ANNA, PASSWORD, Peer(BAD))
    assert await login.password("imap", ANNA, PASSWORD, Peer(BAD))
    await wrong(login)
    assert clock.waits == [2]


async def test_a_remembered_login_waits_as_well(clock: Clock) -> None:
    login, _ = logins(made(clock))
    assert await login.password("imap", ANNA, PASSWORD, Peer(BAD))
    assert login.cached("imap", ANNA, PASSWORD, Peer(BAD)) is not None
    await wrong(login)
    assert login.cached("imap", ANNA, PASSWORD, Peer(BAD)) is None
    assert login.cached("imap", ANNA, PASSWORD, Peer(GOOD)) is not None
    assert await login.password("imap", ANNA, PASSWORD, Peer(BAD))
    assert clock.waits == [2]
    assert login.cached("imap", ANNA, PASSWORD, Peer(BAD)) is not None


async def test_others_do_not_wait(clock: Clock) -> None:
    login, _ = logins(made(clock))
    await wrong(login)
    for address in (GOOD, LOCAL_ADDRESS, "127.0.0.1", "2001:db8::1"):
        assert await login.password("imap", ANNA, PASSWORD, Peer(address))
    assert clock.waits == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.5", LOCAL_ADDRESS])
async def test_nothing_is_held_against_the_allow_list_and_front_ends(clock: Clock, address: str) -> None:
    login, _ = logins(made(clock, trustedproxies=("10.0.0.0/8",), banfailures=2))
    for _ in range(4):
        await wrong(login, address)
    assert clock.waits == []


async def test_clients_of_one_network_of_ipv6_count_together(clock: Clock) -> None:
    badguys = made(clock, ipv6prefix=48)
    login, _ = logins(badguys)
    await wrong(login, "2001:db8:1:1::1")
    await wrong(login, "2001:db8:1:2::1")
    assert clock.waits == [2]
    assert not badguys.marked("2001:db8:2::1")


async def test_what_is_no_wrong_password_is_not_held_against_anybody(clock: Clock) -> None:
    badguys = made(clock)
    login, people = logins(badguys)
    people.access = {ANNA: ("-ALL:ALL",)}
    with pytest.raises(LoginRefused):
        await login.password("imap", ANNA, PASSWORD, Peer(BAD))
    people.away = True
    with pytest.raises(DirectoryUnavailable):
        await login.password("imap", ANNA, "wrong", Peer(BAD))
    assert not badguys.marked(BAD)


async def test_many_failures_shut_out_and_no_password_is_tried_any_more(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    badguys = made(clock, banfailures=3, bantime=100)
    login, people = logins(badguys)
    for _ in range(3):
        assert not badguys.banned(BAD)
        await wrong(login)
    assert badguys.banned(BAD)
    assert not badguys.banned(GOOD)
    assert "address shut out" in caplog.messages
    assert badguys.counts() == {"delayed": 1, "banned": 1}
    people.passwords = {}
    with pytest.raises(LoginRefused, match="banned"):
        await login.password("imap", ANNA, PASSWORD, Peer(BAD))
    clock.now += 100
    assert not badguys.banned(BAD)


async def test_what_waits_for_its_turn_when_the_address_is_shut_out_is_not_tried(clock: Clock) -> None:
    badguys = made(clock, banfailures=1)
    async with badguys.turn(BAD):
        badguys.failed("imap", BAD)
    with pytest.raises(LoginRefused, match="banned"):
        async with badguys.turn(BAD):
            pass


async def test_after_the_decay_nothing_is_looked_for(clock: Clock) -> None:
    badguys = made(clock, bgdecay=50, banwindow=50)
    login, _ = logins(badguys)
    await wrong(login)
    clock.now += 50
    assert not badguys.marked(BAD)
    await wrong(login)
    assert clock.waits == []


async def test_it_can_be_switched_off(clock: Clock) -> None:
    badguys = made(clock, penalty=0, banfailures=0)
    login, _ = logins(badguys)
    await wrong(login)
    await wrong(login)
    assert clock.waits == []
    assert not badguys.marked(BAD)


async def test_two_processes_know_the_same(clock: Clock, tmp_path: Any) -> None:
    path = str(tmp_path / "access.state")
    mine, other = (made(clock, file=MarkFile(path)) for _ in range(2))
    await wrong(logins(mine)[0])
    await wrong(logins(other)[0])
    assert clock.waits == [2]


async def test_a_wait_holds_no_slot_and_there_is_an_end_to_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, all_wait, waiters = asyncio.Event(), asyncio.Event(), []

    async def wait(_: float) -> None:
        waiters.append(slots.running)
        if len(waiters) == 3:
            all_wait.set()
        await gate.wait()

    monkeypatch.setattr(module, "sleep", wait)
    monkeypatch.setattr(module, "WAIT_OF_ADDRESS", 3)
    badguys = made(lambda: 1_000_000.0)
    login, _ = logins(badguys)
    await wrong(login)
    slots = CommandSlots(lambda: 1)
    peer = Peer(BAD)
    waiting = [asyncio.create_task(in_slot(slots, login.password("imap", ANNA, PASSWORD, peer))) for _ in range(3)]
    await all_wait.wait()
    assert waiters == [0, 0, 0]
    with pytest.raises(Throttled):
        await login.password("imap", ANNA, PASSWORD, peer)
    gate.set()
    assert [entry.account for entry in await asyncio.gather(*waiting)] == [ANNA] * 3


async def test_too_many_that_wait_are_refused(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_OF_ALL", 0)
    badguys = made(clock)
    badguys.failed("imap", BAD)
    with pytest.raises(Throttled):
        await badguys.hold_up("imap", BAD)
    await badguys.hold_up("imap", GOOD)


async def test_a_file_that_cannot_be_had_leaves_each_process_its_own(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("in the way")
    file = open_marks(str(tmp_path / "run" / "access.state"))
    assert "failed logins are counted by each process alone" in caplog.messages
    assert file.bans() == ()


async def test_who_is_shut_out_is_not_let_in() -> None:
    file, recorder = MarkFile(), Recorder()
    badguys = BadGuys(Live(AccessOptions()), file=file)
    async with line_server(badguys=badguys, observer=recorder) as running:
        client = await running.greeted()
        file.add_ban(Ban(network_key("127.0.0.0/8"), FOR_EVER), 0.0)
        other = await running.connect()
        assert await other.line() == "away ban"
        assert recorder.refused == [("line", "ban")]
        client.writer.write(b"x\n")
        assert await client.line() == "echo x", "who is there stays"
        file.remove_ban(network_key("127.0.0.0/8"))
        await running.greeted()


async def test_a_front_end_that_is_shut_out_cannot_log_in_for_itself() -> None:
    """It is let in, because it may name a client; a login without one is judged by its own address."""
    file = MarkFile()
    access = Live(AccessOptions(trustedproxies=("127.0.0.0/8",)))
    async with line_server(badguys=BadGuys(access, file=file), access=access) as running:
        await running.greeted()
        (connection,) = running.shared.connections
        connection.unjudged = True
        assert not connection.peer.barred
        file.add_ban(Ban(network_key("127.0.0.1"), FOR_EVER), 0.0)
        assert connection.peer.barred
        assert await connection.forward(Forwarded("192.0.2.7", relayed=True)) == b""
        assert not connection.peer.barred
