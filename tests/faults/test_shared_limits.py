"""Limits of users and addresses hold over all processes of a service, and what a killed one held is free again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.support.peers import Peer, peer
from tests.support.processes import eventually
from tests.support.running import OTHER, PASSWORD, USER, RunningServices, running

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
PROCESSES = 3
PER_USER = 5
PER_ADDRESS = 8
ELSEWHERE = "127.0.0.2"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    options = {"NUMPROCESSES": PROCESSES, "MAXSESSIONSPERUSER": PER_USER, "MAXSESSIONSPERADDRESS": PER_ADDRESS}
    with running(
        tmp_path_factory.mktemp("limits") / "data",
        **{f"MAILKEEP_IMAP_{key}": str(value) for key, value in options.items()},
    ) as made:
        yield made


async def opened(stack: AsyncExitStack, services: RunningServices, source: str) -> tuple[Peer, bytes]:
    client = await stack.enter_async_context(peer(services.imap, source=source))
    return client, await client.line()


async def logged_in(stack: AsyncExitStack, services: RunningServices, user: str, source: str) -> bool:
    client, greeting = await opened(stack, services, source)
    assert greeting.startswith(b"* OK"), greeting
    answer = (await client.ask(f'LOGIN {user} "{PASSWORD}"'.encode()))[-1]
    if not answer.startswith(b"a OK"):
        assert answer.startswith(b"a NO [LIMIT]")
        await client.ask(b"LOGOUT")
    return answer.startswith(b"a OK")


def processes_of(services: RunningServices, user: str) -> list[str]:
    return [row["process"] for row in services.json("who", "--user", user)]


async def test_a_user_has_his_sessions_in_all_of_them_together(services: RunningServices) -> None:
    async with AsyncExitStack() as stack:
        sources = [f"127.1.0.{number + 1}" for number in range(3 * PER_USER)]
        found = [await logged_in(stack, services, USER, source) for source in sources]
        assert found == [True] * PER_USER + [False] * (2 * PER_USER)
        assert await logged_in(stack, services, OTHER, "127.1.1.1")


async def test_an_address_has_its_sessions_in_all_of_them_together(services: RunningServices) -> None:
    async with AsyncExitStack() as stack:
        greetings = [(await opened(stack, services, ELSEWHERE))[1] for _ in range(2 * PER_ADDRESS)]
        assert [line.startswith(b"* OK") for line in greetings] == [True] * PER_ADDRESS + [False] * PER_ADDRESS
        assert (await opened(stack, services, "127.0.0.3"))[1].startswith(b"* OK")


async def test_what_a_killed_process_held_is_free_again(services: RunningServices) -> None:
    async with AsyncExitStack() as stack:
        for number in range(PER_USER):
            assert await logged_in(stack, services, USER, f"127.1.2.{number + 1}")
        held: list[str] = []

        def told() -> bool:
            held[:] = processes_of(services, USER)
            return len(held) == PER_USER

        await asyncio.to_thread(eventually, told)
        victim = held[0]
        lost = held.count(victim)
        os.kill(int(victim.rpartition(":")[2].partition("-")[0]), signal.SIGKILL)
        found = 0

        async def one_more() -> bool:
            try:
                return await logged_in(stack, services, USER, "127.1.3.1")
            except (AssertionError, ConnectionError):  # it came to the process that is gone
                return False

        for _ in range(300):
            found += await one_more()
            if found == lost:
                break
            await asyncio.sleep(0.1)
        assert found == lost
        assert not await logged_in(stack, services, USER, "127.1.3.2")
