"""Logins of HTTP clients: begun, used, listed and ended; idle ones end by themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable

import pytest

from services.common.domain import Account, AccountId, LoginSession
from services.common.errors import Reason, StoreError
from services.common.store import Store
from services.store.backends import Transaction
from services.store.mailstore import logins as rules
from tests.support.stores import OpenStore

IDLE = 7200
HERE = "192.0.2.1"


def login(secret: str, *, bound: bool = False, address: str = HERE) -> LoginSession:
    """One that a client begins."""
    digest = hashlib.blake2b(secret.encode(), digest_size=32).digest()
    return LoginSession(digest, "", address, bound, "Browser/1", b"stamp")


async def refused(attempt: Awaitable[object]) -> Reason:
    """Why the store says no."""
    with pytest.raises(StoreError) as caught:
        await attempt
    return caught.value.reason


async def test_a_login_is_found_again_by_its_digest_alone(opened: OpenStore, account: Account) -> None:
    logins, wanted = opened.store.logins, login("one", bound=True)
    begun = await logins.open(account.account_id, wanted, IDLE)
    now = int(opened.clock.now)
    assert begun == LoginSession(wanted.digest, account.name, HERE, True, "Browser/1", b"stamp", now, now, now + IDLE)
    assert await logins.use(account.account_id, wanted.digest, HERE, IDLE) == begun
    other = await opened.store.open_account("bob@example.org")
    assert await refused(logins.use(other.account_id, wanted.digest, HERE, IDLE)) is Reason.LOGIN_NOT_FOUND
    unknown = login("two").digest
    assert await refused(logins.use(account.account_id, unknown, HERE, IDLE)) is Reason.LOGIN_NOT_FOUND


async def test_beginning_again_changes_nothing(opened: OpenStore, account: Account) -> None:
    begun = await opened.store.logins.open(account.account_id, login("one"), IDLE)
    opened.clock.now += 30
    assert await opened.store.logins.open(account.account_id, login("one", address="elsewhere"), IDLE) == begun
    assert await opened.store.logins.all(account.account_id) == [begun]


async def test_use_puts_the_end_forward_and_idleness_ends_it(opened: OpenStore, account: Account) -> None:
    logins, digest = opened.store.logins, login("one").digest
    await logins.open(account.account_id, login("one"), IDLE)
    for _ in range(3):
        opened.clock.now += IDLE - 1
        used = await logins.use(account.account_id, digest, HERE, IDLE)
        assert (used.used, used.expires) == (int(opened.clock.now), int(opened.clock.now) + IDLE)
    opened.clock.now += IDLE
    assert await refused(logins.use(account.account_id, digest, HERE, IDLE)) is Reason.LOGIN_NOT_FOUND
    assert await logins.all(account.account_id) == []


async def test_a_use_soon_after_the_last_is_not_written(opened: OpenStore, account: Account) -> None:
    begun = await opened.store.logins.open(account.account_id, login("one"), IDLE)
    opened.clock.now += rules.NOTED_SECONDS - 1
    assert await opened.store.logins.use(account.account_id, begun.digest, HERE, IDLE) == begun
    shorter = await opened.store.logins.use(account.account_id, begun.digest, HERE, 100)
    assert shorter.expires == int(opened.clock.now) + 100, "another time-out holds at once"


async def test_a_bound_login_is_nobody_elses_and_goes_on(opened: OpenStore, account: Account) -> None:
    logins, digest = opened.store.logins, login("one").digest
    await logins.open(account.account_id, login("one", bound=True), IDLE)
    assert await refused(logins.use(account.account_id, digest, "192.0.2.2", IDLE)) is Reason.LOGIN_NOT_FOUND
    assert (await logins.use(account.account_id, digest, HERE, IDLE)).bound
    await logins.open(account.account_id, login("two"), IDLE)
    assert not (await logins.use(account.account_id, login("two").digest, "192.0.2.2", IDLE)).bound


async def test_they_are_listed_with_the_last_used_first_and_ended(opened: OpenStore, account: Account) -> None:
    logins = opened.store.logins
    for secret in ("one", "two", "three"):
        await logins.open(account.account_id, login(secret), IDLE)
        opened.clock.now += 100
    await logins.use(account.account_id, login("one").digest, HERE, IDLE)
    order = [each.digest for each in await logins.all(account.account_id)]
    assert order == [login(secret).digest for secret in ("one", "three", "two")]
    for _ in range(2):
        await logins.end(account.account_id, login("three").digest)
    assert await refused(logins.use(account.account_id, login("three").digest, HERE, IDLE)) is Reason.LOGIN_NOT_FOUND
    assert await logins.end_all(account.account_id, login("two").digest) == 1
    assert [each.digest for each in await logins.all(account.account_id)] == [login("two").digest]
    assert await logins.end_all(account.account_id) == 1


async def test_of_too_many_the_longest_unused_go(
    opened: OpenStore, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MAX_LOGINS", 3)
    for number in range(5):
        await opened.store.logins.open(account.account_id, login(str(number)), IDLE)
        opened.clock.now += 1
    kept = [each.digest for each in await opened.store.logins.all(account.account_id)]
    assert kept == [login(secret).digest for secret in ("4", "3", "2")]


async def test_those_that_are_over_are_swept(opened: OpenStore, account: Account) -> None:
    async def count(tx: Transaction) -> int:
        return len(await tx.fetch("SELECT digest FROM logins"))

    for number in range(3):
        await opened.store.logins.open(account.account_id, login(str(number)), IDLE)
    await opened.store.logins.open(account.account_id, login("long"), 2 * IDLE)
    await opened.rules.sweep()
    assert await opened.database.read(count) == 4
    opened.clock.now += IDLE
    await opened.rules.sweep()
    assert await opened.database.read(count) == 1


async def test_a_deleted_account_is_logged_out(opened: OpenStore, account: Account) -> None:
    await opened.store.logins.open(account.account_id, login("one"), IDLE)
    await opened.store.delete_account(account.name)
    attempt = opened.store.logins.use(account.account_id, login("one").digest, HERE, IDLE)
    assert await refused(attempt) is Reason.LOGIN_NOT_FOUND
    assert await refused(opened.store.logins.all(account.account_id)) is Reason.ACCOUNT_NOT_FOUND
    attempt = opened.store.logins.open(account.account_id, login("two"), IDLE)
    assert await refused(attempt) is Reason.ACCOUNT_NOT_FOUND
    assert await opened.findings() == []


@pytest.mark.parametrize("digest", [b"", b"x" * 31, b"x" * 33])
async def test_what_is_no_digest(store: Store, account: Account, digest: bytes) -> None:
    wrong = LoginSession(digest, "", HERE, False, "", b"")
    assert await refused(store.logins.open(account.account_id, wrong, IDLE)) is Reason.INVALID_ARGUMENT
    assert await refused(store.logins.use(account.account_id, digest, HERE, IDLE)) is Reason.INVALID_ARGUMENT
    assert await refused(store.logins.end(account.account_id, digest)) is Reason.INVALID_ARGUMENT


async def test_fields_are_bounded(store: Store) -> None:
    account_id = AccountId(1)
    digest = b"x" * 32
    for wrong in (
        LoginSession(digest, "", "a" * 65, False, "", b""),
        LoginSession(digest, "", HERE, False, "a" * 257, b""),
        LoginSession(digest, "", HERE, False, "", b"x" * 65),
    ):
        assert await refused(store.logins.open(account_id, wrong, IDLE)) is Reason.INVALID_ARGUMENT
    for idle in (0, 366 * 86_400 + 1):
        right = LoginSession(digest, "", HERE, False, "", b"")
        assert await refused(store.logins.open(account_id, right, idle)) is Reason.INVALID_ARGUMENT
