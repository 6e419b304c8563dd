"""A store, the HTTP service over it, and a JMAP client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.http import HttpFixture, Jmap, http_service, jmap_client
from tests.support.store import StoreFixture


@pytest.fixture
async def store() -> AsyncIterator[StoreFixture]:
    """A store in memory."""
    async with StoreFixture() as fixture:
        yield fixture


@pytest.fixture
async def http(store: StoreFixture) -> AsyncIterator[HttpFixture]:
    """A service that takes passwords in clear."""
    async with http_service(store) as service:
        yield service


@pytest.fixture
async def jmap(http: HttpFixture) -> AsyncIterator[Jmap]:
    """A client of anna@example.com."""
    async with jmap_client(http) as client:
        yield client
