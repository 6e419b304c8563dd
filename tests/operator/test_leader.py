"""The lease: one leads, another takes over when it is stale or given back."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import pytest

from mailoperator import leader
from mailoperator.leader import LEASE_SECONDS, Leader, Lease


class Held:
    """One lease in memory, with the API server's rule of who was first."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.version = 0
        self.away = False

    async def get(self) -> Lease | None:
        if self.away:
            raise OSError("away")
        return deepcopy(self.lease)

    async def put(self, lease: Lease) -> bool:
        if lease.get("metadata", {}).get("resourceVersion", 0) != self.version:
            return False
        self.version += 1
        self.lease = {"metadata": {"resourceVersion": self.version}, "spec": lease["spec"]}
        return True


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    monkeypatch.setattr(leader, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(leader, "RENEW_SECONDS", 0.01)
    return Held()


async def test_one_of_two_leads(held: Held) -> None:
    clock = Clock()
    one, two = Leader(held, "one", clock), Leader(held, "two", clock)
    await one.acquire()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(two.acquire(), 0.05)
    assert (one.leading, two.leading) == (True, False)


async def test_a_stale_lease_is_taken_over(held: Held) -> None:
    clock = Clock()
    await Leader(held, "one", clock).acquire()
    clock.now += timedelta(seconds=LEASE_SECONDS + 1)
    two = Leader(held, "two", clock)
    await asyncio.wait_for(two.acquire(), 5)
    assert held.lease is not None
    assert (held.lease["spec"]["holderIdentity"], held.lease["spec"]["leaseTransitions"]) == ("two", 1)


async def test_a_lease_that_is_given_back_is_free_at_once(held: Held) -> None:
    clock = Clock()
    one = Leader(held, "one", clock)
    await one.acquire()
    await one.release()
    await asyncio.wait_for(Leader(held, "two", clock).acquire(), 5)


async def test_whoever_loses_the_lease_stops(held: Held) -> None:
    clock = Clock()
    one = Leader(held, "one", clock)
    await one.acquire()
    clock.now += timedelta(seconds=LEASE_SECONDS + 1)
    await Leader(held, "two", clock).acquire()
    await asyncio.wait_for(one.keep(), 5)
    assert not one.leading


async def test_an_api_server_that_is_away_for_too_long_ends_the_lead(held: Held) -> None:
    clock = Clock()
    one = Leader(held, "one", clock)
    await one.acquire()
    held.away = True
    keeping = asyncio.create_task(one.keep())
    await asyncio.sleep(0.05)
    assert one.leading, "a short absence costs nothing"
    clock.now += timedelta(seconds=LEASE_SECONDS)
    await asyncio.wait_for(keeping, 5)
    assert not one.leading


async def test_of_two_who_write_at_once_one_wins(held: Held) -> None:
    clock = Clock()
    results = await asyncio.gather(*(Leader(held, name, clock)._attempt() for name in "abc"))
    assert sorted(results) == [False, False, True]
