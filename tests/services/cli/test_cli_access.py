"""`mailkeep access test`, as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGURATION = """
imap:
  domainallowed: ["imap: 192.0.2.0/24 EXCEPT 192.0.2.9", "imap@[2001:db8::1]: ALL"]
  domainnotallowed: ["ALL: ALL"]
"""


def ask(folder: Path, *arguments: str, service: str = "imap") -> subprocess.CompletedProcess[str]:
    (folder / "mailkeep.yaml").write_text(CONFIGURATION)
    command = [sys.executable, "-m", "services.cli", "access", "test", "--service", service, *arguments]
    return subprocess.run(
        command,
        env={**os.environ, "MAILKEEP_DATA": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_filter_that_decides_is_named(tmp_path: Path) -> None:
    found = ask(tmp_path, "--address", "192.0.2.7", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == {
        "service": "imap",
        "address": "192.0.2.7",
        "allowed": True,
        "filter": "imap: 192.0.2.0/24 EXCEPT 192.0.2.9",
        "because": "an allow filter matches",
    }


def test_who_may_not_connect_is_told_by_the_exit_code_too(tmp_path: Path) -> None:
    found = ask(tmp_path, "--address", "192.0.2.9")
    assert found.returncode == 1
    assert "ALL: ALL" in found.stdout
    assert "a deny filter matches" in found.stdout


def test_the_address_that_is_connected_to_counts(tmp_path: Path) -> None:
    assert ask(tmp_path, "--address", "10.0.0.1", "--server", "2001:db8::1").returncode == 0
    assert ask(tmp_path, "--address", "10.0.0.1", "--server", "2001:db8::2").returncode == 1


def test_another_service_has_its_own_filters(tmp_path: Path) -> None:
    found = ask(tmp_path, "--address", "10.0.0.1", service="pop")
    assert found.returncode == 0
    assert "no filter matches" in found.stdout


USERS = """
accounts:
  anna@example.com: {access: "+imaps,pops:ALL$+imap:192.0.2.5"}
  bert@example.com: {access: "+imap:.example.org"}
  carl@example.com: {status: hold}
domains:
  example.com: {access: "-pop:ALL$-imap:192.0.2.8", aliases: [example.org]}
"""
ACCOUNT_CASES = [
    ("anna@example.com", "192.0.2.7", True, 0, {"rule": "+imaps,pops:ALL", "status": "active"}),
    ("Anna@example.org", "192.0.2.7", True, 0, {"account": "anna@example.com"}),
    ("anna@example.com", "192.0.2.7", False, 1, {"rule": None, "filter": "imap: 192.0.2.0/24 EXCEPT 192.0.2.9"}),
    ("anna@example.com", "192.0.2.5", False, 0, {"rule": "+imap:192.0.2.5"}),
    ("anna@example.com", "192.0.2.8", True, 1, {"rule": "-imap:192.0.2.8", "because": "a deny filter matches"}),
    ("anna@example.com", "192.0.2.9", True, 1, {"filter": "ALL: ALL", "because": "a deny filter matches"}),
    ("carl@example.com", "192.0.2.7", True, 1, {"because": "the account is hold", "status": "hold"}),
    ("dora@example.com", "192.0.2.7", True, 1, {"because": "there is no such account"}),
]


@pytest.mark.parametrize(("user", "address", "tls", "code", "told"), ACCOUNT_CASES)
def test_the_rules_of_domain_and_account(
    tmp_path: Path, user: str, address: str, tls: bool, code: int, told: dict[str, object]
) -> None:
    (tmp_path / "users.yaml").write_text(USERS)
    words = ("--address", address, "--user", user, *(["--tls"] if tls else []), "--json")
    found = ask(tmp_path, *words)
    assert found.returncode == code, found.stderr
    said = json.loads(found.stdout)
    assert {key: said.get(key) for key in told} == told
    assert said["allowed"] is (code == 0)
    assert (said["user"], said["tls"]) == (user, tls)


def test_a_directory_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "users.yaml").write_text("accounts: [")
    found = ask(tmp_path, "--address", "192.0.2.7", "--user", "anna@example.com")
    assert found.returncode == 78
    assert "directory.usersfile" in found.stderr
    assert "Traceback" not in found.stderr


def test_http_has_filters_and_rules_too(tmp_path: Path) -> None:
    (tmp_path / "users.yaml").write_text('accounts: {anna@example.com: {access: "+https:ALL"}}')
    words = ("--address", "192.0.2.9", "--user", "anna@example.com")
    assert ask(tmp_path, *words, service="http").returncode == 1
    assert ask(tmp_path, *words, "--tls", service="http").returncode == 0


def test_what_is_no_address_is_a_usage_error(tmp_path: Path) -> None:
    found = ask(tmp_path, "--address", "mail.example.org")
    assert found.returncode == 2
    assert "is no IP address" in found.stderr
