"""`mailkeep migrate imap` from a second instance: all that a mailbox is, once, however often it is stopped."""

from __future__ import annotations

import imaplib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from services.cli.migrating.imapsource import ImapSource, Security, Server, _Names
from services.cli.migrating.journal import Journal, Place
from services.cli.transfer.message import SourceError
from tests.support.authority import Authority
from tests.support.processes import eventually
from tests.support.running import OTHER, PASSWORD, USER, RunningServices, running

Box = list[tuple[frozenset[str], str, bytes]]
DATE = 1_767_607_200
FOLDERS = ("INBOX", "Entw&APw-rfe/2026", "v1.2", "[Gmail]/All")
UNSUBSCRIBED = "v1.2"
GONE = "Gone"
QUIET = {"MAILKEEP_LMTP_ENABLE": "no", "MAILKEEP_POP_ENABLE": "no", "MAILKEEP_DIRECTORY_FAILDELAY": "0"}
running_services = pytest.mark.running


# ---- a source and a target ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def source(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    """USER has mail here, and subscriptions."""
    certfile, keyfile = authority.issue("localhost")
    tls = {"MAILKEEP_TLS_CERTFILE": str(certfile), "MAILKEEP_TLS_KEYFILE": str(keyfile)}
    with running(tmp_path_factory.mktemp("source") / "data", **QUIET, **tls) as started:
        with client_of(started) as client:
            for folder in FOLDERS[1:]:
                client.create(f'"{folder}"')
                client.subscribe(f'"{folder}"')
            client.unsubscribe(f'"{UNSUBSCRIBED}"')
            client.subscribe(GONE)
            for folder in FOLDERS:
                for number in range(7):
                    flags = r"(\Seen \Flagged $Junk)" if number % 2 else r"(\Answered)"
                    append(client, folder, number, flags)
                # Two with the same bytes stay two.
                append(client, folder, 0, r"(\Draft)")
        yield started


@pytest.fixture
def target(tmp_path: Path) -> Iterator[RunningServices]:
    with running(tmp_path / "data", **QUIET) as started:
        yield started


@contextmanager
def client_of(services: RunningServices, user: str = USER) -> Iterator[imaplib.IMAP4]:
    client = imaplib.IMAP4("127.0.0.1", services.imap, timeout=60)
    client.login(user, PASSWORD)
    yield client
    client.logout()


def append(client: imaplib.IMAP4, folder: str, number: int, flags: str = "") -> None:
    body = f"Subject: {number}\r\n\r\n{'x' * number * 1000}\r\n".encode()
    assert client.append(f'"{folder}"', flags, imaplib.Time2Internaldate(DATE + number), body)[0] == "OK"


def content(services: RunningServices, folder: str, user: str = USER) -> Box:
    """Flags, date and bytes of each message, in order."""
    with client_of(services, user) as client:
        if client.select(f'"{folder}"', readonly=True)[0] != "OK":
            return []
        found: Box = []
        for part in client.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]:
            if isinstance(part, tuple):
                head = part[0].decode()
                flags = re.search(r"FLAGS \(([^)]*)\)", head)
                date = re.search(r'INTERNALDATE "([^"]+)"', head)
                assert flags is not None
                assert date is not None
                found.append((frozenset(flags[1].split()) - {r"\Recent"}, date[1], part[1]))
        return found


def words(services: RunningServices, *more: str, account: str = USER, user: str = USER) -> list[str]:
    return [
        "migrate", "imap", account, "--host", "localhost", "--port", str(services.imap), "--tls", "none",
        "--user", user, "--password-stdin", *more,
    ]  # fmt: skip


def copy(source: RunningServices, target: RunningServices, *more: str) -> str:
    return target.command(*words(source, *more), given=PASSWORD + "\n").stdout


def subscribed(services: RunningServices) -> set[str]:
    with client_of(services) as client:
        return {line.decode().rpartition(' "/" ')[2].strip('"') for line in client.lsub()[1] if isinstance(line, bytes)}


