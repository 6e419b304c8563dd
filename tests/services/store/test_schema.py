"""The schema: made, migrated from each released one, refused when it is newer."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from services.common.domain import FLAGGED, KEYWORD_SHIFT, SEEN, Column, Recipient, TextField, TextKey
from services.common.errors import StoreError
from services.common.options import StoreOptions
from services.store import schema
from services.store.backends import sqliteconnection
from services.store.backends.sqlite import SqliteDatabase
from services.store.backends.sqliteconnection import schema_version
from services.store.backup import backup, restore
from services.store.check import check
from services.store.embedded import EmbeddedStore, metadata_path
from services.store.mailstore import MailStore
from services.store.schema import Dialect, SchemaTooNew

KEPT = Path(__file__).parent / "kept"
"""A store of each released schema, made by `scripts/keep-store` (`tests.support.keptstore`)."""
RELEASED = range(1, schema.SCHEMA_VERSION + 1)
NEXT = schema.SCHEMA_VERSION + 1


def tables(connection: apsw.Connection) -> dict[str, str]:
    """Each table and index with the text that makes it, spaces apart."""
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
    return {str(name): " ".join(str(sql).split()) for name, sql in rows}


def kept_store(version: int, folder: Path) -> str:
    """A store as the release with that schema left it, put into a folder; the path of its metadata."""
    with tarfile.open(KEPT / f"schema{version}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return metadata_path(str(folder))


async def test_a_new_store_has_the_present_schema(tmp_path: Path) -> None:
    path = str(tmp_path / "metadata.db")
    await (await SqliteDatabase.open(path)).close()
    connection = apsw.Connection(path)
    assert schema_version(connection) == schema.SCHEMA_VERSION
    assert connection.pragma("journal_mode") == "wal"
    connection.close()


def test_a_store_of_each_schema_is_kept() -> None:
    assert {path.name for path in KEPT.iterdir()} == {f"schema{version}.tar.xz" for version in RELEASED}


@pytest.mark.parametrize("version", RELEASED)
async def test_each_released_schema_becomes_the_present_one(version: int, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new = str(tmp_path / "new" / "metadata.db")
    await (await SqliteDatabase.open(new)).close()
    old = kept_store(version, tmp_path / "old")
    with closing(apsw.Connection(old)) as connection:
        assert schema_version(connection) == version
    await (await SqliteDatabase.open(old)).close()
    with closing(apsw.Connection(old)) as migrated, closing(apsw.Connection(new)) as made:
        assert tables(migrated) == tables(made)
    assert list(check(str(tmp_path / "old"))) == []


@pytest.mark.parametrize("version", RELEASED)
async def test_a_kept_store_serves_its_mail(version: int, tmp_path: Path) -> None:
    kept_store(version, tmp_path)
    engine = await EmbeddedStore.open(str(tmp_path), StoreOptions())
    store = MailStore(engine.database, engine.bodies, StoreOptions())
    try:
        await serves(store)
    finally:
        await store.close()
        await engine.close()


@pytest.mark.parametrize("version", RELEASED)
async def test_a_backup_of_each_schema_can_be_restored(version: int, tmp_path: Path) -> None:
    kept_store(version, tmp_path / "old")
    assert backup(str(tmp_path / "old"), str(tmp_path / "backup")) == []
    assert restore(str(tmp_path / "backup"), str(tmp_path / "new")) == []
    engine = await EmbeddedStore.open(str(tmp_path / "new"), StoreOptions())
    store = MailStore(engine.database, engine.bodies, StoreOptions())
    try:
        anna = await store.open_account("anna@example.com", create=False)
        whole = await store.sync_mailbox(anna.account_id, "INBOX")
        assert list(whole.changed.uids) == [1, 3, 4]
        for known in (1, 2, 1_000, whole.status.modseq - 1):
            assert await store.sync_mailbox(anna.account_id, "INBOX", known) == whole, "what went since is not known"
        assert not (await store.sync_mailbox(anna.account_id, "INBOX", whole.status.modseq)).changed.uids
        assert await store.logins.all(anna.account_id) == [], "some may have been ended since"
    finally:
        await store.close()
        await engine.close()


async def serves(store: MailStore) -> None:
    """All that `keptstore` puts into a store is there, and the store goes on from it."""
    anna = await store.open_account("anna@example.com", create=False)
    boxes = {box.name: box for box in await store.list_mailboxes(anna.account_id)}
    assert {name: box.messages for name, box in boxes.items() if box.messages} == {
        "INBOX": 3, "Archive": 1, "Drafts": 1, "Trash": 1,
    }  # fmt: skip
    inbox = boxes["INBOX"]
    assert (inbox.uidnext, inbox.unseen, inbox.keywords) == (5, 2, ("$Forwarded",))
    assert "Lists/None" in await store.list_subscriptions(anna.account_id)
    delta = await store.sync_mailbox(anna.account_id, "INBOX", 2)
    assert list(delta.expunged) == [2]
    assert delta.changed.flags[0] == SEEN | FLAGGED | 1 << KEYWORD_SHIFT
    columns = await store.fetch_columns(anna.account_id, inbox.mailbox_id, Column.LOCATION | Column.CONTENT)
    bodies = await store.read_bodies(anna.account_id, columns.locations or [])
    assert [body.partition(b"\r\n")[0] for body in bodies] == [b"X-Prefix: y"] * 3
    assert "Grüße".encode() in bodies[0]
    assert len(set(columns.thread_ids or ())) == 1
    keys = [TextKey(TextField.BODY, "GRÜßE"), TextKey(TextField.SUBJECT, "number 3")]
    assert [list(found) for found in await store.search_text(anna.account_id, inbox.mailbox_id, keys)] == [[1], [3]]
    bert = await store.open_account("bert@example.com", create=False)
    [box] = [box for box in await store.list_mailboxes(bert.account_id) if box.messages]
    keys = [TextKey(TextField.BODY, "word5")]
    assert [list(found) for found in await store.search_text(bert.account_id, box.mailbox_id, keys)] == [[5]]
    [delivered] = await store.deliver([Recipient(anna.name)], b"Subject: new\r\n\r\n", request_id="after")
    assert delivered.uid == 5
    [again] = await store.deliver([Recipient(anna.name)], b"Subject: new\r\n\r\n", request_id="after")
    assert again == delivered


async def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = Path(kept_store(schema.SCHEMA_VERSION, tmp_path))
    writer = apsw.Connection(str(path))
    writer.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    before = path.read_bytes(), (tmp_path / "metadata.db-wal").read_bytes()
    with pytest.raises(SchemaTooNew, match="version 99"):
        await SqliteDatabase.open(str(path))
    assert (path.read_bytes(), (tmp_path / "metadata.db-wal").read_bytes()) == before
    writer.close()


async def test_a_migration_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_dialect: Dialect) -> Sequence[str]:
        return ["CREATE TABLE half (a INTEGER)", "DROP TABLE messages", "this is no SQL"]

    path = kept_store(schema.SCHEMA_VERSION, tmp_path)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", NEXT)
    monkeypatch.setitem(schema.MIGRATIONS, NEXT, broken)
    connection = apsw.Connection(path)
    before = tables(connection)
    with pytest.raises(StoreError):
        await SqliteDatabase.open(path)
    assert tables(connection) == before
    assert schema_version(connection) == NEXT - 1
    connection.close()


async def test_a_kill_during_a_migration_leaves_the_step_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill leaves is the file without the step's commit; the next start does the step."""
    path = kept_store(schema.SCHEMA_VERSION, tmp_path)
    killed = apsw.Connection(path)
    killed.execute("BEGIN IMMEDIATE; CREATE TABLE later (a INTEGER)")
    killed.cache_flush()
    for suffix in ("", "-wal"):
        copy = tmp_path / f"copy.db{suffix}"
        copy.write_bytes((tmp_path / f"metadata.db{suffix}").read_bytes())
    killed.close()
    monkeypatch.setattr(schema, "SCHEMA_VERSION", NEXT)
    monkeypatch.setitem(schema.MIGRATIONS, NEXT, lambda _dialect: ["CREATE TABLE later (a INTEGER)"])
    connection = sqliteconnection.prepare(str(tmp_path / "copy.db"), cache_bytes=1 << 20)
    assert schema_version(connection) == NEXT
    assert "later" in tables(connection)
    connection.close()


