"""A service as a process: start, reload in place, refuse a bad reload, drain."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.common.descriptors import ENOUGH
from services.common.process import notify
from tests.support.running import free_ports

ROOT = Path(__file__).parents[3]


@dataclass
class Service:
    """The running process."""

    process: subprocess.Popen[bytes]
    file: Path
    log: Path
    port: int
    admin: int

    def connect(self) -> socket.socket:
        """A client that has read the greeting."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        assert client.recv(100) == b"hello\n"
        return client

    def get(self, page: str) -> tuple[int, str]:
        """A page of the admin port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{page}", timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """The value of a sample."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    def events(self) -> list[dict[str, object]]:
        """The log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def configure(self, text: str) -> None:
        """Replace the configuration file, as an editor or a ConfigMap does."""
        new = self.file.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.file)


def eventually(check: Callable[[], object]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def environment(data: Path, **more: str) -> dict[str, str]:
    """Nothing of our own surroundings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAILKEEP_")}
    return {**clean, "MAILKEEP_DATA": str(data), **more}


def command() -> list[str]:
    """As from a shell with the usual limit of open files."""
    return ["sh", "-c", 'ulimit -Sn 1024; exec "$@"', "sh", sys.executable, "-m", "tests.support.lineservice"]


@contextmanager
def started(tmp_path: Path, **more: str) -> Iterator[Service]:
    """The process with these variables beside its ports."""
    port, admin = free_ports(2)
    file, log = tmp_path / "mailkeep.yaml", tmp_path / "log"
    file.write_text("log: {format: json}\n")
    env = environment(
        tmp_path,
        MAILKEEP_IMAP_PORT=str(port),
        MAILKEEP_IMAP_ADMINPORT=str(admin),
        MAILKEEP_IMAP_DRAINSECONDS="2",
        **more,
    )
    with log.open("wb") as stderr:
        process = subprocess.Popen(command(), cwd=ROOT, env=env, stderr=stderr)
    running = Service(process, file, log, port, admin)
    try:
        eventually(lambda: b'"started"' in log.read_bytes())
        yield running
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with started(tmp_path) as running:
        yield running


def test_the_admin_port_has_an_address_of_its_own(tmp_path: Path) -> None:
    with started(tmp_path, MAILKEEP_IMAP_LISTEN="127.0.0.2", MAILKEEP_IMAP_ADMINLISTEN="127.0.0.3") as running:
        socket.create_connection(("127.0.0.2", running.port), timeout=10).close()
        socket.create_connection(("127.0.0.3", running.admin), timeout=10).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", running.admin), timeout=10)


def test_a_changed_file_is_taken_up_without_dropping_anybody(service: Service) -> None:
    client = service.connect()
    assert service.metric('mailkeep_sessions_limit{service="imap"}') == 4000
    service.configure("log: {format: json}\nimap: {maxsessions: 1}\nstore: {path: elsewhere}")
    eventually(lambda: service.metric('mailkeep_sessions_limit{service="imap"}') == 1)
    client.sendall(b"still\n")
    assert client.recv(100) == b"echo still\n"
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as second:
        assert second.recv(100) == b"away process\n"
    waiting = [event["options"] for event in service.events() if event["event"] == "some options wait for a restart"]
    assert waiting == ["store.path"]
    client.close()


def test_a_bad_reload_keeps_the_old_values_and_says_so(service: Service) -> None:
    service.configure("imap: {idletimeout: 1, maxsessions: 7}\npop: {port: x}")
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: service.metric('mailkeep_config_reloads_total{result="failed"}') >= 1)
    assert service.metric("mailkeep_config_last_reload_successful") == 0
    assert service.metric('mailkeep_sessions_limit{service="imap"}') == 4000
    refused = {str(event["problem"]).split(":")[0] for event in service.events() if "problem" in event}
    assert refused == {"imap.idletimeout", "pop.port"}
    service.configure("log: {format: json}\n")
    eventually(lambda: service.metric("mailkeep_config_last_reload_successful") == 1)


def test_it_may_open_as_many_files_as_the_system_allows(service: Service) -> None:
    limits = Path(f"/proc/{service.process.pid}/limits").read_text()
    (soft, hard) = re.findall(r"^Max open files +(\S+) +(\S+)", limits, re.MULTILINE)[0]
    assert int(soft) == (ENOUGH if hard == "unlimited" else min(int(hard), ENOUGH))


def test_it_drains_and_ends_well(service: Service) -> None:
    assert service.get("/healthz") == (200, "ok\n")
    assert service.get("/readyz") == (503, "store: not ready\n")
    client = service.connect()
    service.process.send_signal(signal.SIGTERM)
    assert client.recv(100) == b"bye SHUTDOWN\n"
    client.close()
    assert service.process.wait(60) == 0
    assert [event["event"] for event in service.events()][-2:] == ["stopping", "stopped"]


def refusal(tmp_path: Path, **more: str) -> str:
    """What a start with this environment says before it ends with EX_CONFIG."""
    env = environment(tmp_path, **more)
    result = subprocess.run(command(), cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 78
    return result.stderr


def test_every_configuration_error_is_told_before_anything_starts(tmp_path: Path) -> None:
    told = refusal(tmp_path, MAILKEEP_IMAP_PORT="0", MAILKEEP_LOG_LEVEL="loud")
    assert "imap.port" in told
    assert "log.level" in told


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "in use" in refusal(tmp_path, MAILKEEP_IMAP_PORT=str(taken.getsockname()[1]))


def test_a_users_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "users.yaml").write_text("accounts: {anna: {password: oops}}")
    free = str(free_ports(1)[0])
    assert "not an Argon2 hash" in refusal(tmp_path, MAILKEEP_IMAP_PORT=free, MAILKEEP_IMAP_ADMINPORT="0")


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"
    notify("STOPPING=1")