# ---- copies ---------------------------------------------------------------------------------------------------------
@running_services
def test_everything_comes_along_and_a_repeat_brings_what_is_new(
    source: RunningServices, target: RunningServices
) -> None:
    assert copy(source, target) == "32 copied, 0 there already, 0 refused (too large)\n"
    for folder in FOLDERS:
        assert content(target, folder) == content(source, folder)
    assert {*FOLDERS[1:], GONE} - subscribed(target) == {UNSUBSCRIBED}
    assert copy(source, target).startswith("0 copied, 0 there already")
    with client_of(target) as client:
        client.select("v1.2")
        client.store("1:3", "+FLAGS", r"(\Deleted)")
        client.expunge()
    with client_of(source) as client:
        append(client, "v1.2", 20)
    assert copy(source, target, "--folder", "v1*").startswith("1 copied, 0 there already")
    assert content(target, "v1.2") == content(source, "v1.2")[3:]
    with client_of(target) as client:
        client.delete('"v1.2"')
    assert copy(source, target).startswith("9 copied, 0 there already"), "a mailbox made anew is filled anew"


@running_services
def test_without_its_journal_nothing_comes_twice(source: RunningServices, target: RunningServices) -> None:
    before = {folder: content(source, folder) for folder in FOLDERS}
    copy(source, target)
    shutil.rmtree(target.data / "migrate")
    total = sum(map(len, before.values()))
    assert copy(source, target).startswith(f"0 copied, {total} there already")
    assert {folder: content(target, folder) for folder in FOLDERS} == before


@running_services
def test_killed_again_and_again_it_goes_on_where_it_was(source: RunningServices, target: RunningServices) -> None:
    total = 600
    with client_of(source, OTHER) as client:
        for number in range(total):
            append(client, "INBOX", number % 7)
    command = words(source, account=OTHER, user=OTHER)
    held = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-m", "services.cli", *command], env=target.environ, stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            process.stdin.write(PASSWORD.encode() + b"\n")
            process.stdin.close()
            eventually(lambda held=held: len(content(target, "INBOX", OTHER)) > held or process.poll() is not None)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
        held = len(content(target, "INBOX", OTHER))
    target.command(*command, given=PASSWORD + "\n")
    assert content(target, "INBOX", OTHER) == content(source, "INBOX", OTHER)


MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@running_services
def test_memory_does_not_grow_with_the_mailbox(source: RunningServices, target: RunningServices) -> None:
    megabytes, count = 2, 80
    with client_of(source, OTHER) as client:
        client.create("Heavy")
        for _ in range(count):
            append(client, "Heavy", megabytes * 1000)
    command = words(source, "--folder", "Heavy", account=OTHER, user=OTHER)
    # Run by a small process: what a child used at most begins with what its parent did when it was forked.
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, sys.executable, "-m", "services.cli", *command],
        env=target.environ, input=PASSWORD + "\n", text=True, capture_output=True, timeout=300, check=True,
    )  # fmt: skip
    assert len(content(target, "Heavy", OTHER)) == count
    assert int(done.stdout) < 128 * 1024, "160 MB of mail, and the program itself takes 60"


@running_services
def test_tls_is_verified(source: RunningServices, target: RunningServices, authority: Authority) -> None:
    for kind, port in (("tls", source.imaps), ("starttls", source.imap)):
        command = ["migrate", "imap", USER, "--host", "localhost", "--port", str(port), "--tls", kind,
                   "--folder", "INBOX", "--password-stdin"]  # fmt: skip
        code, told = target.refused(*command, given=PASSWORD + "\n")
        assert (code, "its certificate is not trusted" in told) == (1, True)
        trusted = [*command, "--cafile", str(authority.cafile)]
        elsewhere = [word if word != "localhost" else "localhost.localdomain" for word in trusted]
        assert target.refused(*elsewhere, given=PASSWORD + "\n")[0] == 1
        told = target.command(*trusted, "--json", given=PASSWORD + "\n").stdout
        assert '"complete": true' in told
    assert content(target, "INBOX") == content(source, "INBOX")


