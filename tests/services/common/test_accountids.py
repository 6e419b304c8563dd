"""Account numbers that are kept, against the rules."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.common.accountids import AccountIds
from services.common.domain import AccountId
from services.common.errors import Reason, StoreError
from services.store.backends.memory import open_memory
from services.store.mailstore import MailStore


@pytest.fixture
async def store() -> AsyncIterator[MailStore]:
    database, bodies = await open_memory()
    store = MailStore(database, bodies)
    yield store
    await store.close()
    await bodies.close()
    await database.close()


async def test_a_dead_number_is_asked_for_anew(store: MailStore) -> None:
    ids = AccountIds(store)
    dead = await ids.open("ada@example.org")
    assert ids.known("ada@example.org") == dead
    await store.delete_account("ada@example.org")
    drop = await ids.use("ada@example.org", store.open_maildrop)
    assert drop.status.messages == 0
    renewed = ids.known("ada@example.org")
    assert renewed not in (None, dead)
    assert await ids.renew("ada@example.org", dead) == renewed


async def test_other_refusals_are_not_for_it(store: MailStore) -> None:
    ids = AccountIds(store)
    account_id = await ids.use("ada@example.org", _same)
    await store.open_maildrop(account_id)
    with pytest.raises(StoreError) as error:
        await ids.use("ada@example.org", store.open_maildrop)
    assert error.value.reason is Reason.MAILDROP_IN_USE
    assert ids.known("ada@example.org") == account_id


async def test_the_longest_unused_go(store: MailStore) -> None:
    ids = AccountIds(store, limit=2)
    for name in ("a@example.org", "b@example.org"):
        await ids.open(name)
    ids.known("a@example.org")
    await ids.open("c@example.org")
    assert [ids.known(f"{name}@example.org") is None for name in "abc"] == [False, True, False]


async def _same(account_id: AccountId) -> AccountId:
    return account_id
