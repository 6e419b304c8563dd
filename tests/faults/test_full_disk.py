"""A full disk: the store refuses with the right codes, loses nothing, and goes on when there is space again."""

from __future__ import annotations

import imaplib
import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import PASSWORD, USER, RunningServices, running

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
MESSAGE = b"Subject: filler\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 76 + b"\r\n") * 6000
TINY = b"Subject: tiny\r\n\r\nsmall\r\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=False)


@pytest.fixture
def services(tmp_path: Path, small_disk: Path) -> Iterator[RunningServices]:
    """Services whose store lies on the small disk."""
    with running(tmp_path / "data", MAILKEEP_STORE_PATH=str(small_disk / "store")) as started:
        yield started


def deliver(services: RunningServices, body: bytes) -> int:
    """The reply code of one delivery."""
    with smtplib.LMTP("127.0.0.1", services.lmtp, timeout=60) as lmtp:
        try:
            lmtp.sendmail("a@example.org", [USER], body)
        except smtplib.SMTPRecipientsRefused as refused:
            return refused.recipients[USER][0]
        except smtplib.SMTPResponseException as refused:
            return refused.smtp_code
    return 250


def count(services: RunningServices) -> int:
    """Messages in INBOX."""
    with imaplib.IMAP4("127.0.0.1", services.imap) as client:
        client.login(USER, PASSWORD)
        return int(client.select("INBOX", readonly=True)[1][0] or b"0")


def fill(services: RunningServices) -> int:
    """Deliver until it is refused; returns how many were taken."""
    for taken in range(100):
        code = deliver(services, MESSAGE)
        if code != 250:
            assert code == 452, "insufficient system storage (RFC 5321 section 4.2.3)"
            return taken
    raise AssertionError("the disk never filled")


def test_refuses_and_recovers(services: RunningServices, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (6 << 20))
    taken = fill(services)
    assert taken > 5
    with imaplib.IMAP4("127.0.0.1", services.imap) as client:
        client.login(USER, PASSWORD)
        status, text = client.append("INBOX", "", "", MESSAGE)
        assert status == "NO"
        assert b"/" not in text[0], "nothing of the store's paths is told"
        client.noop()
    assert count(services) == taken, "what was acknowledged is there, and no more"

    ballast.unlink()
    deadline = time.monotonic() + 30
    while deliver(services, TINY) != 250:
        assert time.monotonic() < deadline, "it goes on when there is space"
        time.sleep(0.2)
    assert count(services) == taken + 1
    assert '"findings": []' in services.command("store", "check", "--json").stdout
