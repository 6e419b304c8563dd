"""Python's own imaplib, poplib and smtplib."""

from __future__ import annotations

import imaplib
import poplib

import pytest

from tests.clients.conftest import Deliver
from tests.support.running import PASSWORD, USER, RunningServices

pytestmark = pytest.mark.clients


def test_imaplib(services: RunningServices, deliver: Deliver) -> None:
    (sent,) = deliver(1, "imaplib")
    with imaplib.IMAP4("127.0.0.1", services.imap) as client:
        client.login(USER, PASSWORD)
        assert client.select("INBOX")[0] == "OK"
        _, (found,) = client.search(None, "SUBJECT", '"imaplib"')
        number = found.split()[-1].decode()
        _, answer = client.fetch(number, "(FLAGS BODY.PEEK[])")
        assert isinstance(answer[0], tuple)
        assert answer[0][1].endswith(sent)
        assert client.store(number, "+FLAGS", "\\Deleted")[0] == "OK"
        assert client.copy(number, "Trash")[0] == "OK"
        assert client.expunge() == ("OK", [number.encode()])


def test_poplib(services: RunningServices, deliver: Deliver) -> None:
    sent = deliver(2, "poplib")
    client = poplib.POP3("127.0.0.1", services.pop)
    client.user(USER)
    client.pass_(PASSWORD)
    count, _ = client.stat()
    assert len(client.uidl()[1]) == count
    _, lines, _ = client.retr(count)
    assert b"\r\n".join(lines).endswith(sent[-1].rstrip(b"\r\n"))
    client.dele(count)
    client.quit()

    again = poplib.POP3("127.0.0.1", services.pop)
    again.user(USER)
    again.pass_(PASSWORD)
    assert again.stat()[0] == count - 1
    again.quit()
