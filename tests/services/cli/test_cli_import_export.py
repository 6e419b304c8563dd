"""`mailkeep import` and `export` through the running store: bytes, flags, dates, folders; repeated; interrupted."""

from __future__ import annotations

import imaplib
import json
import mailbox
import os
import pty
import re
import signal
import smtplib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import OTHER, PASSWORD, USER, RunningServices

pytestmark = pytest.mark.running
FORMS = ("mbox", "maildir", "eml")
BODIES = (
    b"Subject: plain\r\n\r\nFrom the start\r\n>From quoted\r\n\r\n",
    b"Subject: bare\n\nlines\n",
    b"Subject: no end\r\n\r\nlast",
    b"Subject: nul\r\n\r\n\0\xff\r\n",
    b"Subject: mixed\r\n\r\none\ntwo\rthree\r\n",
)
FOLDERS = ("INBOX", "Entwürfe/2026", "v1.2", ".hidden/100%", "[Gmail]/All")
DATE = 1_767_607_200


def utf7(name: str) -> str:
    """A mailbox name as imaplib wants it."""
    return '"' + name.replace("&", "&-").replace("ü", "&APw-") + '"'


@pytest.fixture(scope="module")
def filled(services: RunningServices) -> RunningServices:
    """Each folder holds every body, with flags, keywords and a date; INBOX a delivered message too."""
    client = imaplib.IMAP4("127.0.0.1", services.imap, timeout=60)
    client.login(USER, PASSWORD)
    for folder in FOLDERS[1:]:
        assert client.create(utf7(folder))[0] == "OK"
    for folder in FOLDERS:
        for number, body in enumerate(BODIES):
            flags = r"(\Seen \Flagged $Junk)" if number % 2 else r"(\Answered)"
            when = imaplib.Time2Internaldate(DATE + number)
            kind = b"~" if b"\0" in body else b""
            assert append(client, utf7(folder), flags, when, kind, body) == "OK"
    client.logout()
    with smtplib.LMTP("127.0.0.1", services.lmtp) as lmtp:
        lmtp.sendmail("sender@example.org", [USER], b"Subject: delivered\r\n\r\ntext\r\n")
    return services


def append(client: imaplib.IMAP4, folder: str, flags: str, when: str, kind: bytes, body: bytes) -> str:
    """APPEND of exact bytes, which imaplib would mend the line ends of; as literal8 where `kind` says so."""
    tag = client._new_tag()
    client.send(
        b"%s APPEND %s %s %s %s{%d+}\r\n" % (tag, folder.encode(), flags.encode(), when.encode(), kind, len(body))
    )
    client.send(body + b"\r\n")
    while True:
        line = client.readline()
        if line.startswith(tag):
            return line.split()[1].decode()


def snapshot(services: RunningServices, path: Path, user: str) -> dict[str, list[tuple[bytes, frozenset[str], int]]]:
    """What an account holds, by way of an export as eml: folder -> (bytes, flags, date) in order."""
    services.command("export", user, str(path), "--format", "eml")
    found: dict[str, list[tuple[bytes, frozenset[str], int]]] = {}
    for file in sorted(path.rglob("*.json")):
        beside: dict[str, Any] = json.loads(file.read_text())
        body = next(file.parent.glob(f"{file.stem}*.eml")).read_bytes()
        entry = (body, frozenset(beside["flags"]), beside["internaldate"])
        found.setdefault(str(file.parent.relative_to(path)), []).append(entry)
    return {name: sorted(entries, key=lambda entry: (entry[0], entry[2])) for name, entries in found.items()}


@pytest.mark.parametrize("form", FORMS)
def test_what_goes_out_comes_back_in_and_only_once(filled: RunningServices, form: str, tmp_path: Path) -> None:
    user = f"{form}@example.com"
    filled.command("account", "add", user, "--password-stdin", given="x\n")
    count = len(FOLDERS) * len(BODIES) + 1
    out = filled.json("export", USER, str(tmp_path / "files"), "--format", form)
    assert (out["exported"], out["skipped"], out["complete"]) == (count, [], True)
    into = filled.json("import", user, str(tmp_path / "files"))
    assert (into["imported"], into["present"], into["refused"], into["complete"]) == (count, 0, 0, True)
    again = filled.json("import", user, str(tmp_path / "files"))
    assert (again["imported"], again["present"]) == (0, count)
    assert snapshot(filled, tmp_path / "one", USER) == snapshot(filled, tmp_path / "two", user)
    # Back where it came from: delivered mail, which the store keeps in two parts, is known again too.
    home = filled.json("import", USER, str(tmp_path / "files"))
    assert (home["imported"], home["present"]) == (0, count)


