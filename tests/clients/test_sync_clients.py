"""Programs that copy a mailbox: mbsync, offlineimap, fetchmail, getmail, mutt."""

from __future__ import annotations

import mailbox
import os
import pty
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tests.clients.conftest import Deliver
from tests.support.running import PASSWORD, USER, RunningServices

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


def run(*words: str, home: Path, expect: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        words, env={**os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8"}, cwd=home,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode in expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def lf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


def test_mbsync_copies_both_ways(services: RunningServices, deliver: Deliver, home: Path) -> None:
    sent = deliver(3, "mbsync")
    configuration = write(
        home / "mbsyncrc",
        f"""
IMAPStore remote
Host 127.0.0.1
Port {services.imap}
User {USER}
Pass "{PASSWORD}"
SSLType None
AuthMechs PLAIN

MaildirStore local
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :remote:
Near :local:
Patterns *
Create Both
Expunge Both
SyncState *
""",
    )
    (home / "mail").mkdir()
    run("mbsync", "-c", str(configuration), "-a", home=home)
    local = mailbox.Maildir(home / "mail" / "INBOX", create=False)
    bodies = [message.as_bytes() for message in local]
    for body in sent:
        # mbsync puts a line of its own at the header's end.
        assert any(found.endswith(lf(body.split(b"\r\n\r\n", 1)[1])) for found in bodies)

    # A message written locally goes up; one deleted locally goes away there.
    local.add(mailbox.MaildirMessage(b"Subject: from mbsync\n\nupwards\n"))
    victim = next(key for key, message in local.items() if message["Subject"] == "mbsync 0")
    marked = local.get_message(victim)
    marked.add_flag("T")
    marked.set_subdir("cur")
    local[victim] = marked
    run("mbsync", "-c", str(configuration), "-a", home=home)
    listed = services.command("mailbox", "status", USER, "INBOX", "--json").stdout
    assert '"messages": 3' in listed


def test_offlineimap_copies(services: RunningServices, deliver: Deliver, home: Path) -> None:
    sent = deliver(2, "offlineimap")
    configuration = write(
        home / "offlineimaprc",
        f"""
[general]
accounts = test
ui = quiet

[Account test]
localrepository = local
remoterepository = remote

[Repository local]
type = Maildir
localfolders = {home}/mail

[Repository remote]
type = IMAP
remotehost = 127.0.0.1
remoteport = {services.imap}
remoteuser = {USER}
remotepass = {PASSWORD}
ssl = no
starttls = no
auth_mechanisms = PLAIN
""",
    )
    run("offlineimap", "-c", str(configuration), "-o", home=home)
    bodies = [message.as_bytes() for message in mailbox.Maildir(home / "mail" / "INBOX", create=False)]
    for body in sent:
        assert any(found.endswith(lf(body)) for found in bodies)


@pytest.mark.parametrize("protocol", ["POP3", "IMAP"])
def test_fetchmail_fetches(services: RunningServices, deliver: Deliver, home: Path, protocol: str) -> None:
    sent = deliver(2, f"fetchmail {protocol}")
    port = services.pop if protocol == "POP3" else services.imap
    target = home / "fetched"
    configuration = write(
        home / "fetchmailrc",
        f"""
poll 127.0.0.1 protocol {protocol} port {port} user "{USER}" password "{PASSWORD}" sslproto '' keep fetchall
  mda "cat >> {target}"
""",
    )
    run("fetchmail", "-f", str(configuration), "--nosyslog", "--nodetach", "--pidfile", f"{home}/pid", home=home)
    fetched = target.read_bytes()
    for body in sent:
        assert lf(body.split(b"\r\n\r\n", 1)[1]) in lf(fetched)


KEEP = """#!/bin/sh
cat >> %s
until grep -q '^State:.*S' /proc/$PPID/status &&
    [ $((0x$(sed -n 's/^SigCgt:.//p' /proc/$PPID/status) >> 16 & 1)) = 1 ]; do sleep 0.02; done
sleep 0.3
"""
"""Takes a message, and ends only when getmail waits for it with a handler of SIGCHLD: it misses an end before that,
and then waits in vain for a minute.
"""


@pytest.mark.parametrize("retriever", ["SimplePOP3Retriever", "SimpleIMAPRetriever"])
def test_getmail_fetches(services: RunningServices, deliver: Deliver, home: Path, retriever: str) -> None:
    sent = deliver(2, f"getmail {retriever}")
    (home / ".getmail").mkdir(mode=0o700)
    port = services.pop if "POP3" in retriever else services.imap
    write(
        home / ".getmail" / "getmailrc",
        f"""
[retriever]
type = {retriever}
server = 127.0.0.1
port = {port}
username = {USER}
password = {PASSWORD}

[destination]
type = MDA_external
path = {home}/keep
allow_root_commands = true

[options]
read_all = true
delete = false
delivered_to = false
received = false
""",
    )
    write(home / "keep", KEEP % (home / "fetched")).chmod(0o700)
    run("getmail", "--getmaildir", str(home / ".getmail"), home=home)
    fetched = (home / "fetched").read_bytes()
    for body in sent:
        assert lf(body.split(b"\r\n\r\n", 1)[1]).strip() in lf(fetched)


@pytest.mark.parametrize("scheme", ["imap", "pop"])
def test_mutt_reads(services: RunningServices, deliver: Deliver, home: Path, scheme: str) -> None:
    sent = deliver(2, f"mutt {scheme}")
    port = services.imap if scheme == "imap" else services.pop
    user = USER.replace("@", "%40")
    target = home / "saved"
    write(
        home / "muttrc",
        f"""
set folder="{home}"
set imap_pass="{PASSWORD}"
set pop_pass="{PASSWORD}"
set ssl_starttls=no
set ssl_force_tls=no
set confirmappend=no
set confirmcreate=no
set delete=no
set quit=yes
set mbox_type=mbox
set wait_key=no
set header_cache=""
set pop_delete=no
set move=no
push "<tag-pattern>.<enter><tag-prefix><copy-message><kill-line>{target}<enter><exit>"
""",
    )
    source = f"{scheme}://{user}@127.0.0.1:{port}" + ("/INBOX" if scheme == "imap" else "")
    interact(["mutt", "-n", "-F", str(home / "muttrc"), "-f", source], home, target)
    saved = target.read_bytes()
    for body in sent:
        assert lf(body.split(b"\r\n\r\n", 1)[1]).strip() in saved


def interact(words: list[str], home: Path, target: Path) -> None:
    """Run a terminal program on a terminal of its own until it ends (its keys come from its configuration)."""
    primary, secondary = pty.openpty()
    termios.tcsetwinsize(secondary, (30, 100))
    process = subprocess.Popen(
        words, env={**os.environ, "HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8"},
        stdin=secondary, stdout=secondary, stderr=secondary, start_new_session=True, cwd=home,
    )  # fmt: skip
    os.close(secondary)
    os.set_blocking(primary, False)
    screen = b""
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        try:
            screen += os.read(primary, 65536)
        except (BlockingIOError, OSError):
            time.sleep(0.05)
    os.close(primary)
    if process.poll() is None:
        process.kill()
        process.wait()
    assert target.exists(), screen[-4000:].decode(errors="replace")
