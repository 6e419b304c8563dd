"""A storm of wrong passwords beside people who log in, and what is left of it in another process and after a crash."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml
from argon2 import PasswordHasher

from tests.support.peers import Peer, imap, peer
from tests.support.processes import CONTENT, Processes, eventually
from tests.support.running import PASSWORD, USER

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
BAD = [f"127.1.0.{number}" for number in range(1, 21)]
GOOD = [f"127.2.0.{number}" for number in range(1, 6)]
CLIENTS = 1000
BAN = 40
LOGIN = f'LOGIN {USER} "{PASSWORD}"'.encode()
WRONG = b"LOGIN %s %s" % (USER.encode(), CONTENT)
OPTIONS = {
    "ACCESS_BGEXCLUDED": "192.0.2.0/24",
    "ACCESS_BGMAXBADNESS": "2",
    "ACCESS_BANFAILURES": str(BAN),
    "IMAP_BGPENALTY": "1",
    "DIRECTORY_FAILDELAY": "0",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    data = tmp_path_factory.mktemp("storm")
    made = Processes(data, **OPTIONS)
    cheap = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    (data / "users.yaml").write_text(yaml.safe_dump({"accounts": {USER: {"password": cheap}}}))
    try:
        made.start("store", "imap", "pop")
        yield made
        assert not made.faults("imap")
    finally:
        made.stop()


async def attack(port: int, source: str, answers: Counter[bytes]) -> None:
    """Try a wrong password again and again, until the server has had enough."""
    try:
        async with peer(port, source=source) as client:
            greeting = await client.line()
            while greeting.startswith(b"* OK"):
                await client.send(b"a ", WRONG, b"\r\n")
                while (line := await client.line()).startswith(b"* "):
                    pass
                if not line:
                    return
                answers[line.split(b"]")[0]] += 1
            answers[greeting.split(b"]")[0]] += 1
    except (ConnectionError, TimeoutError):
        answers[b"cut"] += 1


async def log_in(port: int, source: str, stop: asyncio.Event) -> int:
    """Log in and out until it is over; how often. The first login is checked, the others are remembered."""
    times = 0
    while not stop.is_set() or not times:
        async with peer(port, source=source) as client:
            assert (await client.line()).startswith(b"* OK")
            assert (await client.ask(LOGIN))[-1].startswith(b"a OK"), "somebody who knows the password"
            await client.done(b"NOOP")
            times += 1
        await asyncio.sleep(0.05)
    return times


def banned(running: Processes) -> set[str]:
    return {row["network"] for row in json.loads(running.services.command("ban", "list", "--json").stdout)}


async def test_a_storm_of_wrong_passwords_beside_good_users(running: Processes) -> None:
    port, answers, stop = running.services.imap, Counter[bytes](), asyncio.Event()
    before = running.memory("imap")
    async with imap(port) as present:
        good = [asyncio.create_task(log_in(port, source, stop)) for source in GOOD]
        await asyncio.gather(*(attack(port, BAD[number % len(BAD)], answers) for number in range(CLIENTS)))
        stop.set()
        times = await asyncio.gather(*good)
        await present.done(b"NOOP")
    assert min(times) > 1
    assert answers[b"a NO [AUTHENTICATIONFAILED"] >= BAN * len(BAD)
    assert set(answers) <= {
        b"a NO [AUTHENTICATIONFAILED",
        b"a NO [UNAVAILABLE",
        b"* BYE Access from your address is closed for now\r\n",
        b"cut",
    }, answers
    assert await asyncio.to_thread(banned, running) == set(BAD)
    assert running.memory("imap") - before < 192 << 20
    assert running.metric("imap", 'mailkeep_bans_total{service="imap"}') == len(BAD)
    assert running.metric("imap", 'mailkeep_held_addresses{state="banned"}') == len(BAD)
    assert running.metric("imap", 'mailkeep_logins_delayed_total{service="imap"}') > 0


async def first_line(port: int, source: str) -> bytes:
    async with peer(port, source=source) as client:
        return await client.line()


async def test_another_service_knows_them(running: Processes) -> None:
    """As it is after the storm: another process, which saw none of it."""
    line = await first_line(running.services.pop, BAD[0])
    assert line == b"-ERR [SYS/TEMP] Access from your address is closed for now\r\n"
    assert (await first_line(running.services.pop, GOOD[0])).startswith(b"+OK")


async def test_a_process_that_is_killed_comes_back_to_them(running: Processes) -> None:
    running.kill("imap")
    running.spawn("imap")
    await asyncio.to_thread(running.await_ready, "imap")
    assert (await first_line(running.services.imap, BAD[1])).startswith(b"* BYE")
    assert (await first_line(running.services.imap, GOOD[1])).startswith(b"* OK")


async def test_an_administrator_lets_them_in(running: Processes) -> None:
    def let_in() -> None:
        running.services.command("ban", "remove", "127.1.0.0/16")

    await asyncio.to_thread(let_in)
    assert (await first_line(running.services.imap, BAD[1])).startswith(b"* OK")
    await asyncio.to_thread(running.services.command, "ban", "add", f"{GOOD[0]}/32", "--minutes", "5")
    assert (await first_line(running.services.pop, GOOD[0])).startswith(b"-ERR [SYS/TEMP]")
    await asyncio.to_thread(running.services.command, "ban", "remove", GOOD[0])
    await asyncio.to_thread(eventually, lambda: banned(running) == set())


async def failed(client: Peer) -> None:
    assert (await client.ask(WRONG))[-1].startswith(b"a NO [AUTHENTICATIONFAILED]")


async def test_failures_at_one_service_make_logins_at_another_wait(running: Processes) -> None:
    source = "127.3.0.1"
    async with peer(running.services.imap, source=source) as client:
        await client.line()
        await failed(client)
    sample = 'mailkeep_logins_delayed_total{service="pop"}'
    before = running.metric("pop", sample)
    async with peer(running.services.pop, source=source) as client:
        await client.reply()
        await client.reply(f"USER {USER}".encode())
        assert (await client.reply(f"PASS {PASSWORD}".encode())).startswith(b"+OK")
    assert running.metric("pop", sample) == before + 1
    async with peer(running.services.pop, source=source) as client:
        await client.reply()
        await client.reply(f"USER {USER}".encode())
        assert (await client.reply(f"PASS {PASSWORD}".encode())).startswith(b"+OK")
    assert running.metric("pop", sample) == before + 1, "the success cleared it"
