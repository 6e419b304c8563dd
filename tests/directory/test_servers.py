"""Servers that go and come back, what reaches them, and what does not."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from services.common.directory import (
    AddressUnknown,
    Delivery,
    DirectoryUnavailable,
    LoginRefusal,
    LoginRefused,
    Status,
    Throttled,
)
from services.common.directory.ldap import directory as ldapdirectory
from services.common.directory.ldap import links, pool
from services.common.directory.ldap.directory import LdapDirectory
from services.common.live import Live
from services.common.login import Login
from services.common.options import DirectoryOptions
from services.common.peer import Peer
from tests.support.authority import Authority
from tests.support.ldapdirectory import opened
from tests.support.recorder import Recorder
from tests.support.slapd import PASSWORD, Slapd

pytestmark = pytest.mark.slapd
ANNA = "anna@example.com"
BERT = "bert@example.com"
PEER = Peer("192.0.2.1", tls=True)


def login_over(directory: LdapDirectory) -> Login:
    return Login(directory, Live(DirectoryOptions(faildelay=0)))


async def counted(server: Slapd) -> tuple[int, int]:
    """Searches and binds so far, without the ones that asking costs."""
    found = await asyncio.to_thread(server.operations)
    return found["Search"], found["Bind"]


async def grown(server: Slapd, before: tuple[int, int]) -> tuple[int, int]:
    """By how much since; each time of asking is one search and one bind."""
    searches, binds = await counted(server)
    return searches - before[0] - 1, binds - before[1] - 1


# ---- servers --------------------------------------------------------------------------------------------------------
async def test_the_second_server_answers_where_the_first_is_gone(pair: tuple[Slapd, Slapd]) -> None:
    one, other = pair
    async with opened(one, other) as directory:
        assert (await directory.authenticate(ANNA, PASSWORD)).account == ANNA
        one.kill()
        assert (await directory.authenticate(ANNA, PASSWORD)).account == ANNA
        assert directory.pool.servers_up == 1
        with pytest.raises(LoginRefused):
            await directory.authenticate(ANNA, "wrong")


async def test_the_first_is_asked_again_when_it_is_back(
    pair: tuple[Slapd, Slapd], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ldapdirectory, "PROBE_SECONDS", 0.05)
    one, other = pair
    one.kill()
    async with opened(one, other) as directory:
        await directory.authenticate(ANNA, PASSWORD)
        await asyncio.to_thread(one.start)
        async with asyncio.timeout(60):
            while directory.pool.servers_up < 2:  # noqa: ASYNC110 - a look at it is what is tested
                await asyncio.sleep(0.02)
        other.kill()
        assert (await directory.authenticate(ANNA, PASSWORD)).account == ANNA


async def test_a_server_that_says_nothing_is_given_up_in_time(pair: tuple[Slapd, Slapd]) -> None:
    one, other = pair
    async with opened(one, other, searchtimeout=1, connecttimeout=1) as directory:
        await directory.authenticate(ANNA, PASSWORD)
        one.send(signal.SIGSTOP)
        try:
            assert (await directory.authenticate(BERT, PASSWORD)).account == BERT
            assert directory.pool.servers_up == 1
        finally:
            one.send(signal.SIGCONT)


async def test_connections_that_a_restart_closed_fail_nobody(pair: tuple[Slapd, Slapd]) -> None:
    one, _ = pair
    async with opened(one) as directory:
        await directory.authenticate(ANNA, PASSWORD)
        one.kill()
        await asyncio.to_thread(one.start)
        assert (await directory.authenticate(ANNA, PASSWORD)).account == ANNA


async def test_without_any_server_the_remembered_go_on_and_others_wait(pair: tuple[Slapd, Slapd]) -> None:
    one, other = pair
    async with opened(one, other) as directory:
        login = login_over(directory)
        await login.password("imap", ANNA, PASSWORD, PEER)
        one.kill()
        other.kill()
        assert (await login.password("imap", ANNA, PASSWORD, PEER)).account == ANNA
        for password in (PASSWORD, "wrong"):
            with pytest.raises(DirectoryUnavailable):
                await login.password("imap", BERT, password, PEER)
        with pytest.raises(DirectoryUnavailable):
            await directory.lookup(BERT)
        assert directory.ready
        await asyncio.to_thread(one.start)
        async with asyncio.timeout(60):
            while True:
                try:
                    assert (await login.password("imap", BERT, PASSWORD, PEER)).account == BERT
                    break
                except DirectoryUnavailable:
                    await asyncio.sleep(0.05)


async def test_it_is_ready_once_a_server_has_answered(tmp_path: Path, authority: Authority) -> None:
    server = Slapd(tmp_path / "late", authority)
    async with opened(server) as directory:
        with pytest.raises(DirectoryUnavailable):
            await directory.lookup(ANNA)
        assert not directory.ready
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(60):
            while not directory.ready:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
    server.stop()


async def test_servers_of_another_authority_are_not_spoken_to(slapd: Slapd, tmp_path: Path) -> None:
    foreign = Authority(tmp_path, "foreign")
    before = await counted(slapd)
    for url in (slapd.url, slapd.tls_url):
        async with opened(slapd, servers=(url,), cafile=str(foreign.cafile)) as directory:
            with pytest.raises(DirectoryUnavailable, match="certificate verify failed"):
                await directory.authenticate(ANNA, PASSWORD)
    assert await grown(slapd, before) == (0, 0)


async def test_servers_whose_certificate_has_ended_are_not_spoken_to(tmp_path: Path) -> None:
    server = Slapd(tmp_path / "ended", Authority(tmp_path), ended=True)
    server.start()
    for url in (server.url, server.tls_url):
        async with opened(server, servers=(url,)) as directory:
            with pytest.raises(DirectoryUnavailable, match="certificate has expired"):
                await directory.authenticate(ANNA, PASSWORD)
    server.stop()


async def test_servers_of_another_name_are_not_spoken_to(tmp_path: Path, authority: Authority) -> None:
    server = Slapd(tmp_path / "named", authority, host="ldap.example.com")
    server.start()
    async with opened(server, servers=(f"ldap://127.0.0.1:{server.port}",)) as directory:
        with pytest.raises(DirectoryUnavailable, match="certificate"):
            await directory.authenticate(ANNA, PASSWORD)
    server.stop()


# ---- what reaches the servers ---------------------------------------------------------------------------------------
async def test_a_login_is_one_search_and_one_bind_and_none_when_remembered(pair: tuple[Slapd, Slapd]) -> None:
    one, _ = pair
    async with opened(one) as directory:
        login = login_over(directory)
        await login.password("imap", ANNA, PASSWORD, PEER)  # opens connections, finds the domain
        before = await counted(one)
        await login.password("imap", BERT, PASSWORD, PEER)
        assert await grown(one, before) == (1, 1)
        before = await counted(one)
        await login.password("imap", BERT, PASSWORD, PEER)
        assert login.cached("imap", ANNA, PASSWORD, PEER) is not None
        assert await grown(one, before) == (0, 0)


async def test_equal_logins_at_once_are_one(pair: tuple[Slapd, Slapd]) -> None:
    one, _ = pair
    async with opened(one) as directory:
        login = login_over(directory)
        await login.password("imap", BERT, PASSWORD, PEER)
        before = await counted(one)
        await asyncio.gather(*(login.password("imap", ANNA, PASSWORD, PEER) for _ in range(50)))
        assert await grown(one, before) == (1, 1)


async def test_what_was_wrong_a_moment_ago_is_not_asked_again(pair: tuple[Slapd, Slapd]) -> None:
    one, _ = pair
    recorder = Recorder()
    async with opened(one, observer=recorder) as directory:
        login = login_over(directory)
        await login.password("imap", BERT, PASSWORD, PEER)
        before = await counted(one)
        for _ in range(20):
            for name in ("nobody@example.com", ANNA, "x@nowhere.example"):
                with pytest.raises(LoginRefused):
                    await login.password("imap", name, "wrong", PEER)
        assert await grown(one, before) == (3, 1)
        assert recorder.caches.count(("wrong-passwords", True)) == 19
        assert recorder.caches.count(("unknown-names", True)) == 38
        assert (await login.password("imap", ANNA, PASSWORD, PEER)).account == ANNA


async def test_nothing_wrong_is_remembered_where_that_is_switched_off(pair: tuple[Slapd, Slapd]) -> None:
    one, _ = pair
    async with opened(one, directory={"negativecachettl": 0}) as directory:
        with pytest.raises(LoginRefused):
            await directory.authenticate(ANNA, "new password")
        one.set("uid=anna,ou=people,o=example.com,o=isp", "userPassword", "new password")
        assert (await directory.authenticate(ANNA, "new password")).account == ANNA


async def test_passwords_of_one_account_stand_in_no_other_ones_way(
    pair: tuple[Slapd, Slapd], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ldapdirectory, "MAX_TRIES", 5)
    one, _ = pair
    async with opened(one, connections=2) as directory:
        guesses = [asyncio.create_task(directory.authenticate(ANNA, f"guess {number}")) for number in range(50)]
        assert (await directory.authenticate(BERT, PASSWORD)).account == BERT
        answers = await asyncio.gather(*guesses, return_exceptions=True)
    kinds = [type(answer) for answer in answers]
    assert kinds.count(LoginRefused) == 5
    assert kinds.count(Throttled) == 45


async def test_questions_beyond_the_queue_are_refused_for_now(
    pair: tuple[Slapd, Slapd], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_WAITING", 3)
    one, _ = pair
    async with opened(one, connections=1) as directory:
        asked = [directory.lookup(f"someone{number}@example.com") for number in range(30)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        kinds = {type(answer) for answer in answers}
        assert kinds == {AddressUnknown, DirectoryUnavailable}
        assert (await directory.lookup(ANNA)).account == ANNA


async def test_what_is_too_long_reaches_nobody(slapd: Slapd) -> None:
    async with opened(slapd) as directory:
        await directory.authenticate(ANNA, PASSWORD)
        before = await counted(slapd)
        for name, password in ((f"{'a' * 1_000_000}@example.com", PASSWORD), (ANNA, "p" * 1_000_000)):
            with pytest.raises(LoginRefused):
                await directory.authenticate(name, password)
        with pytest.raises(AddressUnknown):
            await directory.lookup(f"{'a' * 1_000_000}@example.com")
        assert await grown(slapd, before) == (0, 0)
        assert directory.pool.servers_up == 1


# ---- what an entry says ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("address", "account"),
    [
        ("plain@cases.example", "plain@cases.example"),
        ("PLAIN@CASES.ORG", "plain@cases.example"),
        ("other.name@cases.example", "other@cases.example"),
        ("quota@cases.example", "quota@cases.example"),
        ("smith@example.com", ANNA),
        ("anna.smith@example.org", ANNA),
        ("4711@number.example", "carla@number.example"),
        ("carla@number.example", "carla@number.example"),
    ],
)
async def test_who_gets_mail_for_an_address(slapd: Slapd, address: str, account: str) -> None:
    async with opened(slapd) as directory:
        assert (await directory.lookup(address)).account == account


@pytest.mark.parametrize(
    "address", ["nobody@cases.example", "plain@nowhere.example", "*@cases.example", "plain", "a)(mail=*@cases.example"]
)
async def test_addresses_that_nobody_has(slapd: Slapd, address: str) -> None:
    async with opened(slapd) as directory:
        with pytest.raises(AddressUnknown):
            await directory.lookup(address)


@pytest.mark.parametrize(
    ("address", "account"),
    [
        ("paul@plain.example", "paul@plain.example"),
        ("paul", "paul@plain.example"),
        ("petra@plain.example", "petra@plain.example"),
        ("paul@other.example", None),
        ("paul.unknown@plain.example", None),
    ],
)
@pytest.mark.parametrize("options", [{"schema": "plain"}, {"searchfordomain": False}], ids=["plain", "whole-tree"])
async def test_in_one_tree_other_domains_are_nobodys(
    slapd: Slapd, options: dict[str, Any], address: str, account: str | None
) -> None:
    default = {"defaultdomain": "plain.example"}
    async with opened(slapd, directory=default, basedn="ou=plain,o=isp", **options) as directory:
        try:
            found: str | None = (await directory.lookup(address)).account
        except AddressUnknown:
            found = None
        assert found == account


@pytest.mark.parametrize("address", ["ada@corp.example", "ADA.alias@corp.example", "ada@ad.corp.example", "ada"])
async def test_addresses_of_active_directory(slapd: Slapd, address: str) -> None:
    default = {"defaultdomain": "corp.example"}
    options: dict[str, Any] = {"schema": "activedirectory", "searchfilter": "(sAMAccountName=%U)"}
    async with opened(slapd, directory=default, basedn="ou=corp,o=isp", **options) as directory:
        found = await directory.lookup(address)
        assert found.account == "ada@corp.example"
        assert set(found.aliases) == {"ada.alias@corp.example", "ada@ad.corp.example"}


async def test_mail_for_two_waits(slapd: Slapd) -> None:
    async with opened(slapd) as directory:
        with pytest.raises(DirectoryUnavailable):
            await directory.lookup("shared@cases.example")


@pytest.mark.parametrize(
    ("name", "delivery"),
    [
        ("plain", Delivery.ACCEPTED),
        ("held", Delivery.DEFERRED),
        ("forward", Delivery.REFUSED),
        ("mail-overquota", Delivery.DEFERRED),
        ("mail-disabled", Delivery.REFUSED),
        ("mail-hold", Delivery.DEFERRED),
        ("there", Delivery.DEFERRED),
        ("here", Delivery.ACCEPTED),
    ],
)
async def test_what_becomes_of_mail(slapd: Slapd, name: str, delivery: Delivery) -> None:
    async with opened(slapd, directory={"hostnames": ("mail.example.com",)}) as directory:
        assert (await directory.lookup(f"{name}@cases.example")).delivery is delivery


async def test_quotas_and_access_rules(slapd: Slapd) -> None:
    async with opened(slapd) as directory:
        quota = (await directory.account("quota@cases.example")).quota
        assert (quota.max_bytes, quota.max_messages) == (20 << 20, 500)
        assert (await directory.account("badquota@cases.example")).quota.max_bytes is None
        assert (await directory.account("rules@cases.example")).allowed_access == ("+imap:ALL",)
        assert (await directory.account("anna@rules.example")).allowed_access == ("-pop:ALL", "+imap,pop:ALL")


async def test_members_of_a_group_administer(slapd: Slapd) -> None:
    options: dict[str, Any] = {"schema": "plain", "basedn": "ou=plain,o=isp", "admingroup": "cn=admins,ou=plain,o=isp"}
    async with opened(slapd, **options) as directory:
        assert (await directory.account("petra")).administrator
        assert not (await directory.account("paul")).administrator
    async with opened(slapd, admingroup="cn=store administrators,ou=groups,o=example.com,o=isp") as directory:
        assert (await directory.account("admin@example.com")).administrator
        assert not (await directory.account(ANNA)).administrator


@pytest.mark.parametrize("schema", ["orgtree", "dctree"])
async def test_administrators_of_a_domain_act_for_its_accounts_and_no_others(slapd: Slapd, schema: str) -> None:
    async with opened(slapd, schema=schema) as directory:
        login = login_over(directory)
        admin = await login.password("imap", "admin@example.com", PASSWORD, PEER)
        assert (admin.administrator, admin.administers) == (False, "example.com")
        assert (await login.acting("imap", admin, "anna@example.org", PEER)).account == ANNA
        anna = await login.password("imap", ANNA, PASSWORD, PEER)
        for by, name in ((admin, "4711@number.example"), (admin, "nobody@example.com"), (anna, "admin@example.com")):
            with pytest.raises(LoginRefused) as caught:
                await login.acting("imap", by, name, PEER)
            assert caught.value.kind is LoginRefusal.AUTHORIZATION


@pytest.mark.parametrize(("schema", "least"), [("orgtree", 40), ("dctree", 40), ("plain", 2)])
async def test_everybody_is_listed_page_by_page(
    slapd: Slapd, schema: str, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "PAGE", 7)
    async with opened(slapd, schema=schema, basedn="ou=plain,o=isp" if schema == "plain" else "o=isp") as directory:
        names = [entry.account for entry in await directory.everyone()]
    assert len(names) >= least
    wanted = {"paul", "petra"} if schema == "plain" else {"plain@cases.example", "carla@number.example", ANNA}
    assert wanted <= set(names)


async def test_the_policy_of_the_directory_locks(pair: tuple[Slapd, Slapd]) -> None:
    one, _ = pair
    dn = "uid=anna,ou=people,o=example.com,o=isp"
    one.modify(
        "dn: cn=strict,ou=policies,o=isp\nchangetype: add\nobjectClass: device\nobjectClass: pwdPolicy\ncn: strict\n"
        "pwdAttribute: userPassword\npwdLockout: TRUE\npwdMaxFailure: 3\n"
    )
    one.set(dn, "pwdPolicySubentry", "cn=strict,ou=policies,o=isp")
    async with opened(one) as directory:
        for number in range(3):
            with pytest.raises(LoginRefused) as caught:
                await directory.authenticate(ANNA, f"guess {number}")
            assert caught.value.kind is LoginRefusal.CREDENTIALS
        with pytest.raises(LoginRefused) as caught:
            await directory.authenticate(ANNA, PASSWORD)
        assert caught.value.kind is LoginRefusal.LOCKED
        one.set(dn, "pwdAccountLockedTime")
        assert (await directory.authenticate(ANNA, PASSWORD)).status is Status.ACTIVE


# ---- the service account's password in a file -----------------------------------------------------------------------
async def test_the_password_of_the_service_account_may_be_in_a_file(slapd: Slapd, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    async with opened(slapd, bindpassword="", bindpasswordfile=str(secret)) as directory:
        assert (await directory.authenticate(ANNA, PASSWORD)).account == ANNA
    secret.write_bytes(b"\xff")
    async with opened(slapd, bindpassword="", bindpasswordfile=str(secret)) as directory:
        with pytest.raises(DirectoryUnavailable):
            await directory.authenticate(ANNA, PASSWORD)
