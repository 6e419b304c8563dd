"""The users file: reading, edits by several at once, changes taken up while running."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.common.directory import (
    AddressUnknown,
    Delivery,
    DirectoryUnavailable,
    LoginRefusal,
    LoginRefused,
    Status,
    parse_name,
)
from services.common.directory import users as usersdirectory
from services.common.directory.users import UsersFileDirectory
from services.common.directory.usersfile import UsersFile, UsersFileError, parse_users
from services.common.domain import Quota
from services.common.live import Live
from services.common.login import Login
from services.common.options import DirectoryOptions
from services.common.passwords import PasswordChecker, hash_password, verify
from services.common.peer import Peer
from services.common.sasl.scram import make_secret, parse_secret
from services.common.sizes import format_size, parse_size

HASH = hash_password("secret")


@pytest.fixture
def users(tmp_path: Path) -> UsersFile:
    return UsersFile(tmp_path / "users.yaml")


def directory(users: UsersFile, defaultdomain: str = "") -> UsersFileDirectory:
    return UsersFileDirectory(Live(DirectoryOptions(usersfile=str(users.path), defaultdomain=defaultdomain)))


DOMAINS = f"""
accounts:
  anna@example.com:
    password: {HASH}
    aliases: [info@example.com, special@example.org]
    status: disabled
  bert@example.com:
    password: {HASH}
  zoe@other.example:
domains:
  Example.COM: {{status: hold, aliases: [example.org]}}
