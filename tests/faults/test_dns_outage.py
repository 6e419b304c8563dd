"""A name server that says nothing: nobody is kept out of the service for it, and nobody else waits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.support.peers import peer, pop_login
from tests.support.processes import Processes
from tests.support.running import OTHER, PASSWORD, USER

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
LOGIN = f'LOGIN {USER} "{PASSWORD}"'.encode()


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """The port of a name server that takes questions and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, silent: int) -> Iterator[Processes]:
    """IMAP has a filter by name for networks of its own; with POP3 it is every account's rules that ask for names."""
    data = tmp_path_factory.mktemp("outage")
    options = {
        "ACCESS_NAMESERVERS": f"127.0.0.1:{silent}",
        "IMAP_DOMAINALLOWED": "ALL: 127.0.0.1",
        "IMAP_DOMAINNOTALLOWED": "ALL: .example.org",
    }
    made = Processes(data, **options)
    users = (data / "users.yaml").read_text()
    (data / "users.yaml").write_text(f"{users}domains:\n  example.com: {{access: '-pop:.example.org'}}\n")
    try:
        made.start("store", "imap", "pop")
        yield made
        assert not made.faults("imap")
        assert not made.faults("pop")
    finally:
        made.stop()


async def test_no_client_waits_for_ever_and_nobody_waits_for_others(running: Processes) -> None:
    """Sixty clients of whom nothing is known come at once; one who needs no name is served before them."""
    port = running.services.imap
    async with AsyncExitStack() as stack:
        unknown = [await stack.enter_async_context(peer(port, source=f"127.5.0.{number + 1}")) for number in range(60)]
        async with peer(port) as known:
            assert (await known.line()).startswith(b"* OK")
            await known.done(LOGIN)
        for client in unknown:
            assert (await client.line()).startswith(b"* OK")
        assert (await unknown[0].ask(LOGIN))[-1].startswith(b"a OK")
    assert running.metric("imap", 'mailkeep_dns_lookup_seconds_count{result="unavailable"}') == 60
    assert any(event["event"].startswith("no answer") for event in running.events("imap"))


async def test_no_login_does(running: Processes) -> None:
    """The host counts as unknown: a deny rule about a name does not match, and the login goes on."""
    port = running.services.pop

    async def log_in(number: int) -> bytes:
        async with peer(port, source=f"127.6.0.{number + 1}") as client:
            await client.reply()
            return await pop_login(client, USER if number else OTHER)

    answers = await asyncio.gather(*(log_in(number) for number in range(2)))
    assert all(answer.startswith(b"+OK") for answer in answers), answers