@running_services
def test_what_cannot_be_is_said(source: RunningServices, target: RunningServices, tmp_path: Path) -> None:
    code, told = target.refused(*words(source), given="wrong\n")
    assert (code, told.splitlines()[-1]) == (
        1,
        f"localhost: {USER} cannot log in: [AUTHENTICATIONFAILED] Wrong name or password",
    )
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = str(nobody.getsockname()[1])
        command = ["migrate", "imap", USER, "--host", "localhost", "--port", port, "--password-stdin"]
        code, told = target.refused(*command, given=PASSWORD + "\n")
    assert (code, told) == (1, f"localhost:{port}: Connection refused\n")
    assert "no such account" in target.refused(*words(source, account="new@example.com"), given=PASSWORD + "\n")[1]
    done = target.command(*words(source, "--create", account="new@example.com"), given=PASSWORD + "\n")
    assert "copied" in done.stdout
    assert "unprotected" in done.stderr
    assert target.refused(*words(source, "--folder", "None*"), given=PASSWORD + "\n")[1].endswith(
        "no mailbox matches\n"
    )
    assert target.refused(*words(source, "--cafile", "x"), given=PASSWORD + "\n")[0] == 2
    source.command("config", "check")
    target.environ["MAILKEEP_STORE_MAXMESSAGESIZE"] = "65536"
    with client_of(source, OTHER) as client:
        append(client, "Large" if client.create("Large")[0] == "OK" else "INBOX", 90)
    done = target.command(
        *words(source, "--folder", "Large", account=OTHER, user=OTHER), given=PASSWORD + "\n", check=False
    )
    assert (done.returncode, done.stdout) == (1, "0 copied, 0 there already, 1 refused (too large)\n")


@running_services
def test_an_interrupt_does_not_wait_for_a_server_that_hangs(target: RunningServices) -> None:
    asked = threading.Event()

    def answers(tag: bytes, line: bytes) -> bytes:
        if not line.startswith(b"LIST"):
            return misbehaving(b"", b"")(tag, line)
        asked.set()
        return b"* "  # and nothing more

    with server(answers) as port:
        command = ["migrate", "imap", USER, "--host", "127.0.0.1", "--port", str(port), "--tls", "none",
                   "--password-stdin"]  # fmt: skip
        with subprocess.Popen(
            [sys.executable, "-m", "services.cli", *command], env=target.environ, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            process.stdin.write(PASSWORD.encode() + b"\n")
            process.stdin.flush()
            assert asked.wait(90)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.endswith(b"interrupted; the same command goes on from here\n")


# ---- names and journal ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("personal", "others", "name", "mark", "here"),
    [
        ([], [], "inbox", b"/", "INBOX"),
        ([], [], "Work/2026", b"/", "Work/2026"),
        ([], [], "Work.2026", b".", "Work/2026"),
        ([], [], "a/b.c", b".", "a_b/c"),
        ([], [], "flat/name", None, "flat_name"),
        (["INBOX."], [], "INBOX.Sent.2026", b".", "Sent/2026"),
        (["INBOX."], [], "INBOX", b".", "INBOX"),
        (["INBOX."], [], "INBOX.", b".", ""),
        (["Mail/"], [], "Mail", b"/", ""),
        ([], ["Shared Folders/", "#public."], "Shared Folders/User/bob", b"/", ""),
        ([], ["#public."], "#public.news", b".", ""),
        ([], [], "", b"/", ""),
    ],
)
def test_names_are_as_they_are_here(personal: list[str], others: list[str], name: str, mark: bytes, here: str) -> None:
    assert _Names(personal, others).here(name, mark) == here


def test_a_journal_goes_on_and_starts_over_where_a_mailbox_is_another(tmp_path: Path) -> None:
    with closing(Journal(str(tmp_path), USER, "there")) as journal:
        assert journal.place("INBOX", 7, 3) == Place("INBOX", 7, 0, 3, 0)
        journal.note(Place("INBOX", 7, 50, 3, 40))
        journal.note(Place("INBOX", 7, 90, 3, 80))
        with pytest.raises(SourceError, match="already"):
            Journal(str(tmp_path), USER, "there")
        Journal(str(tmp_path), OTHER, "there").close()
    with open(journal.path, "a") as file:
        file.write('{"mailbox": "INBOX", "uidvali')
    with closing(Journal(str(tmp_path), USER, "there")) as journal:
        assert journal.place("INBOX", 7, 3) == Place("INBOX", 7, 90, 3, 80)
        assert journal.place("INBOX", 8, 3).upto == 0
        assert journal.place("INBOX", 7, 4).upto == 0


