"""Programs that deliver: swaks, and Postfix as the MTA before Mailkeep."""

from __future__ import annotations

import imaplib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import OTHER, PASSWORD, USER, RunningServices, free_ports

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


def subjects(services: RunningServices, user: str, mailbox: str = "INBOX") -> list[bytes]:
    """Subject lines of a mailbox, read by IMAP."""
    with imaplib.IMAP4("127.0.0.1", services.imap) as client:
        client.login(user, PASSWORD)
        status, (count,) = client.select(mailbox, readonly=True)
        assert status == "OK"
        if count == b"0":
            return []
        _, answer = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return [part[1].strip() for part in answer if isinstance(part, tuple)]


def swaks(*words: str, recipients: str, subject: str = "test") -> subprocess.CompletedProcess[str]:
    """Send one message with swaks."""
    common = ("--server", "127.0.0.1", "--ehlo", "localhost", "--from", "sender@example.org", "--body", "hello")
    return subprocess.run(
        ["swaks", *common, "--to", recipients, "--header", f"Subject: {subject}", *words],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def lmtp(services: RunningServices) -> tuple[str, ...]:
    """swaks's words for our LMTP port."""
    return ("--protocol", "LMTP", "--port", str(services.lmtp))


def test_swaks_delivers_by_lmtp(services: RunningServices) -> None:
    done = swaks(*lmtp(services), recipients=f"{USER},{OTHER}", subject="from swaks")
    assert done.returncode == 0, done.stdout
    for user in (USER, OTHER):
        assert b"Subject: from swaks" in subjects(services, user)


def test_swaks_is_told_of_an_unknown_user(services: RunningServices) -> None:
    done = swaks(*lmtp(services), recipients="nobody@example.com")
    assert done.returncode != 0
    assert "550 5.1.1" in done.stdout


@pytest.fixture(scope="module")
def postfix(services: RunningServices) -> Iterator[int]:
    """A Postfix of its own that hands example.com to the LMTP service; yields its SMTP port."""
    if os.geteuid() != 0:
        pytest.skip("Postfix starts as root only")
    base = Path(tempfile.mkdtemp(prefix="mailkeep-postfix-"))  # pytest's own folders are closed to Postfix's user
    base.chmod(0o755)
    (port,) = free_ports(1)
    configuration = base / "etc"
    configuration.mkdir()
    _configure(configuration, base, port, services.lmtp)
    for name in ("queue", "data"):
        (base / name).mkdir()
    shutil.chown(base / "data", "postfix")
    started = subprocess.run(
        ["postfix", "-c", str(configuration), "start"], check=False, capture_output=True, timeout=30
    )
    assert started.returncode == 0, started.stderr + (base / "maillog").read_bytes()
    yield port
    subprocess.run(["postfix", "-c", str(configuration), "abort"], check=False, capture_output=True, timeout=100)
    shutil.rmtree(base)


def _configure(configuration: Path, base: Path, port: int, lmtp: int) -> None:
    (configuration / "main.cf").write_text(
        f"""
compatibility_level = 3.6
queue_directory = {base}/queue
data_directory = {base}/data
maillog_file = /dev/stdout
maillog_file_prefixes = /dev/stdout, {base}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
myhostname = mta.example.net
mydestination =
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = example.com
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
recipient_delimiter = +
smtputf8_enable = yes
lmtp_host_lookup = native
""".replace("/dev/stdout\n", f"{base}/maillog\n", 1)
    )
    services = [f"127.0.0.1:{port} inet n - n - - smtpd"]
    services += [
        f"{name} unix {private} - n {wake} {limit} {command}"
        for name, private, wake, limit, command in (
            ("cleanup", "n", "-", "0", "cleanup"),
            ("qmgr", "n", "300", "1", "qmgr"),
            ("rewrite", "-", "-", "-", "trivial-rewrite"),
            ("bounce", "-", "-", "0", "bounce"),
            ("defer", "-", "-", "0", "bounce"),
            ("lmtp", "-", "-", "-", "lmtp"),
            ("smtp", "-", "-", "-", "smtp"),
            ("error", "-", "-", "-", "error"),
            ("retry", "-", "-", "-", "error"),
            ("anvil", "-", "-", "1", "anvil"),
            ("scache", "-", "-", "1", "scache"),
            ("proxymap", "-", "-", "-", "proxymap"),
            ("tlsmgr", "-", "1000?", "1", "tlsmgr"),
            ("postlog", "n", "-", "1", "postlogd"),
        )
    ]
    (configuration / "master.cf").write_text(
        "\n".join(services).replace("postlog unix n", "postlog unix-dgram n") + "\n"
    )


def test_postfix_delivers(services: RunningServices, postfix: int) -> None:
    recipients = f"{USER},{USER.replace('@', '+Junk@')}"
    done = swaks("--port", str(postfix), recipients=recipients, subject="through postfix")
    assert done.returncode == 0, done.stdout
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if all(b"Subject: through postfix" in subjects(services, USER, box) for box in ("INBOX", "Junk")):
            return
        time.sleep(0.2)
    raise AssertionError("not delivered within 30 s")
