"""`mailkeep ban`, as it is typed, on the file that services share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.common.access.marks import MarkRules, address_number, network_key
from services.common.markfile import MarkFile


def mailkeep(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *words],
        env={**os.environ, "MAILKEEP_DATA": str(folder), **more},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def listed(folder: Path) -> list[dict[str, object]]:
    found = mailkeep(folder, "ban", "list", "--json")
    assert found.returncode == 0, found.stderr
    rows: list[dict[str, object]] = json.loads(found.stdout)
    return rows


def test_a_network_is_shut_out_and_let_in_again(tmp_path: Path) -> None:
    assert listed(tmp_path) == []
    added = mailkeep(tmp_path, "ban", "add", "192.0.2.0/24", "--reason", "scans")
    assert added.returncode == 0, added.stderr
    assert "192.0.2.0/24 is shut out for ever" in added.stdout
    assert mailkeep(tmp_path, "ban", "add", "2001:db8::/32", "--minutes", "5").returncode == 0
    ever, soon = listed(tmp_path)
    assert ever == {"network": "192.0.2.0/24", "by": "administrator", "until": None, "reason": "scans"}
    assert soon["network"] == "2001:db8::/32"
    assert 0 < int(str(soon["until"])) - time.time() < 400
    assert mailkeep(tmp_path, "ban", "remove", "192.0.2.0/24").returncode == 0
    assert [row["network"] for row in listed(tmp_path)] == ["2001:db8::/32"]


def test_those_who_failed_are_listed_and_let_in_by_their_network(tmp_path: Path) -> None:
    file, rules, now = MarkFile(str(tmp_path / "run" / "access.state")), MarkRules(failures=1), time.time()
    for address in ("192.0.2.7", "192.0.2.8", "198.51.100.1"):
        assert address_number(address)
        file.change(network_key(address), lambda mark: mark.failed(2, rules, now), rules, now)
    assert {row["network"] for row in listed(tmp_path)} == {"192.0.2.7", "192.0.2.8", "198.51.100.1"}
    assert {row["by"] for row in listed(tmp_path)} == {"failures"}
    refused = mailkeep(tmp_path, "access", "test", "--service", "imap", "--address", "192.0.2.7", "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["because"] == "the address is shut out: mailkeep ban list"
    assert mailkeep(tmp_path, "ban", "remove", "192.0.2.0/24").returncode == 0
    assert [row["network"] for row in listed(tmp_path)] == ["198.51.100.1"]
    assert mailkeep(tmp_path, "access", "test", "--service", "imap", "--address", "192.0.2.7").returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("add", "example.org"), 2, "is no IP address"),
        (("add", "192.0.2.0/33"), 2, "is no IP address"),
        (("add", "192.0.2.7", "--reason", "x" * 40), 2, "at most 32 bytes"),
        (("add", "192.0.2.7", "--minutes", "-1"), 2, "minutes"),
        (("remove", "192.0.2.7"), 1, "is not shut out"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    found = mailkeep(tmp_path, "ban", *words)
    assert found.returncode == code
    assert told in found.stderr
    assert "Traceback" not in found.stderr


def test_without_a_file_there_is_nothing_to_change(tmp_path: Path) -> None:
    found = mailkeep(tmp_path, "ban", "list", MAILKEEP_ACCESS_STATEFILE="")
    assert found.returncode == 1
    assert "access.statefile is empty" in found.stderr
