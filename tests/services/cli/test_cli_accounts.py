"""`mailkeep account` and `mailkeep mailbox` beside running services."""

from __future__ import annotations

import imaplib
import smtplib
import time
from email.message import EmailMessage

import pytest

from tests.support.running import OTHER, PASSWORD, USER, RunningServices

pytestmark = pytest.mark.running
NEW = "carla@example.com"


def login(services: RunningServices, user: str, password: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", services.imap, timeout=60)
    try:
        client.login(user, password)
    except imaplib.IMAP4.error:
        client.shutdown()
        raise
    return client


def login_soon(services: RunningServices, user: str, password: str) -> imaplib.IMAP4:
    """Log in once the front end has looked at the users file, as it does once a second."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return login(services, user, password)
        except imaplib.IMAP4.error:
            if time.monotonic() > deadline:
                raise


def login_until_refused(services: RunningServices, user: str) -> None:
    """Raises the refusal once the front end has looked at the users file; nothing where none comes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        login(services, user, PASSWORD).logout()


def deliver(services: RunningServices, recipient: str) -> None:
    message = EmailMessage()
    message["Subject"] = "hello"
    message.set_content("text")
    with smtplib.LMTP("127.0.0.1", services.lmtp) as lmtp:
        lmtp.sendmail("a@example.org", [recipient], message.as_bytes())


def test_an_account_from_its_making_to_its_end(services: RunningServices) -> None:
    added = services.command(
        "account", "add", "Carla@Example.COM", "--quota", "2G", "--message-quota", "9", "--alias", "info@example.com",
        "--password-stdin", "--json", given="first\n",
    )  # fmt: skip
    assert '"account": "carla@example.com"' in added.stdout
    login_soon(services, "CARLA@example.com", "first").logout()
    deliver(services, "info@example.com")
    shown = services.json("account", "show", "info@example.com")
    assert shown["used"] > 0
    assert shown | {"used": 0} == {
        "account": NEW, "status": "active", "messages": 1, "used": 0, "quota": 2 << 30, "message_quota": 9,
        "aliases": ["info@example.com"], "administrator": False, "scram": False,
    }  # fmt: skip
    services.command("account", "passwd", NEW, "--password-stdin", given="second\n")
    login_soon(services, NEW, "second").logout()
    changed = services.json("account", "quota", NEW, "--quota", "none")
    assert changed == {"account": NEW, "quota": None, "message_quota": 9}
    assert services.json("account", "delete", NEW, "--yes") == {"account": NEW, "mail_removed": True}
    assert NEW not in {row["account"] for row in services.json("account", "list")}
    with pytest.raises(imaplib.IMAP4.error):
        login(services, NEW, "second")


def test_a_disabled_account_is_out_at_once_and_may_come_back(services: RunningServices) -> None:
    client = login(services, OTHER, PASSWORD)
    done = services.json("account", "disable", OTHER)
    assert done == {"account": OTHER, "sessions": 1}
    with pytest.raises((imaplib.IMAP4.error, OSError)):
        client.noop()
    client.shutdown()
    with pytest.raises(imaplib.IMAP4.error):
        login(services, OTHER, PASSWORD)
    services.command("account", "enable", OTHER)
    login_soon(services, OTHER, PASSWORD).logout()


def test_the_status_of_a_domain_comes_first_and_its_other_names_lead_to_it(services: RunningServices) -> None:
    file = services.data / "users.yaml"
    before = file.read_text()
    local = OTHER.partition("@")[0]
    try:
        file.write_text(before + "domains:\n  example.com: {aliases: [alias.example]}\n")
        login_soon(services, f"{local}@alias.example", PASSWORD).logout()
        file.write_text(before + "domains:\n  example.com: {status: hold}\n")
        assert "note: its domain is hold" in services.command("account", "enable", OTHER).stderr
        assert services.json("account", "show", OTHER)["status"] == "hold"
        with pytest.raises(imaplib.IMAP4.error):
            login_until_refused(services, OTHER)
    finally:
        file.write_text(before)
    login_soon(services, OTHER, PASSWORD).logout()


def test_what_cannot_be_done_is_said(services: RunningServices) -> None:
    code, said = services.refused("account", "add", USER.upper(), "--password-stdin", given="x\n")
    assert (code, "there is such an account already" in said) == (1, True)
    assert services.refused("account", "add", "no spaces@here", "--password-stdin", given="x\n")[0] == 2
    assert services.refused("account", "add", NEW, "--password-stdin", given="\n")[0] == 2
    assert services.refused("account", "add", NEW, "--quota", "much", "--password-stdin", given="x\n")[0] == 2
    for words in (("passwd", NEW, "--password-stdin"), ("disable", NEW), ("enable", NEW), ("show", NEW),
                  ("delete", NEW, "--yes"), ("quota", NEW, "--quota", "1G")):  # fmt: skip
        assert services.refused("account", *words, given="x\n") == (1, f"{NEW}: no such account\n")


def test_lists_are_tables_for_people_and_json_for_programs(services: RunningServices) -> None:
    table = services.command("account", "list").stdout
    assert table.splitlines()[0].split() == [
        "account",
        "status",
        "messages",
        "used",
        "quota",
        "message",
        "quota",
        "aliases",
    ]
    accounts = {row["account"]: row for row in services.json("account", "list")}
    assert accounts[USER]["status"] == "active"
    login_soon(services, USER, PASSWORD).logout()
    mailboxes = services.json("mailbox", "list", USER)
    assert mailboxes[0] == {
        "name": "INBOX", "messages": 0, "unseen": 0, "size": 0, "special_use": "", "subscribed": True
    }  # fmt: skip
    status = services.json("mailbox", "status", USER, "Sent")
    assert (status["special_use"], status["uidnext"], status["keywords"]) == ("\\Sent", 1, [])
    assert "uidvalidity" in services.command("mailbox", "status", USER).stdout
    code, said = services.refused("mailbox", "status", USER, "Nowhere")
    assert (code, "no such mailbox" in said) == (1, True)


def test_an_administrator_logs_in_as_another_until_the_right_is_taken(services: RunningServices) -> None:
    def log_in() -> str:
        client = imaplib.IMAP4("127.0.0.1", services.imap, timeout=60)
        try:
            return client.authenticate("PLAIN", lambda _: f"{OTHER}\0{USER}\0{PASSWORD}".encode())[0]
        except imaplib.IMAP4.error as error:
            return str(error)
        finally:
            client.shutdown()

    def log_in_until(word: str) -> None:
        deadline = time.monotonic() + 60
        while word not in log_in():
            assert time.monotonic() < deadline

    log_in_until("AUTHORIZATIONFAILED")
    assert "administrator" in services.command("account", "administrator", USER).stdout
    assert services.json("account", "show", USER)["administrator"] is True
    log_in_until("OK")
    assert f"administrator={USER} account={OTHER}" in services.wait_for_log("acts for another")
    services.command("account", "administrator", USER, "--revoke")
    log_in_until("AUTHORIZATIONFAILED")
    assert services.refused("account", "administrator", "nobody@example.com")[1].startswith("nobody@example.com")


def test_a_scram_secret_is_kept_where_it_is_asked_for(services: RunningServices) -> None:
    def kept() -> bool:
        return "SCRAM-SHA-256$" in (services.data / "users.yaml").read_text()

    services.command("account", "passwd", OTHER, "--password-stdin", given=f"{PASSWORD}\n")
    assert not kept()
    assert services.json("account", "show", OTHER)["scram"] is False
    services.command("account", "passwd", OTHER, "--password-stdin", "--scram", given=f"{PASSWORD}\n")
    assert kept()
    assert services.json("account", "show", OTHER)["scram"] is True
