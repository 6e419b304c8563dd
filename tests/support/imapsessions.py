"""IMAP clients that go on and on while a site is changed under them, and remember everything that went wrong."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

COMMANDS: Final = ("NOOP", "SELECT INBOX", "FETCH 1 (FLAGS ENVELOPE)", "STATUS INBOX (MESSAGES)")
ANSWER_SECONDS: Final = 60.0
BETWEEN_SECONDS: Final = 0.1


class Ended(Exception):  # noqa: N818 - an answer, not a fault
    """The server said BYE."""


@dataclass
class Sessions:
    """What the clients saw."""

    address: str
    user: str
    password: str
    answers: int = 0
    ends: int = 0
    """Sessions that the server ended with BYE."""
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """One client after the other, until told to stop."""
        while not self.stop.is_set():
            try:
                self._session()
            except Ended:
                with self._lock:
                    self.ends += 1
            except OSError as error:
                self._fail(f"{type(error).__name__}: {error}")
                time.sleep(BETWEEN_SECONDS)

    def _session(self) -> None:
        with socket.create_connection((self.address, 143), ANSWER_SECONDS) as sock, sock.makefile("rb") as answers:
            self._read(answers.readline(), "greeting")
            self._ask(sock, answers, f'LOGIN {self.user} "{self.password}"')
            number = 0
            while not self.stop.is_set():
                self._ask(sock, answers, COMMANDS[number % len(COMMANDS)])
                number += 1
                self.stop.wait(BETWEEN_SECONDS)
            self._ask(sock, answers, "LOGOUT", ends=True)

    def _ask(self, sock: socket.socket, answers: object, command: str, *, ends: bool = False) -> None:
        sock.sendall(f"a {command}\r\n".encode())
        while True:
            line: bytes = answers.readline()  # type: ignore[attr-defined]
            if not (ends and line.startswith(b"* BYE")):
                self._read(line, command)
            if line.startswith(b"a "):
                if not line.startswith(b"a OK"):
                    self._fail(f"{command}: {line!r}")
                with self._lock:
                    self.answers += 1
                return

    def _read(self, line: bytes, what: str) -> None:
        if line.startswith(b"* BYE"):
            raise Ended
        if not line:
            raise ConnectionError(f"the connection ended without BYE ({what})")

    def _fail(self, what: str) -> None:
        with self._lock:
            self.failures.append(what)


@contextmanager
def imap_sessions(address: str, user: str, password: str, count: int = 4) -> Iterator[Sessions]:
    """`count` clients at work; at the end all of them have been answered and none has seen a failure."""
    sessions = Sessions(address, user, password)
    threads = [threading.Thread(target=sessions.run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield sessions
    finally:
        sessions.stop.set()
        for thread in threads:
            thread.join(ANSWER_SECONDS)
    assert sessions.failures == []
    assert sessions.answers > count