"""


def test_a_new_password_makes_every_secret_of_the_old_one_anew(tmp_path: Path) -> None:
    users = UsersFile(tmp_path / "users.yaml")
    (tmp_path / "users.yaml").write_text(f"accounts:\n  anna: {{secrets: ['{SCRAM}', '{{CLEARTEXT}}old']}}\n")
    users.add("bert", "hunter2", scram=True)
    users.set_password("anna", "open\u00a0sesame")
    entries = {name: user.entry for name, user in users.users().by_name.items()}
    kept = {name: parse_secret(entry.secrets[0].partition("$")[2]) for name, entry in entries.items()}
    assert kept["anna"] == make_secret("open sesame", salt=kept["anna"].salt)
    assert kept["bert"] == make_secret("hunter2", salt=kept["bert"].salt)
    assert entries["anna"].secrets[1:] == ("{CLEARTEXT}open sesame",)
    users.set_password("anna", "")
    users.set_password("bert", "other", scram=True)
    assert users.users().by_name["anna"].entry.secrets == ()
    assert len(users.users().by_name["bert"].entry.secrets) == 1


def test_the_status_of_a_domain_comes_before_those_of_its_accounts() -> None:
    found = parse_users(DOMAINS).by_name
    assert found["anna@example.com"].entry.status is Status.HOLD
    assert found["bert@example.com"].entry.status is Status.HOLD
    assert found["zoe@other.example"].entry.status is Status.ACTIVE
    assert found["zoe@other.example"].entry.domain == "other.example"


async def test_who_comes_by_another_name_of_the_domain_is_at_home_in_it(users: UsersFile) -> None:
    users.path.write_text(DOMAINS)
    source = directory(users)
    for name in ("bert@example.org", "BERT@Example.ORG"):
        assert (await source.authenticate(name, "secret")).account == "bert@example.com"
    for address in ("info@example.org", "special@example.org"):
        assert (await source.lookup(address)).account == "anna@example.com"
    with pytest.raises(AddressUnknown):
        await source.lookup("special@example.com")
    source.close()


SCRAM = f"SCRAM-SHA-256${make_secret('old', 4096, b'salt')}"


def test_what_the_rules_of_a_login_need() -> None:
    anna = parse_users(
        "accounts: {anna@example.com: {access: '+imap:ALL', administrator: true, dn: 'uid=anna,o=x', "
        f"secrets: ['{SCRAM}', '{{CLEARTEXT}}open sesame']}}, bert@example.com: }}\n"
        "domains: {example.com: {access: '-pop:ALL'}}"
    ).by_name
    entry = anna["anna@example.com"].entry
    assert entry.allowed_access == ("-pop:ALL", "+imap:ALL")
    assert entry.administrator
    assert entry.dn == "uid=anna,o=x"
    assert entry.secrets == (SCRAM, "{CLEARTEXT}open sesame")
    assert "sesame" not in repr(entry)
    other = anna["bert@example.com"].entry
    assert (other.allowed_access, other.administrator, other.dn, other.secrets) == (("-pop:ALL",), False, "", ())


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ("access: 1", "access: rules such as"),
        ('access: "a\\nb"', "access: rules such as"),
        ("dn: [x]", "dn: a distinguished name"),
        ("administrator: 'yes'", "administrator: true or false"),
        ("secrets: hunter2", "secrets: a list of"),
        ("secrets: [hunter2]", "secrets: a list of"),
        ("secrets: ['SCRAM-SHA-1$4096:c2FsdA==$c3RvcmVk:c2VydmVy']", "secrets: a list of"),
        ("secrets: ['{CLEARTEXT}']", "secrets: a list of"),
        ("secrets: ['SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy']", "secrets: a list of"),
        ("secrets: ['4096:c2FsdA==$c3RvcmVk:c2VydmVy']", "secrets: a list of"),
    ],
)
def test_what_the_rules_of_a_login_cannot_use(attributes: str, problem: str) -> None:
    with pytest.raises(UsersFileError) as caught:
        parse_users(f"accounts: {{anna@example.com: {{{attributes}}}}}")
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_an_account_by_the_name_that_logs_in(users: UsersFile) -> None:
    users.add("anna@example.com", "secret", aliases=["info@example.com"])
    found = directory(users, "example.com")
    for name in ("anna", "ANNA@example.com", "info@example.com"):
        assert (await found.account(name)).account == "anna@example.com"
    with pytest.raises(LoginRefused) as caught:
        await found.account("nobody")
    assert caught.value.kind is LoginRefusal.CREDENTIALS
    found.close()


def test_an_edit_of_an_account_keeps_the_domains(users: UsersFile) -> None:
    users.path.write_text(DOMAINS)
    users.set_status("anna@example.com", Status.ACTIVE)
    assert users.users().canonical == {"example.org": "example.com"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("domains: {a.example: {status: asleep}}", "domain a.example: 'asleep' is none of"),
        ("domains: {a.example: {quota: 1}}", "domain a.example: it has status, aliases and access"),
        ("domains: {a.example: {aliases: b.example}}", "a list of domains"),
        ("domains: {a@b.example: {}}", "a domain is text without @"),
        ("domains: {a.example: {aliases: [b.example]}, b.example: {}}", "the alias b.example is another domain"),
        ("domains: {a.example: {aliases: [c.example]}, b.example: {aliases: [c.example]}}", "another one's"),
        ("domains: {a.example: {}, A.Example: {}}", "the same domain as another one above"),
        ("domains: {a.example: {aliases: [b.example]}}\naccounts: {x@b.example: }", "another name of a.example"),
        ("domains: [a.example]", "`domains:` holds a mapping of names"),
    ],
)
def test_what_cannot_be_said_of_a_domain(text: str, problem: str) -> None:
    with pytest.raises(UsersFileError) as caught:
        parse_users(text)
    assert problem in str(caught.value)


def test_an_account_has_all_that_the_file_says() -> None:
    text = f"""
accounts:
  Anna@Example.COM:
    password: {HASH}
    quota: 1G
    messagequota: 1000
    aliases: [info@example.com]
    status: hold
  bert:
"""
    users = parse_users(text)
    anna = users.by_name["anna@example.com"]
    assert anna.entry.quota == Quota(1 << 30, 1000)
    assert (anna.entry.status, anna.entry.delivery) == (Status.HOLD, Delivery.DEFERRED)
    assert users.by_alias["info@example.com"] is anna
    assert users.by_name["bert"].entry.quota == Quota()
    assert parse_users("") == parse_users("accounts:\n")


def test_every_problem_of_the_file_is_told() -> None:
    text = """
accounts:
  "a b@example.com": {}
  anna@example.com: {password: hunter2, quota: much, colour: red}
  ANNA@example.com: {aliases: [bert]}
  bert: {status: gone, messagequota: -1}
  "": {}
  carl+x: {}
  dora: {aliases: [emil]}
  emil: 7
