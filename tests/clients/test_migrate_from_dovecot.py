"""`mailkeep migrate imap` from a real Dovecot: names, prefixes, keywords, dates; as the user and as a master user."""

from __future__ import annotations

import imaplib
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.processes import eventually
from tests.support.running import PASSWORD, USER, RunningServices, free_ports

pytestmark = pytest.mark.clients
DATE = 1_767_607_200
MASTER = "master"
FOLDERS = {"INBOX": "INBOX", "INBOX.Sent": "Sent", "INBOX.Projects.Harbour": "Projects/Harbour"}
CONF = """\
base_dir = {data}/run
log_path = {data}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
mail_location = maildir:~/Maildir
first_valid_uid = 1
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%u {data}/users
}}
passdb {{
  driver = passwd-file
  master = yes
  args = scheme=plain username_format=%u {data}/masters
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={data}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
namespace inbox {{
  inbox = yes
  prefix = INBOX.
  separator = .
}}
"""


@contextmanager
def dovecot(data: Path) -> Iterator[int]:
    """Runs on a port of its own, as nobody where we are root."""
    (port,) = free_ports(1)
    account = pwd.getpwuid(os.getuid()) if os.getuid() else pwd.getpwnam("nobody")
    group = subprocess.check_output(["id", "-gn", account.pw_name], text=True).strip()
    data.chmod(0o755)
    (data / "mail").mkdir()
    if not os.getuid():
        shutil.chown(data / "mail", account.pw_name)
    (data / "users").write_text(f"{USER}:{PASSWORD}\n")
    (data / "masters").write_text(f"{MASTER}:{PASSWORD}\n")
    conf = data / "dovecot.conf"
    conf.write_text(CONF.format(data=data, user=account.pw_name, group=group, port=port))
    program = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None, "scripts/install-debian"
    with subprocess.Popen([program, "-F", "-c", str(conf)]) as process:
        try:
            eventually(lambda: _listens(port) or process.poll() is not None)
            assert process.poll() is None, (data / "dovecot.log").read_text()
            yield port
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def source() -> Iterator[int]:
    # Not below pytest's folder, which only its owner may enter.
    with TemporaryDirectory(prefix="dovecot-") as data, dovecot(Path(data)) as port:
        client = imaplib.IMAP4("127.0.0.1", port, timeout=60)
        client.login(USER, PASSWORD)
        for folder in FOLDERS:
            if folder != "INBOX":
                client.create(folder)
                client.subscribe(folder)
            for number in range(5):
                body = f"Subject: {number}\r\n\r\n{folder}\r\n".encode()
                date = imaplib.Time2Internaldate(DATE + number)
                flags = r"(\Seen $Forwarded Oak)" if number % 2 else ""
                assert client.append(folder, flags, date, body)[0] == "OK"
        client.unsubscribe("INBOX.Sent")
        client.logout()
        yield port


def content(port: int, folder: str) -> dict[bytes, tuple[set[bytes], bytes]]:
    """Body -> flags and date."""
    client = imaplib.IMAP4("127.0.0.1", port, timeout=60)
    client.login(USER, PASSWORD)
    assert client.select(folder, readonly=True)[0] == "OK"
    found = {}
    for part in client.fetch("1:*", "(INTERNALDATE FLAGS BODY.PEEK[])")[1]:
        if isinstance(part, tuple):
            flags = {flag for flag in imaplib.ParseFlags(part[0]) if flag != rb"\Recent"}
            found[part[1]] = (flags, part[0].partition(b'INTERNALDATE "')[2].partition(b'"')[0])
    client.logout()
    return found


@pytest.mark.parametrize("login", [(), ("--admin", MASTER)], ids=["as the user", "as the master user"])
def test_an_account_moves(source: int, services: RunningServices, login: tuple[str, ...]) -> None:
    for folder in FOLDERS.values():
        _empty(services, folder)
    shutil.rmtree(services.data / "migrate", ignore_errors=True)
    command = [
        "migrate", "imap", USER, "--host", "127.0.0.1", "--port", str(source), "--tls", "none", "--password-stdin",
        *login,
    ]  # fmt: skip
    assert services.command(*command, given=PASSWORD + "\n").stdout.startswith("15 copied, 0 there already")
    for there, here in FOLDERS.items():
        assert content(services.imap, here) == content(source, there)
    assert services.command(*command, given=PASSWORD + "\n").stdout.startswith("0 copied, 0 there already")


def _empty(services: RunningServices, folder: str) -> None:
    client = imaplib.IMAP4("127.0.0.1", services.imap, timeout=60)
    client.login(USER, PASSWORD)
    if client.select(folder)[0] == "OK":
        client.store("1:*", "+FLAGS", r"(\Deleted)")
        client.expunge()
    client.logout()
