"""The servers that are measured: started on loopback with a data folder of their own, stopped afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

DOVECOT_CONF = Path(__file__).with_name("dovecot.conf")


class Server(Protocol):
    """A server under measurement; the ports are on 127.0.0.1."""

    name: str
    imap: int
    pop: int
    lmtp: int

    async def start(self, users: list[str], password: str) -> None:
        """Start with these accounts and return when every port answers."""

    async def stop(self) -> None:
        """Stop and wait."""

    def address(self, user: str) -> str:
        """Where LMTP delivers for a user."""

    def memory(self) -> int:
        """Proportional set size of the processes that serve IMAP, in bytes."""

    def cpu(self) -> float:
        """Seconds of CPU that its processes have used so far."""


async def answering(port: int, seconds: float = 60) -> None:
    """Wait until something listens. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return


def proportional_set(pids: list[int]) -> int:
    """Sum of PSS over processes, in bytes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def tree_cpu(root: int | None) -> float:
    """Seconds of CPU that a process and all below it have used, with the children that they waited for."""
    used: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                used[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    total = 0.0
    wave = {root}
    while wave:
        total += sum(used[pid][1] for pid in wave if pid in used)
        wave = {pid for pid, (parent, _) in used.items() if parent in wave}
    return total


def processes(*fragments: str) -> list[int]:
    """Pids whose command line holds every fragment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if all(fragment in line for fragment in fragments):
                    found.append(int(entry.name))
    return found


_ADMIN = ("MAILKEEP_IMAP_ADMINPORT", "MAILKEEP_POP_ADMINPORT", "MAILKEEP_LMTP_ADMINPORT", "MAILKEEP_STORE_ADMINPORT")


class Mailkeep:
    """This project, under its own supervisor."""

    name = "mailkeep"
    imap, pop, lmtp = 2143, 2110, 2524
    metrics = (2943, 2910, 2924)

    def __init__(self, data: Path, *, by_grpc: bool = False) -> None:
        self._data = data
        self._environ = {
            **os.environ,
            "MAILKEEP_DATA": str(data),
            "MAILKEEP_IMAP_PORT": str(self.imap),
            "MAILKEEP_POP_PORT": str(self.pop),
            "MAILKEEP_LMTP_PORT": str(self.lmtp),
            **dict(zip(_ADMIN, map(str, (*self.metrics, 2964)), strict=True)),
            "MAILKEEP_IMAP_ENABLESSLPORT": "no",
            "MAILKEEP_POP_ENABLESSLPORT": "no",
            "MAILKEEP_HTTP_ENABLE": "no",
            "MAILKEEP_STORE_BODYACCESS": "grpc" if by_grpc else "auto",
            "MAILKEEP_LOG_LEVEL": "warning",
            # All clients of the benchmark come from one address, as the rival's do.
            **{f"MAILKEEP_{name}_MAXSESSIONSPERADDRESS": "0" for name in ("IMAP", "POP", "LMTP")},
            **{f"MAILKEEP_{name}_MAXSESSIONSPERUSER": "0" for name in ("IMAP", "POP")},
        }
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, users: list[str], password: str) -> None:
        self._data.mkdir(parents=True, exist_ok=True)
        for user in users:
            await self._command("account", "add", self.address(user), "--password-stdin", given=password)
        self._process = subprocess.Popen(  # noqa: ASYNC220 - a benchmark may wait here
            [sys.executable, "-m", "services.cli", "run"], env=self._environ, stdout=subprocess.DEVNULL
        )
        for port in (self.imap, self.pop, self.lmtp):
            await answering(port)

    async def _command(self, *words: str, given: str) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.cli", *words, env=self._environ,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        await process.communicate(given.encode() + b"\n")

    async def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self._process.wait, 60)

    def address(self, user: str) -> str:
        return user

    def memory(self) -> int:
        return proportional_set(processes("services.imap"))

    def cpu(self) -> float:
        return tree_cpu(self._process.pid) if self._process is not None else 0.0


class Dovecot:
    """Dovecot from Debian's packages, tuned: processes reused and kept waiting."""

    name = "dovecot"
    imap, pop, lmtp = 3143, 3110, 3524

    def __init__(self, data: Path) -> None:
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, users: list[str], password: str) -> None:
        mail = self._data / "mail"
        mail.mkdir(parents=True, exist_ok=True)
        _mail_user()
        for path in (self._data, mail):
            shutil.chown(path, "vmail", "vmail")
        conf = self._data / "dovecot.conf"
        text = self.configuration(DOVECOT_CONF.read_text())
        for key, value in {
            "DATA": str(self._data), "PASSWORD": password,
            "IMAP": str(self.imap), "POP": str(self.pop), "LMTP": str(self.lmtp),
        }.items():  # fmt: skip
            text = text.replace(f"@{key}@", value)
        conf.write_text(text)
        self._process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", str(conf)])  # noqa: ASYNC220
        for port in (self.imap, self.pop, self.lmtp):
            await answering(port)

    def configuration(self, text: str) -> str:
        """What becomes of the shared configuration before its names are filled in."""
        return text

    async def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(self._process.wait, 60)

    def address(self, user: str) -> str:
        return user

    def memory(self) -> int:
        return proportional_set(processes("dovecot/imap"))

    def cpu(self) -> float:
        return tree_cpu(self._process.pid) if self._process is not None else 0.0


def _mail_user() -> None:
    try:
        pwd.getpwnam("vmail")
    except KeyError:
        subprocess.run(["/usr/sbin/useradd", "--system", "--user-group", "vmail"], check=True)


SERVERS = {"mailkeep": Mailkeep, "dovecot": Dovecot}