# ---- servers that misbehave -----------------------------------------------------------------------------------------
@contextmanager
def server(answers: Callable[[bytes, bytes], bytes]) -> Iterator[int]:
    """A server for one client: `answers` has (tag, command line) and says what is sent."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"* OK ready\r\n")
            for line in lines:
                tag, _, command = line.strip().partition(b" ")
                answer = answers(tag, command.upper())
                if not answer:
                    return
                try:
                    connection.sendall(answer)
                except OSError:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listening:
        yield listening.getsockname()[1]
    thread.join(60)


HONEST = {
    b"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n",
    b"LOGIN": b"",
    b"LIST": b'* LIST () "/" INBOX\r\n',
    b"LSUB": b"",
    b"EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n",
    b"UID SEARCH": b"* SEARCH 5\r\n",
    b"UID FETCH 5 (RFC822.SIZE": b"* 1 FETCH (UID 5 RFC822.SIZE 3 FLAGS ())\r\n",
    b"UID FETCH 5 (BODY.PEEK[]": b"* 1 FETCH (UID 5 BODY[] {3}\r\nabc)\r\n",
    b"LOGOUT": b"* BYE\r\n",
}


def misbehaving(command: bytes, instead: bytes) -> Callable[[bytes, bytes], bytes]:
    def answers(tag: bytes, line: bytes) -> bytes:
        known = next((name for name in HONEST if line.startswith(name)), b"")
        if known == command:
            return instead.replace(b"TAG", tag)
        return HONEST[known] + tag + b" OK done\r\n" if known else tag + b" BAD what\r\n"

    return answers


def read_all(port: int, tmp_path: Path) -> list[bytes]:
    with closing(Journal(str(tmp_path), USER, str(port))) as journal:
        known = Server("127.0.0.1", port, Security.NONE, USER, PASSWORD)
        source = ImapSource(known, journal, 1 << 20, lambda _: True, lambda _: 0)
        try:
            source.open()
            return [message.body for folder in source.folders() for message in folder.messages]
        finally:
            source.close()


def test_an_honest_server_is_read(tmp_path: Path) -> None:
    with server(misbehaving(b"", b"")) as port:
        assert read_all(port, tmp_path) == [b"abc"]


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (b"LIST", b""),
        (b"LIST", b"* LIST garbage\r\nTAG OK done\r\n"),
        (b"LIST", b'* LIST () "/" {9999999999}\r\n'),
        (b"LIST", b"TAG NO [ALERT] \x1b[2J never\r\n"),
        (b"LIST", b"nonsense without end\r\n"),
        (b"EXAMINE", b"* 1 EXISTS\r\nTAG OK no validity\r\n"),
        (b"EXAMINE", b"TAG NO gone\r\n"),
        (b"UID SEARCH", b"* SEARCH five\r\nTAG OK done\r\n"),
        (b"UID FETCH 5 (RFC822.SIZE", b"* 1 FETCH (UID 5 RFC822.SIZE many)\r\nTAG OK done\r\n"),
        (b"UID FETCH 5 (RFC822.SIZE", b"* 1 FETCH (UID\r\nTAG OK done\r\n"),
        (b"UID FETCH 5 (BODY.PEEK[]", b"* 1 FETCH (UID 5 BODY[] {3000000000}\r\n"),
        (b"UID FETCH 5 (BODY.PEEK[]", b"* 1 FETCH (UID 5 BODY[] {30}\r\nshort"),
    ],
)
def test_a_server_that_misbehaves_is_an_error_and_no_traceback(tmp_path: Path, command: bytes, instead: bytes) -> None:
    with server(misbehaving(command, instead)) as port, pytest.raises(SourceError) as caught:
        _once(port, tmp_path)
    assert str(caught.value).isprintable()


def _once(port: int, tmp_path: Path) -> None:
    import services.cli.migrating.imapsource as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SECONDS", 2.0)
        read_all(port, tmp_path)


def test_a_message_that_went_or_has_no_body_is_left_out(tmp_path: Path) -> None:
    for instead in (b"TAG OK done\r\n", b"* 1 FETCH (UID 5 BODY[] NIL)\r\nTAG OK done\r\n"):
        with server(misbehaving(b"UID FETCH 5 (BODY.PEEK[]", instead)) as port:
            assert read_all(port, tmp_path) == []
