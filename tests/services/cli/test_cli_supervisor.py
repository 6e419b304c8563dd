"""`mailkeep run`: starts in order, restarts what dies, reloads, stops; says what keeps it from starting."""

from __future__ import annotations

import imaplib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.running import PASSWORD, USER, RunningServices, free_ports, running

pytestmark = pytest.mark.running
QUIET = {"MAILKEEP_LMTP_ENABLE": "no", "MAILKEEP_POP_ENABLE": "no"}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    """Store and IMAP."""
    with running(tmp_path_factory.mktemp("supervisor") / "data", **QUIET) as started:
        started.wait_for_log("Mailkeep is running")
        yield started


def pid_of(log: str, service: str) -> int:
    """The last process of a service that said it started."""
    return int(re.findall(rf"event=started service={service} .*pid=(\d+)", log)[-1])


def read_mail(services: RunningServices) -> None:
    client = imaplib.IMAP4("127.0.0.1", services.imap, timeout=60)
    client.login(USER, PASSWORD)
    assert client.select("INBOX")[0] == "OK"
    client.logout()


@pytest.mark.parametrize("service", ["imap", "store"])
def test_what_is_killed_is_started_again(services: RunningServices, service: str) -> None:
    before = services.log.read_text()
    starts = before.count(f"event=started service={service}")
    os.kill(pid_of(before, service), signal.SIGKILL)
    log = services.wait_for_log(f"event=started service={service}", starts + 1)
    assert f'event="ended; starting it again" service=supervisor process={service}/0 ended=SIGKILL' in log
    read_mail(services)


def test_the_store_may_die_again_and_again(services: RunningServices) -> None:
    for _ in range(2):
        log = services.log.read_text()
        os.kill(pid_of(log, "store"), signal.SIGKILL)
        services.wait_for_log("event=started service=store", log.count("event=started service=store") + 1)
    read_mail(services)


def test_a_banner_is_changed_while_clients_are_connected(services: RunningServices) -> None:
    assert services.process is not None
    client = imaplib.IMAP4("127.0.0.1", services.imap, timeout=60)
    (services.data / "mailkeep.yaml").write_text("imap:\n  banner: Harbour mail\n")
    reads = services.log.read_text().count('event="configuration read" service=imap')
    services.process.send_signal(signal.SIGHUP)
    services.wait_for_log('event="configuration read" service=imap', reads + 1)
    second = imaplib.IMAP4("127.0.0.1", services.imap, timeout=60)
    assert b"Harbour mail" in second.welcome
    client.login(USER, PASSWORD)
    for each in (client, second):
        each.logout()


def test_a_second_run_on_the_folder_is_refused(services: RunningServices) -> None:
    assert services.process is not None
    code, said = services.refused("run")
    assert code == 1
    assert said == f"mailkeep runs already on {services.data} (process {services.process.pid}): stop it first\n"
    restore = services.data.parent / "backup"
    restore.mkdir()
    code, said = services.refused("store", "restore", str(restore))
    assert (code, "stop it first" in said) == (1, True)


def test_services_do_not_outlive_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "data", **QUIET) as services:
        assert services.process is not None
        log = services.wait_for_log("Mailkeep is running")
        services.process.kill()
        services.process.wait()
        for service in ("imap", "store"):
            gone(pid_of(log, service))
        services.start()
        read_mail(services)


def gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} is still there")


def test_a_stop_keeps_its_order_and_its_time(tmp_path: Path) -> None:
    with running(tmp_path / "data", **QUIET) as services:
        services.wait_for_log("Mailkeep is running")
        client = imaplib.IMAP4("127.0.0.1", services.imap, timeout=60)
        client.login(USER, PASSWORD)
        begun = time.monotonic()
        assert services.stop() == 0
        # Two seconds each, as the options of the test say, and what a loaded machine takes beside them.
        assert time.monotonic() - begun < 30
        log = services.log.read_text()
        assert log.index("event=stopped service=imap") < log.index("event=stopping service=store")
        client.shutdown()