@pytest.mark.parametrize("form", ["maildir", "eml"])
def test_an_export_goes_on_where_it_was(filled: RunningServices, form: str, tmp_path: Path) -> None:
    first = filled.json("export", USER, str(tmp_path), "--format", form, "--folder", "INBOX")
    assert (first["exported"], first["folders"]) == (len(BODIES) + 1, 1)
    rest = filled.json("export", USER, str(tmp_path), "--format", form)
    assert (rest["exported"], rest["present"]) == ((len(FOLDERS) - 1) * len(BODIES), len(BODIES) + 1)


def test_other_programs_read_what_is_exported(filled: RunningServices, tmp_path: Path) -> None:
    filled.command("export", USER, str(tmp_path / "maildir"), "--folder", "INBOX")
    filled.command("export", USER, str(tmp_path / "mbox"), "--format", "mbox", "--folder", "INBOX")
    maildir, mbox = mailbox.Maildir(tmp_path / "maildir"), mailbox.mbox(tmp_path / "mbox" / "INBOX.mbox")
    for read in (maildir, mbox):
        subjects = sorted(str(message["Subject"]) for message in read)
        assert subjects == ["bare", "delivered", "mixed", "no end", "nul", "plain"]
        read.close()
    assert {message.get_flags() for message in maildir} >= {"R", "FSa"}


def test_refusals(filled: RunningServices, tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(b"Subject: x\r\n\r\n")
    code, said = filled.refused("import", "nobody@example.com", str(tmp_path / "a.eml"))
    assert (code, "no such account" in said) == (1, True)
    assert filled.json("import", "nobody@example.com", str(tmp_path / "a.eml"), "--create")["imported"] == 1
    assert "no such account" in filled.refused("export", "no-one@example.com", str(tmp_path / "out"))[1]
    assert "no mailbox matches" in filled.refused("export", USER, str(tmp_path / "out"), "--folder", "Nothing")[1]
    (tmp_path / "empty").mkdir()
    assert "holds no mbox" in filled.refused("import", USER, str(tmp_path / "empty"))[1]
    assert filled.refused("import", USER, str(tmp_path / "missing"))[0] == 2
    filled.command("account", "quota", OTHER, "--message-quota", "1")
    (tmp_path / "b.eml").write_bytes(b"Subject: y\r\n\r\n")
    code, said = filled.refused("import", OTHER, str(tmp_path), "--format", "eml")
    assert (code, "at its quota" in said) == (1, True)
    filled.command("account", "quota", OTHER, "--message-quota", "none")


def many(path: Path, count: int) -> None:
    """An mbox of some size."""
    with open(path, "wb") as file:
        for number in range(count):
            file.write(b"From x Mon Jan  5 10:00:00 2026\nSubject: %d\n\n%s\n\n" % (number, b"text " * 400))


def wait_for_messages(services: RunningServices, mailbox: str) -> None:
    """Until the first are there; asked by IMAP, for a command takes longer to start than an import takes."""
    with imaplib.IMAP4("127.0.0.1", services.imap, timeout=60) as client:
        client.login(OTHER, PASSWORD)
        deadline = time.monotonic() + 60
        while not re.search(rb"MESSAGES [1-9]", client.status(mailbox, "(MESSAGES)")[1][0] or b""):
            assert time.monotonic() < deadline
            time.sleep(0.001)


def test_an_interrupted_import_says_what_it_did_and_is_made_good_by_a_repeat(
    filled: RunningServices, tmp_path: Path
) -> None:
    count = 10_000
    many(tmp_path / "big", count)
    words = [sys.executable, "-m", "services.cli", "import", OTHER, str(tmp_path / "big"), "--folder", "Big", "--json"]
    # A shell's background job ignores SIGINT, and so would its children: what is caught here is as usual for them.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(words, env=filled.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    signal.signal(signal.SIGINT, before)
    with process:
        wait_for_messages(filled, "Big")
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=60)
    done = json.loads(out)
    assert process.returncode == 130, said
    assert b"the same command goes on from here" in said
    assert done["complete"] is False
    held = filled.json("mailbox", "status", OTHER, "Big")["messages"]
    # A batch that was on its way may have arrived; the repeat finds out.
    assert 0 < done["imported"] <= held < count
    again = filled.json("import", OTHER, str(tmp_path / "big"), "--folder", "Big")
    assert (again["imported"], again["present"]) == (count - held, held)
    assert filled.json("mailbox", "status", OTHER, "Big")["messages"] == count


def test_a_terminal_sees_a_bar_with_the_folders_own_name(filled: RunningServices, tmp_path: Path) -> None:
    parent, child = pty.openpty()
    words = [sys.executable, "-m", "services.cli", "export", USER, str(tmp_path), "--folder", "[[]Gmail]*"]
    environ = {**filled.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=child) as process:
        os.close(child)
        seen, deadline = b"", time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                seen += os.read(parent, 4096)
            except OSError:
                break
    os.close(parent)
    assert process.returncode == 0
    assert b"[Gmail]/All" in seen
