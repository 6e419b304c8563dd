"""Every test of this folder runs over every backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.common.domain import Account, MailboxStatus
from services.common.store import Store
from tests.support.stores import BACKENDS, OpenStore


@pytest.fixture(params=BACKENDS)
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenStore]:
    """An empty store with its background work at hand."""
    async with BACKENDS[request.param](tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def store(opened: OpenStore) -> Store:
    """The store as its callers see it."""
    return opened.store


@pytest.fixture
async def account(store: Store) -> Account:
    """A new account."""
    return await store.open_account("ada@example.org")


@pytest.fixture
async def inbox(store: Store, account: Account) -> MailboxStatus:
    """Its INBOX."""
    return await store.get_mailbox(account.account_id, "INBOX")
