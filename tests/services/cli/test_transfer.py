"""Files written by an export come back byte for byte by an import, with flags, keywords and dates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.cli.transfer.eml import EmlSource, EmlTarget
from services.cli.transfer.importing import Present
from services.cli.transfer.maildir import MaildirSource, MaildirTarget
from services.cli.transfer.mbox import MboxSource, MboxTarget
from services.cli.transfer.message import (
    Folder,
    Message,
    Source,
    SourceError,
    Target,
    file_name,
    folder_name,
    with_crlf,
)
from services.common.domain import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, BodyRef

FORMS: dict[str, tuple[Callable[[Path], Target], Callable[[Path], Source]]] = {
    "mbox": (MboxTarget, MboxSource),
    "maildir": (MaildirTarget, MaildirSource),
    "eml": (EmlTarget, EmlSource),
}
BODIES = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from([b"From x\r\n", b">From y\n", b"From z\n", b"\r\n", b"\n", b"\r", b"text", b".\r\n", b"\0"])
    ).map(b"".join),
)
MESSAGES = st.builds(
    Message,
    BODIES,
    st.integers(0, 31).filter(lambda bits: bits & ~(SEEN | ANSWERED | FLAGGED | DELETED | DRAFT) == 0),
    st.lists(st.sampled_from(["$Junk", "$Forwarded", "todo"]), unique=True).map(tuple),
    st.integers(0, 1 << 31),
)


def written(form: str, path: Path, messages: list[Message], folder: str = "INBOX") -> None:
    target = FORMS[form][0](path)
    path.mkdir(exist_ok=True)
    target.begin(folder, 7)
    for uid, message in enumerate(messages, 1):
        if not target.has(uid):
            target.write(uid, message)
    target.end()


def read(form: str, path: Path) -> list[tuple[str, list[Message]]]:
    return [(folder.name, list(folder.messages)) for folder in FORMS[form][1](path).folders()]


def comparable(message: Message) -> tuple[bytes, int, tuple[str, ...], int | None]:
    return message.body, message.system, tuple(sorted(message.keywords)), message.internaldate


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=4))
def test_round_trip(form: str, messages: list[Message], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp(form)
    written(form, path, messages)
    ((name, found),) = read(form, path)
    assert name == "INBOX"
    assert sorted(map(comparable, found)) == sorted(map(comparable, messages))


@pytest.mark.parametrize("form", FORMS)
def test_folders_keep_their_names(form: str, tmp_path: Path) -> None:
    folders = {"INBOX", "Work/2026", "Entwürfe", "v1.2", ".hidden/..", "a..b", "a_b", "50%2E", "x.mbox"}
    for folder in folders:
        written(form, tmp_path, [Message(b"Subject: x\r\n\r\n", 0, (), 5)], folder)
    assert {name for name, _ in read(form, tmp_path)} == folders


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_a_folder_name_comes_back_from_its_path(name: str) -> None:
    path = file_name(name)
    assert folder_name(path) == name
    assert not any(level.startswith(".") for level in path.split("/"))


def test_an_mbox_that_was_given_up_leaves_the_one_before(tmp_path: Path) -> None:
    written("mbox", tmp_path, [Message(b"Subject: x\r\n\r\n", 0, (), 5)])
    target = MboxTarget(tmp_path)
    target.begin("INBOX", 7)
    target.write(1, Message(b"half", 0, (), 5))
    target.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["INBOX.mbox"]
    assert len(read("mbox", tmp_path)[0][1]) == 1


def test_a_folder_of_mboxes_may_hold_other_files(tmp_path: Path) -> None:
    (tmp_path / "Work.sbd").mkdir()
    (tmp_path / "Work.sbd" / "2026").write_bytes(b"From a Mon Jan  5 10:00:00 2026\nSubject: x\n\n")
    (tmp_path / "Work.msf").write_bytes(b"// an index of Thunderbird")
    assert [name for name, _ in read("mbox", tmp_path)] == ["Work/2026"]


def test_odd_files_beside_eml_are_survived(tmp_path: Path) -> None:
    for number, beside in enumerate(('{"internaldate": null}', '{"flags": "x", "internaldate": "y"}', "[]")):
        (tmp_path / f"{number}.eml").write_bytes(b"Subject: x\r\n\r\n")
        (tmp_path / f"{number}.json").write_text(beside)
    ((_, messages),) = read("eml", tmp_path)
    assert [(message.system, message.keywords) for message in messages] == [(0, ())] * 3


def test_present_knows_messages_by_all_their_bytes() -> None:
    def ref(prefix: bytes, body: bytes) -> BodyRef:
        return BodyRef(hashlib.blake2b(body, digest_size=32).digest(), len(body), 1, 0, prefix)

    present = Present([ref(b"", b"a: 1\r\n"), ref(b"Return-Path: <>\r\n", b"a: 1\r\n"), ref(b"", b"a: 1\r\n")])
    assert present.take(b"Return-Path: <>\r\na: 1\r\n")
    assert not present.take(b"Return-Path: <>\r\na: 1\r\n")
    assert [present.take(b"a: 1\r\n") for _ in range(3)] == [True, True, False]
    assert not Present().take(b"")


@pytest.mark.parametrize("form", ["maildir", "eml"])
def test_a_second_run_leaves_what_is_there(form: str, tmp_path: Path) -> None:
    messages = [Message(b"one\r\n", SEEN, (), 5), Message(b"two\n", 0, (), 6)]
    written(form, tmp_path, messages)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    written(form, tmp_path, messages)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_foreign_mbox_with_bare_line_feeds(tmp_path: Path) -> None:
    path = tmp_path / "mail.mbox"
    path.write_bytes(
        b"From a@example.org Mon Jan  5 10:00:00 2026\nSubject: one\nStatus: RO\nX-Status: AF\n"
        b"X-Keywords: todo later\n\n"
        b">From the start\n\nFrom b@example.org Mon Jan  5 11:00:00 2026\nSubject: two\n\nbody\n"
    )
    ((_, (one, two)),) = read("mbox", path)
    assert one.body.endswith(b"\r\n\r\nFrom the start\r\n")
    assert (one.system, one.keywords, one.internaldate) == (SEEN | ANSWERED | FLAGGED, ("todo", "later"), 1767607200)
    assert two.body == b"Subject: two\r\n\r\nbody"


def test_foreign_maildir(tmp_path: Path) -> None:
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir()
    (tmp_path / "cur" / "1.host:2,FRS").write_bytes(b"Subject: x\n\nbody\n")
    (tmp_path / "new" / "2.host").write_bytes(b"Subject: y\n\nbody\n")
    ((_, messages),) = read("maildir", tmp_path)
    assert {m.system for m in messages} == {FLAGGED | ANSWERED | SEEN, 0}
    assert all(b"\r\n" in m.body for m in messages)


def test_what_is_no_mail_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    with pytest.raises(SourceError, match="no mbox"):
        list(next(MboxSource(tmp_path / "file").folders()).messages)
    with pytest.raises(SourceError, match="no Maildir"):
        MaildirSource(tmp_path)
    with pytest.raises(SourceError, match=r"no \.eml"):
        list(EmlSource(tmp_path).folders())


def test_line_ends_of_a_file_with_crlf_stay() -> None:
    assert with_crlf(b"a\r\nb\nc") == b"a\r\nb\nc"
    assert Folder("x", None, iter(())).name == "x"
