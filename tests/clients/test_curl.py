"""curl speaks IMAP and POP3 in clear and under TLS."""

from __future__ import annotations

import subprocess

import pytest

from tests.clients.conftest import Deliver
from tests.support.running import PASSWORD, USER, RunningServices

pytestmark = pytest.mark.clients


def curl(*words: str) -> bytes:
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "20", "--user", f"{USER}:{PASSWORD}", *words],
        capture_output=True, check=True, timeout=100,
    ).stdout  # fmt: skip


def test_lists_and_reads_by_imap(services: RunningServices, deliver: Deliver) -> None:
    (sent,) = deliver(1, "curl imap")
    base = f"imap://127.0.0.1:{services.imap}"
    assert b"INBOX" in curl(f"{base}/")
    found = curl(f"{base}/INBOX", "-X", 'SEARCH SUBJECT "curl imap"')
    number = found.split()[-1].decode()
    assert curl(f"{base}/INBOX;MAILINDEX={number}").endswith(sent)


def test_reads_by_pop3(services: RunningServices, deliver: Deliver) -> None:
    (sent,) = deliver(1, "curl pop")
    base = f"pop3://127.0.0.1:{services.pop}"
    last = curl(f"{base}/").split(b"\r\n")[-2].split()[0].decode()
    assert curl(f"{base}/{last}").endswith(sent)


def test_appends_by_imap(services: RunningServices, tmp_path: object) -> None:
    path = f"{tmp_path}/upload.eml"
    with open(path, "wb") as file:
        file.write(b"Subject: uploaded\r\n\r\nby curl\r\n")
    base = f"imap://127.0.0.1:{services.imap}"
    curl(f"{base}/Drafts", "--upload-file", path)
    assert b"uploaded" in curl(f"{base}/Drafts;MAILINDEX=1")
