"""A store that another process holds, that a later release wrote, or whose files are damaged."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.peers import Peer, deliver, imap, lmtp, pop
from tests.support.processes import CONTENT, Processes, processes
from tests.support.running import OTHER, USER, free_ports

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
SMALL = b"Subject: small %d\r\n\r\n" + CONTENT
LARGE = b"Subject: large\r\n\r\n" + CONTENT + b" to be damaged\r\n" + (b"z" * 78 + b"\r\n") * 40_000
MARKED = b"Subject: marked\r\n\r\n" + CONTENT + b" to be damaged"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Processes]:
    with processes(tmp_path) as made:
        yield made


async def test_a_second_store_refuses_to_start(running: Processes, tmp_path: Path) -> None:
    async with imap(running.services.imap) as client:
        (port,) = free_ports(1)
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.store"),
            env={**running.environ, "MAILKEEP_STORE_ADMINPORT": str(port)},
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, told = await asyncio.wait_for(second.communicate(), 20)
        assert second.returncode == 1
        assert f"the store in {tmp_path / 'store'} is in use by process" in told.decode()
        assert b"Traceback" not in told
        await client.done(b"CREATE still-works")


def fingerprints(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock" and not path.name.endswith(("-shm", "-wal"))
    }


def test_a_store_of_a_later_release_is_left_alone(running: Processes, tmp_path: Path) -> None:
    running.send("store", signal.SIGTERM)
    assert running.ended("store", 15) == 0
    (database,) = [path for path in (tmp_path / "store").iterdir() if path.suffix in (".db", ".sqlite")]
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    connection.close()
    before = fingerprints(tmp_path / "store")
    running.spawn("store")
    assert running.ended("store", 15) == 1
    told = [event for event in running.events("store") if event["event"] == "cannot start"]
    assert "999" in told[-1]["why"]
    assert fingerprints(tmp_path / "store") == before


def damage(store: Path, needle: bytes) -> tuple[Path, int]:
    """Turn over some bits of the one body that holds the needle; where."""
    for path in sorted((store / "segments").iterdir()):
        place = path.read_bytes().find(needle)
        if place >= 0:
            with open(path, "r+b") as file:
                file.seek(place + len(needle) - 1)
                file.write(b"\x01")
                file.flush()
                os.fsync(file.fileno())
            return path, place
    raise AssertionError("no segment holds it")


async def filled(running: Processes, body: bytes) -> None:
    """Five messages each for two accounts; USER's third is the one to be damaged."""
    async with lmtp(running.services.lmtp) as agent:
        for number in range(1, 6):
            for user in (USER, OTHER):
                text = body if (number, user) == (3, USER) else SMALL % number
                assert (await deliver(agent, text, user)).startswith(b"250")


async def readable(client: Peer, numbers: range) -> None:
    for number in numbers:
        assert CONTENT in b"".join(await client.done(b"FETCH %d BODY.PEEK[]" % number))


@pytest.mark.parametrize("body", [MARKED, LARGE], ids=["small", "large"])
async def test_a_damaged_message_is_refused_and_nothing_else(running: Processes, tmp_path: Path, body: bytes) -> None:
    await filled(running, body)
    path, _ = damage(tmp_path / "store", CONTENT + b" to be damaged")
    async with imap(running.services.imap) as client, imap(running.services.imap, OTHER) as other:
        for _ in range(2):
            assert (await client.ask(b"FETCH 3 BODY.PEEK[]"))[-1].startswith(b"a NO [CORRUPTION]")
            assert (await client.ask(b"FETCH 3 BODY.PEEK[TEXT]"))[-1].startswith(b"a NO [CORRUPTION]")
        await readable(client, range(1, 3))
        await readable(client, range(4, 6))
        await readable(other, range(1, 6))
        lines = await client.ask(b"FETCH 1:* (FLAGS BODY.PEEK[])")
        assert lines[-1].startswith(b"a NO [CORRUPTION]")
        assert sum(line.startswith(b"* ") for line in lines) == 4, "the others come all the same"
        await client.done(b"FETCH 1:* (FLAGS ENVELOPE)")
        await client.done(b"SEARCH BODY nowhere")
    async with pop(running.services.pop) as drop:
        assert (await drop.reply(b"RETR 3")).startswith(b"-ERR")
        assert (await drop.reply(b"RETR 4")).startswith(b"+OK")
    findings = json.loads(await checked(running))["findings"]
    assert len(findings) == 1
    told = json.dumps(findings[0])
    assert path.name in told
    assert "INBOX" in told
    assert USER in told
    assert "3" in told


async def checked(running: Processes) -> str:
    done = await asyncio.to_thread(running.services.command, "store", "check", "--json", check=False)
    assert done.returncode == 1, done.stderr
    return done.stdout