STEP = 1_500
"""Tables that the migration of `MIGRATE` makes: it takes long enough to be killed in."""
MIGRATE = f"""
import sys
from services.store import schema
from services.store.backends import sqliteconnection

schema.SCHEMA_VERSION = {NEXT}
schema.MIGRATIONS[{NEXT}] = lambda dialect: ["CREATE TABLE later%d (a INTEGER)" % n for n in range({STEP})]
print("begun", flush=True)
sqliteconnection.prepare(sys.argv[1], cache_bytes=1 << 20).close()
"""


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.03, 0.1, 0.3])
def test_a_process_killed_while_it_migrates_leaves_the_old_store_or_the_new(
    seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept_store(schema.SCHEMA_VERSION, tmp_path)
    with subprocess.Popen([sys.executable, "-c", MIGRATE, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        time.sleep(seconds)
        process.kill()
    with closing(apsw.Connection(path)) as connection:
        made = sum(name.startswith("later") for name in tables(connection))
        assert (schema_version(connection), made) in {(NEXT - 1, 0), (NEXT, STEP)}
        assert connection.pragma("integrity_check") == "ok"
    subprocess.run([sys.executable, "-c", MIGRATE, path], check=True, stdout=subprocess.DEVNULL, timeout=100)
    with closing(apsw.Connection(path)) as connection:
        assert schema_version(connection) == NEXT
    monkeypatch.setattr(schema, "SCHEMA_VERSION", NEXT)
    assert list(check(str(tmp_path))) == []


def test_the_other_dialect_is_complete() -> None:
    statements = [text for step in schema.MIGRATIONS.values() for text in step(schema.POSTGRESQL)]
    assert len(statements) > 20
    assert not any(word in text for text in statements for word in ("WITHOUT ROWID", "STRICT", "BLOB", "fts5"))
