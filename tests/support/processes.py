"""The services as processes that a test starts, signals, kills and looks into one by one."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from services.common.passwords import hash_password
from tests.support.running import OTHER, PASSWORD, USER, RunningServices

ALL: Final = ("store", "lmtp", "pop", "imap", "http")
CONTENT: Final = b"quixotic-wombat"
"""A word that each message of these tests holds, and no log may."""
_PLAIN: Final = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())
SECRETS: Final = (PASSWORD.encode(), _PLAIN, base64.b64encode(PASSWORD.encode()), CONTENT)
_START_SECONDS: Final = 60.0


def eventually(check: Callable[[], object], seconds: float = 60.0, pause: float = 0.02) -> None:
    """Wait until it holds. `pause`: between looks, where looking itself makes work."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(pause)


def write_users(data: Path) -> None:
    """The accounts USER and OTHER."""
    known = hash_password(PASSWORD)
    data.mkdir(parents=True, exist_ok=True)
    (data / "users.yaml").write_text(
        yaml.safe_dump({"accounts": {user: {"password": known} for user in (USER, OTHER)}})
    )


class Processes:
    """Logs are JSON lines, one file for each service, and searched for secrets at the end."""

    def __init__(self, data: Path, **overrides: str) -> None:
        """`overrides` are options as variables without `MAILKEEP_`; "" takes one out of the environment."""
        write_users(data)
        self.services = RunningServices(data)
        self.environ = self.services.environ
        for name, value in {"LOG_FORMAT": "json", **overrides}.items():
            self.environ[f"MAILKEEP_{name}"] = value
            if not value:
                del self.environ[f"MAILKEEP_{name}"]
        self._data = data
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        """Start services and wait until they are ready."""
        for name in names:
            self.spawn(name)
        for name in names:
            self.await_ready(name)

    def spawn(self, name: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a service and do not wait for it. `more` is environment of its own."""
        with open(self.log(name), "ab") as log:
            process = self._running[name] = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"],
                env={**self.environ, **more}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        return process

    def revive(self, name: str) -> None:
        """Let it go on where it was stopped, start it again where it ended."""
        if self._running[name].poll() is None:
            self._running[name].send_signal(signal.SIGCONT)
        else:
            self.spawn(name)

    def await_ready(self, name: str) -> None:
        """Wait for a service that was started."""

        def ready() -> bool:
            assert self._running[name].poll() is None, f"{name} ended:\n{self.log(name).read_text()[-4000:]}"
            try:
                return self.page(name, "/readyz")[0] == 200
            except OSError:
                return False

        eventually(ready, _START_SECONDS)

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal."""
        process = self._running[name]
        assert process.poll() is None, f"{name} ended by itself:\n{self.log(name).read_text()[-4000:]}"
        process.send_signal(number)

    def kill(self, name: str) -> None:
        """`kill -9`."""
        self.send(name, signal.SIGKILL)
        self._running[name].wait()

    def ended(self, name: str, seconds: float) -> int:
        """Wait for the end; its exit code."""
        return self._running[name].wait(seconds)

    def page(self, name: str, path: str) -> tuple[int, str]:
        """A page of the admin port. Raises OSError where nobody listens."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.services.admin[name]}{path}", timeout=10
            ) as response:  # fmt: skip
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, sample: str) -> float:
        """The value of a sample, 0 where there is none yet."""
        found = re.search(rf"^{re.escape(sample)} (\S+)$", self.page(name, "/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    def memory(self, name: str) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self._running[name].pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def threads(self, name: str) -> int:
        """Threads as the kernel counts them."""
        return len(list(Path(f"/proc/{self._running[name].pid}/task").iterdir()))

    def log(self, name: str) -> Path:
        """The file that a service's log goes to."""
        return self._data / f"{name}.log"

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(line) for line in self.log(name).read_text().splitlines() if line.startswith("{")]

    def stop(self) -> None:
        """Kill what runs; then no log may hold a password or content."""
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        for log in self._data.glob("*.log"):
            told = [secret for secret in SECRETS if secret in log.read_bytes()]
            assert not told, f"{log.name} tells {told}"

    def faults(self, name: str) -> list[dict[str, Any]]:
        """Log lines with a traceback: what nobody had thought of."""
        return [event for event in self.events(name) if "traceback" in event]


@contextmanager
def processes(data: Path, *names: str, **overrides: str) -> Iterator[Processes]:
    """Services (all of them, unless named) for the time of a test. None may have failed in a way of its own."""
    made = Processes(data, **overrides)
    try:
        made.start(*(names or ALL))
        yield made
        for name in ALL:
            if made.log(name).exists():
                assert not made.faults(name), made.faults(name)
    finally:
        made.stop()
