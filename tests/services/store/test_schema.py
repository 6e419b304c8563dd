"""The schema: made, migrated from each released one, refused when it is newer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from services.common.errors import StoreError
from services.store import schema
from services.store.backends import sqliteconnection
from services.store.backends.sqlite import SqliteDatabase
from services.store.backends.sqliteconnection import schema_version
from services.store.check import check
from services.store.schema import Dialect, SchemaTooNew

KEPT = Path(__file__).parent / "fixtures"


def tables(connection: apsw.Connection) -> dict[str, str]:
    """Each table and index with the text that makes it, spaces apart."""
    rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
    return {str(name): " ".join(str(sql).split()) for name, sql in rows}


def kept_store(version: int, path: Path) -> str:
    """A store as the release with that schema left it."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.pragma("journal_mode", "WAL")
        connection.execute((KEPT / f"schema{version}.sql").read_text())
    return str(path)


async def test_a_new_store_has_the_present_schema(tmp_path: Path) -> None:
    path = str(tmp_path / "metadata.db")
    await (await SqliteDatabase.open(path)).close()
    connection = apsw.Connection(path)
    assert schema_version(connection) == schema.SCHEMA_VERSION
    assert connection.pragma("journal_mode") == "wal"
    connection.close()


@pytest.mark.parametrize("version", range(1, schema.SCHEMA_VERSION + 1))
async def test_each_released_schema_becomes_the_present_one(version: int, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    new = str(tmp_path / "new" / "metadata.db")
    await (await SqliteDatabase.open(new)).close()
    old = kept_store(version, tmp_path / "metadata.db")
    await (await SqliteDatabase.open(old)).close()
    with closing(apsw.Connection(old)) as migrated, closing(apsw.Connection(new)) as made:
        assert tables(migrated) == tables(made)
        messages = migrated.execute(
            "SELECT a.name, b.name, m.uid, m.flags, c.preview FROM messages m JOIN accounts a USING (account_id)"
            " JOIN mailboxes b USING (account_id, mailbox_id) JOIN contents c USING (account_id, content_id)"
        ).fetchall()
        assert messages == [("demo@example.com", "INBOX", 1, 1, "Hello"), ("demo@example.com", "Sent", 3, 9, "Hello")]
    assert list(check(str(tmp_path), bodies=False)) == []


async def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    writer = apsw.Connection(kept_store(1, path))
    writer.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    before = path.read_bytes(), (tmp_path / "metadata.db-wal").read_bytes()
    with pytest.raises(SchemaTooNew, match="version 99"):
        await SqliteDatabase.open(str(path))
    assert (path.read_bytes(), (tmp_path / "metadata.db-wal").read_bytes()) == before
    writer.close()


async def test_a_migration_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_dialect: Dialect) -> Sequence[str]:
        return ["CREATE TABLE half (a INTEGER)", "DROP TABLE messages", "this is no SQL"]

    path = kept_store(1, tmp_path / "metadata.db")
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
    monkeypatch.setitem(schema.MIGRATIONS, 2, broken)
    connection = apsw.Connection(path)
    before = tables(connection)
    with pytest.raises(StoreError):
        await SqliteDatabase.open(path)
    assert tables(connection) == before
    assert schema_version(connection) == 1
    connection.close()


async def test_a_kill_during_a_migration_leaves_the_step_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill leaves is the file without the step's commit; the next start does the step."""
    path = kept_store(1, tmp_path / "metadata.db")
    killed = apsw.Connection(path)
    killed.execute("BEGIN IMMEDIATE; CREATE TABLE later (a INTEGER)")
    killed.cache_flush()
    for suffix in ("", "-wal"):
        copy = tmp_path / f"copy.db{suffix}"
        copy.write_bytes((tmp_path / f"metadata.db{suffix}").read_bytes())
    killed.close()
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
    monkeypatch.setitem(schema.MIGRATIONS, 2, lambda _dialect: ["CREATE TABLE later (a INTEGER)"])
    connection = sqliteconnection.prepare(str(tmp_path / "copy.db"), cache_bytes=1 << 20)
    assert schema_version(connection) == 2
    assert "later" in tables(connection)
    connection.close()


def test_the_other_dialect_is_complete() -> None:
    statements = schema.MIGRATIONS[1](schema.POSTGRESQL)
    assert len(statements) > 20
    assert not any(word in text for text in statements for word in ("WITHOUT ROWID", "STRICT", "BLOB", "fts5"))
