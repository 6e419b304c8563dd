"""A little of everything that clients do, for those who watch the services meanwhile."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.certificates import make_certificate
from tests.support.running import PASSWORD, USER, RunningServices, running

MESSAGE = b"From: anna@example.com\r\nTo: bert@example.com\r\nSubject: Traffic\r\n\r\nquay\r\n"


@contextmanager
def watched(data: Path, **overrides: str) -> Iterator[RunningServices]:
    """Services as `running`, with a certificate and without a wait after a wrong password."""
    data.mkdir(parents=True, exist_ok=True)
    certificate = make_certificate(data)
    options = {
        "MAILKEEP_TLS_CERTFILE": str(certificate.certfile),
        "MAILKEEP_TLS_KEYFILE": str(certificate.keyfile),
        "MAILKEEP_DIRECTORY_FAILDELAY": "0",
    }
    with running(data, **options, **overrides) as services:
        yield services


def traffic(services: RunningServices) -> None:
    """One round: delivery, a wrong password, an IMAP and a POP3 session, and a login by HTTP."""
    deliver(services)
    _wrong_passwords(services)
    _imap_session(services)
    _pop_session(services)
    http_session(services)


def deliver(services: RunningServices) -> None:
    """A message for USER, and one for nobody."""
    with smtplib.LMTP("127.0.0.1", services.lmtp) as lmtp:
        lmtp.sendmail("bert@example.com", [USER], MESSAGE)
        with suppress(smtplib.SMTPRecipientsRefused):
            lmtp.sendmail("bert@example.com", ["nobody@example.com"], MESSAGE)


def _wrong_passwords(services: RunningServices) -> None:
    with imaplib.IMAP4("127.0.0.1", services.imap) as imap, suppress(imaplib.IMAP4.error):
        imap.login(USER, "wrong")
    pop = poplib.POP3("127.0.0.1", services.pop)
    pop.user(USER)
    with suppress(poplib.error_proto):
        pop.pass_("wrong")
    pop.quit()
    refused_login(services, "wrong")


def _imap_session(services: RunningServices) -> None:
    with imaplib.IMAP4("127.0.0.1", services.imap) as imap:
        imap.login(USER, PASSWORD)
        imap.append("INBOX", None, None, MESSAGE)
        imap.select()
        imap.fetch("*", "(FLAGS ENVELOPE BODY.PEEK[])")
        imap.store("*", "+FLAGS", "(\\Seen)")
        imap.search(None, "BODY", "quay")
        imap.noop()


def _pop_session(services: RunningServices) -> None:
    pop = _pop_login(services)
    with suppress(poplib.error_proto):  # only one session may hold a maildrop
        _pop_login(services)
    pop.uidl()
    pop.retr(1)
    pop.quit()


def refused_login(services: RunningServices, password: str) -> None:
    """A wrong password by HTTP."""
    form = urllib.parse.urlencode({"name": USER, "password": password}).encode()
    with suppress(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{services.http}/login", form, timeout=20).close()


def http_session(services: RunningServices, **headers: str) -> str:
    """Log in by the form; the page that follows."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    browser.addheaders += headers.items()
    form = urllib.parse.urlencode({"name": USER, "password": PASSWORD}).encode()
    with browser.open(f"http://127.0.0.1:{services.http}/login", form, timeout=20) as answer:
        return str(answer.read().decode())


def _pop_login(services: RunningServices) -> poplib.POP3:
    pop = poplib.POP3("127.0.0.1", services.pop)
    try:
        pop.user(USER)
        pop.pass_(PASSWORD)
    except poplib.error_proto:
        pop.close()
        raise
    return pop
