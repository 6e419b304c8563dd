"""`mailkeep who`, `kick` and `status` over several processes of a service."""

from __future__ import annotations

import json
import poplib
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.processes import eventually
from tests.support.running import OTHER, PASSWORD, USER, RunningServices, free_ports, running

pytestmark = pytest.mark.running
CLIENTS = 12


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    """Two IMAP processes on one port."""
    first = free_pair()
    overrides = {"MAILKEEP_IMAP_NUMPROCESSES": "2", "MAILKEEP_IMAP_ADMINPORT": str(first)}
    with running(tmp_path_factory.mktemp("who") / "data", MAILKEEP_LMTP_ENABLE="no", **overrides) as started:
        started.admin["imap"] = first
        yield started


def free_pair() -> int:
    """The first of two ports in a row."""
    for port in free_ports(50):
        with socket.socket() as one, socket.socket() as other, suppress(OSError):
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 1))
            return port
    raise AssertionError


def connect(services: RunningServices, user: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", services.imap), 20)
    client.sendall(f'a LOGIN {user} "{PASSWORD}"\r\n'.encode())
    seen = b""
    while b"a OK" not in seen:
        seen += client.recv(4096)
    return client


def ended(client: socket.socket) -> bool:
    client.settimeout(60)
    while data := client.recv(4096):
        assert data.startswith(b"* BYE")
    client.close()
    return True


def who(services: RunningServices, count: int, *words: str) -> list[dict[str, object]]:
    """Sessions, when the processes have told the store of them (four times a second)."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found: list[dict[str, object]] = services.json("who", *words)
        if len(found) == count:
            return found
    raise AssertionError(found)


def test_sessions_of_all_processes_are_seen_and_ended(services: RunningServices) -> None:
    clients = [connect(services, USER if number % 2 else OTHER) for number in range(CLIENTS)]
    found = who(services, CLIENTS)
    assert len({row["process"] for row in found}) == 2
    assert {row["service"] for row in found} == {"imap"}
    assert {row["address"] for row in found} == {"127.0.0.1"}
    assert len(who(services, CLIENTS // 2, "--user", USER.upper())) == CLIENTS // 2
    assert services.json("kick", "--session", str(found[0]["session_id"])) == {"kicked": 1}
    assert services.json("kick", "--user", USER)["kicked"] in {CLIENTS // 2, CLIENTS // 2 - 1}
    assert "session" in services.command("kick", "--service", "imap").stdout
    assert all(ended(client) for client in clients)
    who(services, 0)


def test_kick_by_service_and_address_takes_only_those(services: RunningServices) -> None:
    imap, pop = connect(services, USER), poplib.POP3("127.0.0.1", services.pop, timeout=60)
    pop.user(OTHER)
    pop.pass_(PASSWORD)
    who(services, 2)
    assert [row["user"] for row in services.json("who", "--service", "pop")] == [OTHER]
    assert services.json("kick", "--service", "pop") == {"kicked": 1}
    assert [row["service"] for row in who(services, 1)] == ["imap"]
    assert services.json("kick", "--address", "192.0.2.1") == {"kicked": 0}
    assert services.json("kick", "--address", "127.0.0.1") == {"kicked": 1}
    assert ended(imap)
    pop.close()


def test_kick_wants_to_know_whom(services: RunningServices) -> None:
    assert services.refused("kick")[0] == 2
    assert services.refused("who", "--service", "fax")[0] == 2


def test_status_asks_every_process(services: RunningServices) -> None:
    client = connect(services, USER)
    told = services.json("status")
    assert told["ready"] is True
    assert services.process is not None
    assert told["supervisor"] == services.process.pid
    rows = {(row["service"], row["process"]): row for row in told["processes"]}
    assert rows.pop(("lmtp", None))["state"] == "disabled"
    assert set(rows) == {("store", 0), ("pop", 0), ("imap", 0), ("imap", 1), ("http", 0)}
    assert {row["state"] for row in rows.values()} == {"ready"}
    assert rows["imap", 0]["sessions"] + rows["imap", 1]["sessions"] == 1
    assert "supervisor: process" in services.command("status").stdout
    client.close()


def test_the_limit_of_sessions_is_each_process_s_own(services: RunningServices) -> None:
    def limits() -> list[bytes]:
        pages = (
            urllib.request.urlopen(f"http://127.0.0.1:{services.admin['imap'] + n}/metrics", timeout=60) for n in (0, 1)
        )
        lines = [line for page in pages for line in page.read().splitlines()]
        return [line.rpartition(b" ")[2] for line in lines if line.startswith(b"mailkeep_sessions_limit")]

    eventually(lambda: len(services.json("who")) == 0)
    services.command("configutil", "-o", "service.imap.maxsessions", "-v", "1")
    eventually(lambda: limits() == [b"1.0", b"1.0"])
    clients = [socket.create_connection(("127.0.0.1", services.imap), 90) for _ in range(30)]
    greetings = [client.recv(100) for client in clients]
    assert sum(greeting.startswith(b"* OK") for greeting in greetings) == 2
    assert sum(greeting.startswith(b"* BYE [LIMIT]") for greeting in greetings) == 28
    for client in clients:
        client.close()
    services.command("configutil", "-o", "service.imap.maxsessions", "-d")
    eventually(lambda: limits() == [b"4000.0", b"4000.0"])


def test_status_knows_others_on_the_same_ports(services: RunningServices, tmp_path: Path) -> None:
    other = RunningServices(tmp_path / "other", **{**services.environ, "MAILKEEP_DATA": str(tmp_path / "other")})
    other.data.mkdir(parents=True)
    done = other.command("status", "--json", check=False)
    assert done.returncode == 69
    told = json.loads(done.stdout)
    assert not told["ready"]
    states = {row["state"] for row in told["processes"] if row["service"] != "lmtp"}
    assert states == {"is not of this data folder"}
