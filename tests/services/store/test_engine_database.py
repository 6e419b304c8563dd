"""What every engine promises of transactions (services.store.backends.Database)."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import cast

import pytest

from services.common.errors import Reason, StoreError
from services.store.backends import Transaction
from services.store.backends import jobs as engine_jobs
from services.store.backends import sqlite as engine
from services.store.backends.sqlite import SqliteDatabase
from services.store.backends.sqliteconnection import numbered
from tests.support.flakydisk import flaky_disk


async def put(tx: Transaction, key: str, value: str = "v") -> str:
    """Write one row."""
    await tx.execute("INSERT INTO meta (key, value) VALUES ($1, $2)", key, value)
    return key


async def keys(tx: Transaction) -> set[str]:
    """The rows that `put` wrote."""
    return {str(key) for (key,) in await tx.fetch("SELECT key FROM meta WHERE key <> 'schema_version'")}


async def refused(reason: Reason, work: asyncio.Future[str] | asyncio.Task[str]) -> None:
    """The work fails for that reason."""
    with pytest.raises(StoreError) as caught:
        await work
    assert caught.value.reason is reason


async def test_a_write_is_seen_by_the_next_read(database: SqliteDatabase) -> None:
    for number in range(20):
        await database.write(lambda tx, n=number: put(tx, f"k{n}"))  # type: ignore[misc]
        assert f"k{number}" in await database.read(keys)


async def test_statements_and_their_results(database: SqliteDatabase) -> None:
    async def rule(tx: Transaction) -> None:
        await tx.execute_many("INSERT INTO meta (value, key) VALUES ($2, $1)", [("a", "v1"), ("b", "v2")])
        assert await tx.fetch("SELECT key, value FROM meta WHERE value IN ($2, $1) ORDER BY 1", "v1", "v2") == [
            ("a", "v1"),
            ("b", "v2"),
        ]
        assert await tx.fetch_row("SELECT '$1', $1 || '', NULL", "x") == ("$1", "x", None)
        assert await tx.fetch_row("SELECT 1 FROM meta WHERE key = $1", "none") is None
        assert await tx.fetch_row("SELECT key FROM meta ORDER BY key") == ("a",)
        assert await tx.execute("UPDATE meta SET value = $1 WHERE key IN ('a', 'b')", "3") == 2
        assert await tx.execute("DELETE FROM meta WHERE key = 'none'") == 0
        assert await tx.fetch("DELETE FROM meta WHERE key = $1 RETURNING value", "a") == [("3",)]

    await database.write(rule)
    assert await database.read(keys) == {"b"}


def test_placeholders_are_rewritten_outside_of_strings_only() -> None:
    assert numbered("SELECT '$1 ''$2', $2, $10") == "SELECT '$1 ''$2', ?2, ?10"


async def test_a_rule_that_raises_is_rolled_back_alone(database: SqliteDatabase) -> None:
    async def bad(tx: Transaction) -> str:
        await put(tx, "bad")
        raise LookupError("no")

    results = await asyncio.gather(
        database.write(lambda tx: put(tx, "before")),
        database.write(bad),
        database.write(lambda tx: put(tx, "before")),  # breaks the primary key
        database.write(lambda tx: put(tx, "after")),
        return_exceptions=True,
    )
    assert results[0] == "before"
    assert isinstance(results[1], LookupError)
    assert isinstance(results[2], StoreError)
    assert results[2].reason is Reason.INTERNAL
    assert results[3] == "after"
    assert await database.read(keys) == {"before", "after"}


async def test_a_group_that_is_run_again_tells_of_each_commit_once(database: SqliteDatabase) -> None:
    runs: list[str] = []
    told: list[str] = []

    async def count(tx: Transaction, key: str) -> str:
        runs.append(key)
        return await put(tx, key)

    async def bad(tx: Transaction) -> str:
        await count(tx, "bad")
        raise LookupError("no")

    results = await asyncio.gather(
        database.write(lambda tx: count(tx, "one"), committed=told.append),
        database.write(bad, committed=told.append),
        database.write(lambda tx: count(tx, "two"), committed=told.append),
        return_exceptions=True,
    )
    assert runs == ["one", "bad", "one", "bad", "two"]
    assert (results[0], results[2]) == ("one", "two")
    assert told == ["one", "two"]
    assert await database.read(keys) == {"one", "two"}


async def test_a_rule_that_fails_before_it_writes_costs_no_second_run(database: SqliteDatabase) -> None:
    runs: list[str] = []

    async def bad(tx: Transaction) -> str:
        runs.append("bad")
        raise LookupError("no")

    await asyncio.gather(database.write(lambda tx: put(tx, "one")), database.write(bad), return_exceptions=True)
    assert runs == ["bad"]
    assert await database.read(keys) == {"one"}


async def recalled(tx: Transaction) -> object:
    """What was kept under "it"."""
    found: object = tx.recall("it")
    return found


async def note(tx: Transaction, value: str) -> str:
    """Write, and keep what was written."""
    tx.recall("it")
    await put(tx, value)
    tx.keep("it", value)
    return value


async def test_what_a_rule_keeps_is_true_until_another_rule_writes(database: SqliteDatabase) -> None:
    await database.write(lambda tx: note(tx, "one"))
    assert await database.write(recalled) == "one"
    await database.write(keys)  # has written nothing
    assert await database.write(recalled) == "one"
    await database.write(lambda tx: put(tx, "other"))
    assert await database.write(recalled) is None


async def test_what_is_kept_for_a_rule_is_of_its_own_group(database: SqliteDatabase) -> None:
    results = await asyncio.gather(
        database.write(lambda tx: note(tx, "one")), database.write(recalled),
        database.write(lambda tx: put(tx, "other")), database.write(recalled),
    )  # fmt: skip
    assert [*results] == ["one", "one", "other", None]


async def test_what_was_rolled_back_is_not_kept(database: SqliteDatabase) -> None:
    async def bad(tx: Transaction) -> str:
        await note(tx, "bad")
        raise LookupError("no")

    results = await asyncio.gather(
        database.write(lambda tx: note(tx, "good")), database.write(bad), database.write(recalled),
        return_exceptions=True,
    )  # fmt: skip
    assert results[2] is None
    assert await database.write(recalled) is None


async def test_a_rule_may_await_its_transaction_only(database: SqliteDatabase) -> None:
    async def sleepy(tx: Transaction) -> str:
        await put(tx, "sleepy")
        await asyncio.sleep(0)
        return ""

    await refused(Reason.INTERNAL, asyncio.ensure_future(database.write(sleepy)))
    assert await database.read(keys) == set()


async def test_a_read_cannot_write(database: SqliteDatabase) -> None:
    await refused(Reason.INTERNAL, asyncio.ensure_future(database.read(lambda tx: put(tx, "r"))))
    await database.write(lambda tx: put(tx, "w"))
    assert await database.read(keys) == {"w"}


async def test_commits_are_told_in_order_and_before_the_caller_resumes(database: SqliteDatabase) -> None:
    told: list[str] = []

    async def write(key: str) -> None:
        await database.write(lambda tx: put(tx, key), committed=told.append)
        assert key in told

    await asyncio.gather(*(write(f"{number:03}") for number in range(200)))
    assert told == sorted(told)
    assert len(told) == 200


async def test_a_failing_callback_harms_nobody(database: SqliteDatabase) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["exception"]))

    def callback(_result: str) -> None:
        raise LookupError

    assert await database.write(lambda tx: put(tx, "k"), committed=callback) == "k"
    assert len(complaints) == 1


async def test_a_cancelled_caller_leaves_the_group_alone(database: SqliteDatabase) -> None:
    started, go = threading.Event(), threading.Event()
    told: list[str] = []

    async def slow(tx: Transaction) -> str:
        started.set()
        go.wait(10)
        return await put(tx, "slow")

    running = asyncio.ensure_future(database.write(slow, committed=told.append))
    await asyncio.to_thread(started.wait, 10)
    waiting = asyncio.ensure_future(database.write(lambda tx: put(tx, "waiting"), committed=told.append))
    other = asyncio.ensure_future(database.write(lambda tx: put(tx, "other"), committed=told.append))
    await asyncio.sleep(0)
    running.cancel()
    waiting.cancel()
    go.set()
    assert await other == "other"
    assert await database.read(keys) == {"slow", "other"}
    assert told == ["slow", "other"], "what was committed is told though nobody waited for it"


async def test_a_read_keeps_its_snapshot(sqlite: SqliteDatabase) -> None:
    looked, go = threading.Event(), threading.Event()

    async def twice(tx: Transaction) -> tuple[set[str], set[str]]:
        first = await keys(tx)
        looked.set()
        go.wait(10)
        return first, await keys(tx)

    await sqlite.write(lambda tx: put(tx, "old"))
    reading = asyncio.ensure_future(sqlite.read(twice))
    await asyncio.to_thread(looked.wait, 10)
    await sqlite.write(lambda tx: put(tx, "new"))
    assert await sqlite.read(keys) == {"old", "new"}, "another read does not wait for the slow one"
    go.set()
    assert await reading == ({"old"}, {"old"})


async def test_close_finishes_what_is_queued(tmp_path: Path) -> None:
    path = str(tmp_path / "metadata.db")
    database = await SqliteDatabase.open(path)
    writes = [asyncio.ensure_future(database.write(lambda tx, n=n: put(tx, str(n)))) for n in range(50)]  # type: ignore[misc]
    await asyncio.sleep(0)
    await database.close()
    assert len(await asyncio.gather(*writes)) == 50
    await refused(Reason.UNAVAILABLE, asyncio.ensure_future(database.write(lambda tx: put(tx, "late"))))
    await database.close()
    again = await SqliteDatabase.open(path)
    assert len(await again.read(keys)) == 50
    await again.close()


async def test_the_queue_is_bounded() -> None:
    outcomes = engine_jobs.Outcomes(asyncio.get_running_loop(), 10)
    futures = [outcomes.admit(11)]
    with pytest.raises(StoreError) as caught:
        outcomes.admit(1)
    assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
    ticket = engine_jobs.Ticket(futures[0], 11)
    outcomes.post([ticket])
    await ticket.future
    assert not outcomes.admit(10).done()


async def test_a_full_file_refuses_and_recovers(database: SqliteDatabase) -> None:
    async def limit(tx: Transaction, pages: int) -> int:
        row = await tx.fetch_row(f"PRAGMA max_page_count = {pages}")
        return cast("tuple[int]", row)[0]

    await database.write(lambda tx: put(tx, "before"))
    most = await database.write(lambda tx: limit(tx, 1)) + 4
    await database.write(lambda tx: limit(tx, most))
    big = "x" * 100_000
    results = await asyncio.gather(
        database.write(lambda tx: put(tx, "small")),
        database.write(lambda tx: put(tx, "big", big)),
        return_exceptions=True,
    )
    assert isinstance(results[1], StoreError)
    assert results[1].reason is Reason.STORAGE_FULL
    stored = await database.read(keys)
    assert ("small" in stored) is (results[0] == "small"), "no answer but a true one"
    await database.write(lambda tx: limit(tx, 1_000_000))
    await database.write(lambda tx: put(tx, "big", big))
    assert {"before", "big"} <= await database.read(keys)


async def test_a_full_disk_refuses_and_recovers(small_disk: Path) -> None:
    database = await SqliteDatabase.open(str(small_disk / "metadata.db"))
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(800_000))
    stored: set[str] = set()

    async def fill() -> None:
        for number in range(200):
            stored.add(await database.write(lambda tx, n=number: put(tx, f"k{n}", "x" * 20_000)))  # type: ignore[misc]

    with pytest.raises(StoreError) as caught:
        await fill()
    assert caught.value.reason is Reason.STORAGE_FULL
    assert await database.read(keys) == stored
    ballast.unlink()
    stored.add(await database.write(lambda tx: put(tx, "again")))
    assert await database.read(keys) == stored
    await database.close()


async def test_a_failed_fsync_is_not_acknowledged(tmp_path: Path) -> None:
    with flaky_disk() as disk:
        database = await SqliteDatabase.open(str(tmp_path / "metadata.db"))
        await database.write(lambda tx: put(tx, "before"))
        disk.failing = True
        for _ in range(2):
            results = await asyncio.gather(
                *(database.write(lambda tx, k=key: put(tx, k)) for key in "ab"),  # type: ignore[misc]
                return_exceptions=True,
            )
            assert [getattr(result, "reason", None) for result in results] == [Reason.STORAGE_FULL] * 2
        assert await database.read(keys) == {"before"}
        disk.failing = False
        await database.write(lambda tx: put(tx, "after"))
        assert await database.read(keys) == {"before", "after"}
        await database.close()


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metadata.db"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreError) as caught:
        await SqliteDatabase.open(str(path))
    assert caught.value.reason is Reason.STORAGE_CORRUPT


async def test_the_log_does_not_grow_for_ever(
    sqlite: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CHECKPOINT_PAGES", 50)
    monkeypatch.setattr(engine, "HARD_CHECKPOINT_PAGES", 200)
    text = "x" * 100_000

    async def rule(tx: Transaction) -> int:
        return await tx.execute(
            "INSERT INTO meta (key, value) VALUES ('k', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            text,
        )

    for _ in range(200):
        await sqlite.write(rule)
    assert (tmp_path / "metadata.db-wal").stat().st_size < 4 << 20
