"""The services as a user runs them: processes under `mailkeep run`, on free ports, in a folder of the test."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PASSWORD = "correct horse"
USER = "anna@example.com"
OTHER = "bert@example.com"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now.

    From below the range that the system gives to clients: a service that is killed and started again must find its
    port free, although hundreds of connections were opened meanwhile.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as attempt, suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


class RunningServices:
    """Store, lmtp, pop, imap and http as processes. `environ` is what a `mailkeep` command of the test needs."""

    def __init__(self, data: Path, **overrides: str) -> None:
        self.data = data
        self.imap, self.imaps, self.pop, self.pops, self.lmtp, self.http, self.https, *admin = free_ports(12)
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MAILKEEP_")},
            "MAILKEEP_DATA": str(data),
            "MAILKEEP_IMAP_PORT": str(self.imap),
            "MAILKEEP_IMAP_SSLPORT": str(self.imaps),
            "MAILKEEP_POP_PORT": str(self.pop),
            "MAILKEEP_POP_SSLPORT": str(self.pops),
            "MAILKEEP_LMTP_PORT": str(self.lmtp),
            "MAILKEEP_HTTP_PORT": str(self.http),
            "MAILKEEP_HTTP_SSLPORT": str(self.https),
            "MAILKEEP_IMAP_ADMINPORT": str(admin[0]),
            "MAILKEEP_POP_ADMINPORT": str(admin[1]),
            "MAILKEEP_LMTP_ADMINPORT": str(admin[2]),
            "MAILKEEP_STORE_ADMINPORT": str(admin[3]),
            "MAILKEEP_HTTP_ADMINPORT": str(admin[4]),
            "MAILKEEP_IMAP_DRAINSECONDS": "2",
            "MAILKEEP_POP_DRAINSECONDS": "2",
            "MAILKEEP_LMTP_DRAINSECONDS": "2",
            "MAILKEEP_HTTP_DRAINSECONDS": "2",
            "MAILKEEP_STORE_DRAINSECONDS": "2",
            **overrides,
        }
        self.admin = dict(zip(("imap", "pop", "lmtp", "store", "http"), admin, strict=True))
        self.disabled: set[str] = set()
        """Services that the test's configuration file disables: not waited for."""
        self.process: subprocess.Popen[bytes] | None = None
        self.log = data / "services.log"

    def command(self, *words: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `mailkeep WORDS` with `given` on its standard input."""
        done = subprocess.run(
            [sys.executable, "-m", "services.cli", *words],
            env=self.environ, input=given, text=True, capture_output=True, timeout=100, check=False,
        )  # fmt: skip
        assert not (check and done.returncode), f"mailkeep {' '.join(words)}: {done.returncode}\n{done.stderr[-4000:]}"
        return done

    def json(self, *words: str) -> Any:
        """What `mailkeep WORDS --json` says."""
        return json.loads(self.command(*words, "--json").stdout)

    def refused(self, *words: str, given: str = "") -> tuple[int, str]:
        """Exit code and standard error of a command that fails."""
        done = self.command(*words, given=given, check=False)
        assert done.returncode, done.stdout
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stderr

    def start(self, *options: str) -> None:
        """Start with `options` of `mailkeep run` and wait until every process is ready."""
        self.data.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.cli", "run", *options],
                env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        for service in ("imap", "pop", "lmtp", "http"):
            if service not in self.disabled and self.environ.get(f"MAILKEEP_{service.upper()}_ENABLE") != "no":
                for number in range(int(self.environ.get(f"MAILKEEP_{service.upper()}_NUMPROCESSES", "1"))):
                    self._wait(int(self.environ[f"MAILKEEP_{service.upper()}_ADMINPORT"]) + number)

    def _wait(self, port: int) -> None:
        """Until the process with this admin port is ready: a sibling may take all clients of the port before."""
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
            except OSError:
                if self.process is None or self.process.poll() is not None:
                    raise AssertionError(f"mailkeep run ended:\n{self.log.read_text()}") from None
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"nothing is ready at {port}:\n{self.log.read_text()}")

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def wait_for_log(self, text: str, times: int = 1, seconds: float = 60) -> str:
        """The log, as soon as it has this text so many times."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            log = self.log.read_text()
            if log.count(text) >= times:
                return log
            time.sleep(0.05)
        raise AssertionError(f"no {text!r} in the log:\n{self.log.read_text()}")


@contextmanager
def running(data: Path, **overrides: str) -> Iterator[RunningServices]:
    """Services with the accounts USER and OTHER, stopped at the end."""
    services = RunningServices(data, **overrides)
    services.data.mkdir(parents=True, exist_ok=True)
    for user in (USER, OTHER):
        services.command("account", "add", user, "--password-stdin", given=PASSWORD + "\n")
    services.start()
    try:
        yield services
    finally:
        services.stop()
