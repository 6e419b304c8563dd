"""`mailkeep who` and `kick` over the real server: sessions of several processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from services.common.domain import SessionInfo
from services.common.errors import Reason, StoreError
from services.common.sessions import SessionRegistry
from services.common.storeclient import StoreClient, attach
from tests.support.store import StoreFixture


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StoreFixture]:
    """A store in memory whose front ends report without a pause."""
    monkeypatch.setattr(attach, "PAUSE_SECONDS", 0.01)
    async with StoreFixture() as fixture:
        yield fixture


class FrontEnd:
    """A front-end process with sessions that do nothing."""

    def __init__(self, client: StoreClient, service: str) -> None:
        self.client = client
        self.service = service
        self.registry = SessionRegistry()
        self.kicked: list[str] = []
        client.sessions.attach(self.registry)

    def open(self, user: str, address: str = "192.0.2.1") -> str:
        """A session."""
        session_id = self.registry.new_id()
        info = SessionInfo(session_id, self.service, user, address, 1_700_000_000)
        self.registry.opened(info, lambda: self._kick(session_id))
        return session_id

    def _kick(self, session_id: str) -> None:
        self.kicked.append(session_id)
        self.registry.closed(session_id)


@pytest.fixture
async def imap(store: StoreFixture) -> FrontEnd:
    """An IMAP process."""
    return FrontEnd(await store.connect("imap"), "imap")


@pytest.fixture
async def pop(store: StoreFixture) -> FrontEnd:
    """A POP3 process."""
    return FrontEnd(await store.connect("pop"), "pop")


async def listed(store: StoreFixture, count: int, **what: str) -> Sequence[SessionInfo]:
    """The sessions, as soon as there are so many."""
    async with asyncio.timeout(30):
        while True:
            found = await store.client.sessions.list_sessions(**what)
            if len(found) == count:
                return found
            await asyncio.sleep(0.01)


async def test_sessions_of_all_processes_are_listed(store: StoreFixture, imap: FrontEnd, pop: FrontEnd) -> None:
    ids = {imap.open("ada"), imap.open("bob", "192.0.2.9"), pop.open("ada")}
    found = await listed(store, 3)
    assert {info.session_id for info in found} == ids
    assert len({info.process for info in found}) == 2
    assert len(await listed(store, 2, user="ada")) == 2
    (one,) = await listed(store, 1, user="ada", service="pop")
    assert (one.service, one.address, one.started) == ("pop", "192.0.2.1", 1_700_000_000)
    await listed(store, 1, address="192.0.2.9")
    await listed(store, 0, user="eve")


async def test_logins_and_ends_are_followed(store: StoreFixture, imap: FrontEnd) -> None:
    session = imap.open("")
    await listed(store, 1, user="")
    imap.registry.authenticated(session, "ada")
    await listed(store, 1, user="ada")
    imap.registry.closed(session)
    await listed(store, 0)


async def test_kick_ends_what_matches_and_nothing_else(store: StoreFixture, imap: FrontEnd, pop: FrontEnd) -> None:
    first, _, third = imap.open("ada"), imap.open("bob"), pop.open("ada")
    await listed(store, 3)
    assert await store.client.sessions.kick_sessions(user="ada") == 2
    await listed(store, 1)
    assert (imap.kicked, pop.kicked) == ([first], [third])
    assert await store.client.sessions.kick_sessions(session_id="none") == 0


async def test_kicking_everybody_must_be_said(store: StoreFixture) -> None:
    with pytest.raises(StoreError) as caught:
        await store.client.sessions.kick_sessions()
    assert caught.value.reason is Reason.INVALID_ARGUMENT


async def test_a_process_that_ends_takes_its_sessions_with_it(
    store: StoreFixture, imap: FrontEnd, pop: FrontEnd
) -> None:
    imap.open("ada")
    pop.open("ada")
    await listed(store, 2)
    await imap.client.close()
    (left,) = await listed(store, 1)
    assert left.service == "pop"


async def test_the_table_is_whole_again_after_an_outage(store: StoreFixture, imap: FrontEnd) -> None:
    first, second = imap.open("ada"), imap.open("bob")
    await listed(store, 2)
    await store.stop()
    imap.registry.closed(first)
    third = imap.open("eve")
    await store.start()
    found = await listed(store, 2)
    assert {info.session_id for info in found} == {second, third}


async def test_sessions_come_in_pages(store: StoreFixture, imap: FrontEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.store.servicers.sessions.PAGE", 3)
    monkeypatch.setattr(attach, "_FRAME", 2)
    ids = {imap.open(f"user{number}") for number in range(7)}
    assert {info.session_id for info in await listed(store, 7)} == ids


async def test_only_the_administrator_may_look_and_kick(store: StoreFixture, imap: FrontEnd) -> None:
    for call in (imap.client.sessions.list_sessions(), imap.client.sessions.kick_sessions(user="ada")):
        with pytest.raises(StoreError) as caught:
            await call
        assert caught.value.reason is Reason.PERMISSION_DENIED