"""
    with pytest.raises(UsersFileError) as caught:
        parse_users(text)
    problems = "\n".join(caught.value.problems)
    assert "hunter2" not in problems
    for part in ("a b@example.com", "not an Argon2 hash", "'much'", "colour", "'gone'", "-1", "+: what", "mapping"):
        assert part in problems


@pytest.mark.parametrize(
    "text",
    ["- x", "accounts: [a]", "people: {}", "accounts: {a: {}, a: {}}", "accounts: {a: {}, A: {}}", "{", "a: *b"],
)
def test_a_file_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(UsersFileError):
        parse_users(text)


def test_an_alias_belongs_to_one_account() -> None:
    with pytest.raises(UsersFileError, match="another account"):
        parse_users("accounts: {a: {aliases: [x]}, b: {aliases: [x]}}")
    with pytest.raises(UsersFileError, match="another account"):
        parse_users("accounts: {a: {aliases: [b]}, b: {}}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_edits_by_root_lock_nobody_out(tmp_path: Path) -> None:
    os.chown(tmp_path, 4242, 4243)
    users = UsersFile(tmp_path / "users.yaml")
    users.add("zoe@example.com")
    users.add("anna@example.com")
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()}
    assert owners == {"users.yaml": (4242, 4243), "users.yaml.lock": (4242, 4243)}


def test_edits_keep_order_and_permissions(users: UsersFile) -> None:
    users.add("zoe@example.com", "pw", quota=1 << 30, aliases=["z@example.com"])
    users.add("anna@example.com")
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600
    os.chmod(users.path, 0o640)
    users.set_password("ANNA@example.com", "new")
    users.set_status("zoe@example.com", Status.DISABLED)
    users.change("zoe@example.com", quota=None)
    assert users.names() == ["zoe@example.com", "anna@example.com"]
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o640
    found = users.users().by_name
    assert verify(found["anna@example.com"].password, "new")
    assert found["zoe@example.com"].entry.status is Status.DISABLED
    assert found["zoe@example.com"].entry.quota == Quota()
    users.remove("zoe@example.com")
    assert users.names() == ["anna@example.com"]


def test_edits_that_make_no_sense_change_nothing(users: UsersFile) -> None:
    users.add("anna@example.com", aliases=["info@example.com"])
    before = users.path.read_text()
    edits: list[Callable[[], None]] = [
        lambda: users.add("Anna@example.com"),
        lambda: users.add("no name"),
        lambda: users.add("bert", aliases=["info@example.com"]),
        lambda: users.remove("nobody"),
        lambda: users.change("anna@example.com", quota="much"),
    ]
    for edit in edits:
        with pytest.raises(UsersFileError):
            edit()
    assert users.path.read_text() == before


def test_edits_by_several_at_once_are_all_kept(users: UsersFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: UsersFile(users.path).add(f"user{number}@example.com"), range(40)))
    assert sorted(users.names()) == sorted(f"user{number}@example.com" for number in range(40))


async def test_names_are_compared_without_case_and_in_one_form(users: UsersFile) -> None:
    users.add("anna@example.com", aliases=["jürgen@example.com"])
    found = directory(users)
    for name in ("Anna@EXAMPLE.com", " anna@example.com ", "anna@example.com.", "jürgen@Example.com"):
        assert (await found.lookup(name)).account == "anna@example.com"
    with pytest.raises(AddressUnknown):
        await found.lookup("anna")
    found.close()


@pytest.mark.parametrize("written", ["anna", "anna@example.com"])
async def test_the_default_domain_may_be_left_out_or_put_on(users: UsersFile, written: str) -> None:
    users.add(written)
    found = directory(users, "Example.com")
    assert (await found.lookup("anna")).account == written
    assert (await found.lookup("ANNA@example.com")).account == written
    with pytest.raises(AddressUnknown):
        await found.lookup("anna@other.example")
    found.close()


async def test_an_unknown_name_is_checked_like_a_known_one(users: UsersFile, monkeypatch: pytest.MonkeyPatch) -> None:
    users.add("anna@example.com", "secret")
    users.add("nopassword@example.com")
    found = directory(users)
    checked: list[str] = []
    real = PasswordChecker.verify

    async def spy(self: PasswordChecker, stored: str, password: str) -> bool:
        checked.append(stored)
        return await real(self, stored, password)

    monkeypatch.setattr(PasswordChecker, "verify", spy)
    assert (await found.authenticate("anna@example.com", "secret")).account == "anna@example.com"
    for name, password in (("anna@example.com", "wrong"), ("nobody", "secret"), ("nopassword@example.com", "")):
        with pytest.raises(LoginRefused) as caught:
            await found.authenticate(name, password)
        assert caught.value.kind is LoginRefusal.CREDENTIALS
    assert {stored.rpartition("$")[0].rpartition("$")[0] for stored in checked} == {"$argon2id$v=19$m=19456,t=2,p=1"}
    assert len(checked) == 4
    found.close()


async def test_a_changed_file_is_taken_up_and_a_bad_one_is_not(
    users: UsersFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usersdirectory, "CHECK_SECONDS", 0.0)
    found = directory(users)
    generation = found.generation
    users.add("anna@example.com", "secret")
    assert (await found.lookup("anna@example.com")).account == "anna@example.com"
    assert found.generation > generation
    users.path.write_text("accounts: {anna@example.com: {password: oops}}")
    assert (await found.lookup("anna@example.com")).account == "anna@example.com"
    users.path.write_text("accounts: {}")
    with pytest.raises(AddressUnknown):
        await found.lookup("anna@example.com")
    found.close()


async def test_too_many_waiting_passwords_are_a_failure_for_now() -> None:
    checker = PasswordChecker(threads=1, max_waiting=2)
    results = await asyncio.gather(*(checker.verify(HASH, "secret") for _ in range(5)), return_exceptions=True)
    assert [result for result in results if not isinstance(result, BaseException)] == [True, True]
    assert sum(isinstance(result, DirectoryUnavailable) for result in results) == 3
    assert checker.waiting == 0
    checker.close()


@pytest.mark.parametrize(
    ("text", "name"),
    [("A@B.C", "a@b.c"), ("a@b@c", "a@b@c"), ("plain", "plain"), ("x@", "x"), ("ÄÖ@Ü.de", "äö@ü.de")],
)
def test_names_fold(text: str, name: str) -> None:
    assert str(parse_name(text)) == name


@pytest.mark.parametrize(("text", "size"), [("1G", 1 << 30), ("10 kb", 10240), ("5", 5), ("2MiB", 2 << 20), ("0", 0)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1.5G", "1P", "1e3", "٣"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


async def test_a_file_system_that_hangs_holds_nobody_up(users: UsersFile, monkeypatch: pytest.MonkeyPatch) -> None:
    users.add("anna@example.com")
    found, answers, asked = directory(users), threading.Event(), threading.Event()

    def hanging(path: Path | str) -> None:
        asked.set()
        answers.wait(10)

    monkeypatch.setattr(usersdirectory, "signature", hanging)
    monkeypatch.setattr(usersdirectory, "PATIENCE", 0.02)
    try:
        assert not found.current
        assert (await found.lookup("anna@example.com")).account == "anna@example.com"
        assert asked.is_set()
        assert found.current
    finally:
        answers.set()
    await found.refresh()
    found.close()


async def test_the_first_login_after_a_change_is_measured_by_it(
    users: UsersFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    users.add("anna@example.com", "secret")
    found = directory(users)
    login = Login(found, Live(DirectoryOptions(usersfile=str(users.path), faildelay=0)))
    await login.password("imap", "anna@example.com", "secret", Peer("192.0.2.1"))
    assert login.cached("imap", "anna@example.com", "secret", Peer("192.0.2.1")) is not None
    users.set_password("anna@example.com", "other")
    monkeypatch.setattr(usersdirectory, "CHECK_SECONDS", 0.0)
    assert login.cached("imap", "anna@example.com", "secret", Peer("192.0.2.1")) is None
    with pytest.raises(LoginRefused):
        await login.password("imap", "anna@example.com", "secret", Peer("192.0.2.1"))
    assert (await login.password("imap", "anna@example.com", "other", Peer("192.0.2.1"))).account == "anna@example.com"
    found.close()