def test_a_stop_during_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    services = RunningServices(tmp_path / "data", **QUIET)
    services.data.mkdir()
    words = [sys.executable, "-m", "services.cli", "run"]
    for pause in (0.0, 0.05, 0.3):
        with subprocess.Popen(words, env=services.environ, stderr=subprocess.PIPE) as process:
            lock = services.data / "run" / "mailkeep.lock"
            while not (lock.exists() and lock.read_text().strip() == str(process.pid)):
                time.sleep(0.01)
            found = children(process.pid)
            while not (found := children(process.pid)):
                time.sleep(0.01)
            time.sleep(pause)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        assert process.returncode == 0
        for pid in found:
            gone(pid)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_every_error_is_told_before_anything_starts(tmp_path: Path) -> None:
    with taken() as port:
        services = RunningServices(tmp_path / "data", MAILKEEP_IMAP_PORT=str(port), MAILKEEP_POP_PORT=str(port + 1))
        services.data.mkdir()
        (services.data / "users.yaml").write_text("accounts: [1]\n")
        (services.data / "mailkeep.yaml").write_text("tls: {certfile: no.pem, keyfile: no.pem}\n")
        code, said = services.refused("run")
        assert code == 78
        for name in ("imap.port", "tls.certfile", "directory.usersfile"):
            assert f"  {name}: " in said
        assert "is in use by another program" in said
        assert not (services.data / "store").exists()
        checked = services.command("config", "check", "--ports", "--json", check=False)
        assert checked.returncode == 78
        named = {problem["option"] for problem in json.loads(checked.stdout)["errors"]}
        assert named >= {"imap.port", "tls.certfile", "directory.usersfile"}


@contextmanager
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_all_bad_options_are_named_together(tmp_path: Path) -> None:
    services = RunningServices(tmp_path, MAILKEEP_IMAP_IDLETIMEOUT="5", MAILKEEP_POP_MAXSESSIONS="many")
    for words in (("run",), ("config", "check"), ("who",), ("account", "list")):
        code, said = services.refused(*words)
        assert code == 78
        assert "imap.idletimeout" in said
        assert "pop.maxsessions" in said


def test_a_service_that_cannot_start_ends_the_start(tmp_path: Path) -> None:
    services = RunningServices(tmp_path / "data", **QUIET)
    (services.data / "store").mkdir(parents=True)
    (services.data / "store" / "metadata.db").write_text("this is no database " * 500)
    code, said = services.refused("run")
    assert code == 1
    assert 'event="cannot start" service=supervisor process=store/0' in said


def test_without_a_store_commands_say_so_at_once(tmp_path: Path) -> None:
    services = RunningServices(tmp_path / "data")
    services.data.mkdir()
    for words in (("who",), ("kick", "--user", USER), ("store", "check"), ("mailbox", "list", USER),
                  ("import", USER, "/dev/null"), ("account", "delete", USER, "--yes")):  # fmt: skip
        code, said = services.refused(*words)
        assert (code, "is it running? (mailkeep run)" in said) == (69, True)
    code, _ = services.refused("status")
    assert code == 69
    services.command("account", "add", USER, "--password-stdin", given="x\n")
    done = services.command("account", "list", "--json")
    assert json.loads(done.stdout)[0]["messages"] is None
    assert "the store does not answer" in done.stderr


def test_the_demo_starts_twice_and_keeps_everything(tmp_path: Path) -> None:
    low = dict(zip(("IMAP", "POP"), (str(port) for port in low_ports(2)), strict=True))
    services = RunningServices(
        tmp_path / "data", MAILKEEP_LMTP_ENABLE="no", MAILKEEP_IMAP_PORT=low["IMAP"], MAILKEEP_POP_PORT=low["POP"]
    )
    services.imap, services.pop = int(low["IMAP"]) + 1000, int(low["POP"]) + 1000
    services.start("--demo", "--json")
    log = services.wait_for_log('"data"')
    assert '"security": "STARTTLS"' in log
    before = services.json("mailbox", "list", "demo@example.com")
    assert sum(row["messages"] for row in before) > 300
    client = imaplib.IMAP4_SSL("127.0.0.1", services.imaps, timeout=60)
    client.login("demo@example.com", "demo")
    client.select("INBOX")
    client.store("1", "+FLAGS", r"(\Deleted)")
    client.expunge()
    client.logout()
    assert services.stop() == 0
    services.log.write_text("")
    services.start("--demo")
    log = services.wait_for_log("Ctrl-C stops everything")
    assert f"curl -u demo@example.com:demo imap://127.0.0.1:{services.imap}/" in log
    after = services.json("mailbox", "list", "demo@example.com")
    assert after[0]["messages"] == before[0]["messages"] - 1
    assert after[1:] == before[1:]
    assert services.stop() == 0


def low_ports(count: int) -> list[int]:
    """Ports below 1024 whose raised numbers are free; nobody opens the low ones."""
    found = []
    for low in range(400, 1000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", low + 1000)):
                found.append(low)
        if len(found) == count:
            return found
    raise AssertionError(free_ports(1))
