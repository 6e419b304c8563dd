"""`store check` names what is damaged and nothing else; a backup made under load is a whole store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from services.common.options import StoreOptions
from services.common.segments import segment_path
from services.store import check as checking
from services.store.backends import Transaction
from services.store.backends.segmentfile import Record, body_is_whole
from services.store.backup import MANIFEST, BackupRefused, backup, restore
from services.store.check import check, repair
from services.store.embedded import EmbeddedStore, metadata_path
from services.store.invariants import INVARIANTS
from services.store.lock import StoreInUse, StoreLock
from services.store.schema import SchemaTooNew
from tests.support.rows import expunge_row, file_body, located, make_account, read_all

OPTIONS = StoreOptions(segmentbytes=1 << 20, cleanupage=0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    """A store with small segments."""
    opened = await EmbeddedStore.open(str(tmp_path / "store"), OPTIONS)
    opened.bodies.segment_bytes = 30_000
    yield opened
    await opened.close()


def path_of(store: EmbeddedStore) -> str:
    """Its folder."""
    return store.bodies.store_path


def kinds(store: EmbeddedStore) -> list[str]:
    """What a check finds."""
    return sorted({finding.kind for finding in check(path_of(store))})


BREAKAGES = {
    "mailbox messages": "UPDATE mailboxes SET messages = messages + 1; UPDATE accounts SET used_messages = 4",
    "mailbox unseen": "UPDATE mailboxes SET unseen = 0",
    "mailbox deleted": "UPDATE mailboxes SET deleted = 2",
    "mailbox size": "UPDATE mailboxes SET size = 1; UPDATE accounts SET used_bytes = 1",
    "account bytes": "UPDATE accounts SET used_bytes = used_bytes - 1",
    "account messages": "UPDATE accounts SET used_messages = 0",
    "uidnext": "UPDATE mailboxes SET uidnext = 3",
    "mailbox modseq": "UPDATE mailboxes SET modseq = 1",
    "account modseq": "UPDATE accounts SET modseq = 1",
    "ids": "UPDATE accounts SET next_id = 1",
    "mailbox without account": "UPDATE mailboxes SET account_id = 9",
    "message without mailbox": "UPDATE messages SET mailbox_id = 7 WHERE uid = 1",
    "message without content": "DELETE FROM contents WHERE content_id = (SELECT MIN(content_id) FROM contents)",
    "message expunged and present": "INSERT INTO expunged VALUES (1, 1, 2, 1, 2, 2)",
    "references": "UPDATE contents SET refs = 2",
    "content without account": "UPDATE contents SET account_id = 8 WHERE content_id = 2",
    "content dead and alive": "INSERT INTO dead_contents SELECT 1, content_id, 1, 1, 1, digest, 1 FROM contents",
}
REPAIRED = (
    "mailbox messages", "mailbox unseen", "mailbox deleted", "mailbox size", "account bytes", "account messages",
    "uidnext", "mailbox modseq", "account modseq", "references",
)  # fmt: skip


def test_every_invariant_is_broken_once() -> None:
    assert BREAKAGES.keys() == INVARIANTS.keys()


@pytest.mark.parametrize("kind", BREAKAGES)
async def test_a_broken_invariant_is_found(store: EmbeddedStore, kind: str) -> None:
    account_id = await make_account(store.database)
    for body in (b"one", b"two", b"three"):
        await file_body(store.database, store.bodies, account_id, body)
    assert kinds(store) == []
    connection = apsw.Connection(metadata_path(path_of(store)))
    connection.set_busy_timeout(5000)
    connection.execute(BREAKAGES[kind])
    connection.close()
    assert kind in kinds(store)
    if kind in REPAIRED:
        assert kinds(store) == [kind]
        assert repair(path_of(store)) > 0
        assert kinds(store) == []
    assert repair(path_of(store)) == 0 or kind not in REPAIRED


async def test_repair_gives_no_uid_of_an_expunged_message_again(store: EmbeddedStore) -> None:
    account_id = await make_account(store.database)
    for body in (b"one", b"two"):
        await file_body(store.database, store.bodies, account_id, body)
    await store.database.write(lambda tx: expunge_row(tx, account_id, 2, 0))
    await store.database.write(lambda tx: tx.execute("UPDATE mailboxes SET uidnext = 2"))
    assert kinds(store) == ["uidnext"]
    repair(path_of(store))
    assert kinds(store) == []
    assert await store.database.read(lambda tx: tx.fetch("SELECT uidnext FROM mailboxes")) == [(3,)]


async def test_rows_that_are_still_to_be_cleared_are_no_finding(store: EmbeddedStore) -> None:
    account_id = await make_account(store.database)
    await file_body(store.database, store.bodies, account_id, b"body")
    removed = [
        ("DELETE FROM mailboxes", "UPDATE accounts SET used_bytes = 0, used_messages = 0", f"reap/{account_id}/1"),
        ("DELETE FROM accounts", "DELETE FROM meta WHERE key LIKE 'reap/%'", f"reap/{account_id}"),
    ]
    for first, second, note in removed:

        async def rule(tx: Transaction, statements: tuple[str, str] = (first, second), note: str = note) -> None:
            for statement in statements:
                await tx.execute(statement)
            await tx.execute("INSERT INTO meta VALUES ($1, '')", note)

        await store.database.write(rule)
        assert kinds(store) == []


async def test_damage_names_the_messages_that_it_concerns(store: EmbeddedStore) -> None:
    names = ["a@example.org", "b@example.org"]
    accounts = [await make_account(store.database, name) for name in names]
    for number in range(30):
        await file_body(store.database, store.bodies, accounts[number % 2], b"%d" % number * 2000)
    places = await store.database.read(lambda tx: located(tx, accounts[1]))
    flipped, header = places[4][0], places[5][0]
    assert flipped.segment == header.segment
    with open(segment_path(path_of(store), flipped.segment), "r+b") as file:
        file.seek(flipped.offset + 100)
        file.write(b"!")
        file.seek(header.offset - 20)
        file.write(b"!")
    gone = max(place.segment for place, _ in places.values())
    os.unlink(segment_path(path_of(store), gone))
    progress: list[tuple[int, int]] = []
    found = list(check(path_of(store), progress=lambda done, total: progress.append((done, total))))
    named = {(finding.account, finding.mailbox, finding.uid): finding for finding in found}
    damaged, record = named["b@example.org", "INBOX", 4], named["b@example.org", "INBOX", 5]
    assert damaged.detail == "the body is not what its digest says"
    assert (damaged.file, damaged.offset) == (segment_path(path_of(store), flipped.segment), flipped.offset)
    assert record.detail == "the record's header is damaged; the body is whole"
    missing = [finding for finding in found if finding.file == segment_path(path_of(store), gone)]
    assert len(found) == len(missing) + 2
    assert {finding.detail for finding in missing} == {"the file cannot be opened: No such file or directory"}
    assert progress[-1][0] <= progress[-1][1]


async def test_metadata_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "metadata.db").write_bytes(b"nothing of the kind" * 500)
    assert [finding.kind for finding in check(str(tmp_path))] == ["metadata"]
    assert [finding.kind for finding in check(str(tmp_path / "nowhere"))] == ["metadata"]


async def test_a_backup_under_load_is_whole(store: EmbeddedStore, tmp_path: Path) -> None:
    account_id = await make_account(store.database)
    bodies: dict[int, bytes] = {}
    expunged: set[int] = set()
    working = True

    async def deliver(start: int) -> None:
        number = start
        while working:
            number += 10
            body = b"%d " % number * 400
            uid = await file_body(store.database, store.bodies, account_id, body)
            bodies[uid] = body
            if uid % 3:
                await store.database.write(lambda tx, u=uid: expunge_row(tx, account_id, u, 0))  # type: ignore[misc]
                expunged.add(uid)

    async def compact() -> None:
        store.compactor._grace = 0.2
        while working:
            await store.compactor.run_once(everything=True)
            await asyncio.sleep(0.01)

    load = [asyncio.ensure_future(work) for work in (deliver(1), deliver(2), deliver(3), compact())]
    await asyncio.sleep(0.3)
    before, gone_before = set(bodies), set(expunged)
    findings = await asyncio.to_thread(backup, path_of(store), str(tmp_path / "backup"))
    working = False
    await asyncio.gather(*load)
    assert findings == []
    assert restore(str(tmp_path / "backup"), str(tmp_path / "restored")) == []
    restored = await EmbeddedStore.open(str(tmp_path / "restored"), OPTIONS)
    there = await read_all(restored.database, restored.bodies, account_id)
    assert before - expunged <= set(there)
    assert not gone_before & set(there)
    assert all(bodies[uid] == body for uid, body in there.items())
    await file_body(restored.database, restored.bodies, account_id, b"life goes on")
    await restored.close()
    assert list(check(str(tmp_path / "restored"))) == []
    assert list(check(str(tmp_path / "backup"))) == []


async def test_closed_segments_are_linked(store: EmbeddedStore, tmp_path: Path) -> None:
    account_id = await make_account(store.database)
    for number in range(10):
        await file_body(store.database, store.bodies, account_id, b"%d" % number * 10_000)
    os.utime(segment_path(path_of(store), 1), (0, 0))
    assert backup(path_of(store), str(tmp_path / "backup")) == []
    links = [os.stat(segment_path(str(tmp_path / "backup"), number)).st_nlink for number in (1, 2)]
    assert links == [2, 1]
    assert restore(str(tmp_path / "backup"), str(tmp_path / "restored")) == []
    assert os.stat(segment_path(str(tmp_path / "restored"), 1)).st_nlink == 1


async def test_files_are_closed_to_others_whatever_the_umask(tmp_path: Path) -> None:
    folders = [str(tmp_path / name) for name in ("store", "backup", "restored")]
    before = os.umask(0)
    try:
        os.mkdir(folders[0])
        store = await EmbeddedStore.open(folders[0], OPTIONS)
        await file_body(store.database, store.bodies, await make_account(store.database), b"body")
        backup(folders[0], folders[1])
        restore(folders[1], folders[2])
        paths = [path for folder in folders for path in Path(folder).rglob("*") if path.is_file()]
        assert {"metadata.db", "metadata.db-wal", "metadata.db-shm"} <= {path.name for path in paths}
        mail = [path for path in paths if path.name not in (MANIFEST, "lock")]
        assert [str(path) for path in mail if path.stat().st_mode & 0o027] == []
        await store.close()
    finally:
        os.umask(before)


async def test_a_restored_store_gives_no_number_again(store: EmbeddedStore, tmp_path: Path) -> None:
    ada = await make_account(store.database, "ada@example.org")
    for body in (b"one", b"two"):
        await file_body(store.database, store.bodies, ada, body)
    assert backup(path_of(store), str(tmp_path / "backup")) == []
    since = await make_account(store.database, "bob@example.org")
    for body in (b"three", b"four"):
        await file_body(store.database, store.bodies, ada, body)
    given = await store.database.read(_numbers)
    assert restore(str(tmp_path / "backup"), str(tmp_path / "restored")) == []
    restored = await EmbeddedStore.open(str(tmp_path / "restored"), OPTIONS)
    try:
        numbers = await restored.database.read(_numbers)
        assert all(new > old for new, old in zip(numbers, given, strict=True))
        changed = await restored.database.read(
            lambda tx: tx.fetch("SELECT uid FROM messages WHERE modseq > $1", given[0])
        )
        assert sorted(changed) == [(1,), (2,)]
        assert await make_account(restored.database, "carol@example.org") > since
        assert list(check(str(tmp_path / "restored"))) == []
    finally:
        await restored.close()


async def _numbers(tx: Transaction) -> tuple[int, ...]:
    """The counters of the first account: changes, ids, UIDs."""
    (row,) = await tx.fetch(
        "SELECT a.modseq, a.next_id, b.uidnext, b.modseq FROM accounts a JOIN mailboxes b USING (account_id)"
        " ORDER BY a.account_id LIMIT 1"
    )
    return tuple(int(str(number)) for number in row)


async def test_a_folder_that_is_being_filled_is_no_store(store: EmbeddedStore, tmp_path: Path) -> None:
    await file_body(store.database, store.bodies, await make_account(store.database), b"body")
    assert backup(path_of(store), str(tmp_path / "backup")) == []
    refused: list[bool] = []

    def open_meanwhile(_what: str, _done: int, _of: int) -> None:
        with pytest.raises(StoreInUse):
            StoreLock(str(tmp_path / "restored"))
        refused.append(True)

    assert restore(str(tmp_path / "backup"), str(tmp_path / "restored"), open_meanwhile) == []
    assert refused


async def test_what_is_no_backup_is_not_restored(store: EmbeddedStore, tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match="not empty"):
        backup(path_of(store), str(tmp_path))
    with pytest.raises(BackupRefused, match="no store"):
        backup(str(tmp_path / "nowhere"), str(tmp_path / "backup"))
    with pytest.raises(BackupRefused, match="not a backup"):
        restore(path_of(store), str(tmp_path / "restored"))
    assert backup(path_of(store), str(tmp_path / "backup")) == []
    with pytest.raises(BackupRefused, match="not empty"):
        restore(str(tmp_path / "backup"), path_of(store))
    (tmp_path / "backup" / MANIFEST).write_text('{"schema": 99}')
    with pytest.raises(SchemaTooNew):
        restore(str(tmp_path / "backup"), str(tmp_path / "restored"))


async def test_a_body_that_is_moved_during_a_check_is_no_finding(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id = await make_account(store.database)
    for number in range(30):
        await file_body(store.database, store.bodies, account_id, b"%d" % number * 2000)
    for uid in (uid for uid in range(1, 31) if uid % 4):
        await store.database.write(lambda tx, u=uid: expunge_row(tx, account_id, u, 0))  # type: ignore[misc]
    store.compactor._grace = 0
    loop = asyncio.get_running_loop()
    real, calls = body_is_whole, 0

    def compact_first(fd: int, record: Record) -> bool:
        nonlocal calls
        calls += 1
        if calls > 1:
            return real(fd, record)
        done = asyncio.run_coroutine_threadsafe(store.compactor.run_once(everything=True), loop).result(10)
        assert done.moved > 0
        return False

    monkeypatch.setattr(checking, "body_is_whole", compact_first)
    assert await asyncio.to_thread(lambda: list(check(path_of(store)))) == []
    assert calls > 1
