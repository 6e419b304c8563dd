"""Services that the client tests share, and mail in them."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.running import USER, RunningServices, running

Deliver = Callable[..., list[bytes]]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    """Running services, fresh for each test file."""
    with running(tmp_path_factory.mktemp("services") / "data") as started:
        yield started


@pytest.fixture
def deliver(services: RunningServices) -> Deliver:
    """Send messages by LMTP; returns what was sent, as the client wrote it."""

    def send(count: int = 3, subject: str = "Test", recipient: str = USER) -> list[bytes]:
        sent = []
        with smtplib.LMTP("127.0.0.1", services.lmtp) as lmtp:
            for number in range(count):
                message = EmailMessage()
                message["From"] = "sender@example.org"
                message["To"] = recipient
                message["Subject"] = f"{subject} {number}"
                message["Message-ID"] = f"<{subject.replace(' ', '-')}-{number}@example.org>"
                message.set_content(f"Body of {subject} {number}\n.\n..dots\n" + "line of text\n" * 20)
                data = message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
                lmtp.sendmail("sender@example.org", [recipient], data)
                sent.append(data)
        return sent

    return send


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder for a client."""
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    return path
