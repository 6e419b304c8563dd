"""The store's socket for frames: who is let in, and what becomes of those who are not."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from services.common.errors import StoreError
from services.common.framesocket import LENGTH, frames_path, metadata_frame, read_metadata
from services.common.storeclient import connect, streams
from services.common.storeclient.channel import (
    CONTRACT,
    CONTRACT_KEY,
    GREETING_KEY,
    PROCESS_KEY,
    ROLE_KEY,
    target_of,
)
from services.store import framelane
from tests.support.store import StoreFixture


@pytest.fixture
async def store() -> AsyncIterator[StoreFixture]:
    """A store in memory."""
    async with StoreFixture() as fixture:
        yield fixture


async def greet(store: StoreFixture, octets: bytes) -> bytes:
    """What the lane says to these octets until it closes, or until it waits for more."""
    reader, writer = await asyncio.open_unix_connection(target_of(store.configuration).frames)
    writer.write(octets)
    try:
        async with asyncio.timeout(30):
            size = int.from_bytes(await reader.readexactly(LENGTH))
            return await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    finally:
        writer.close()


def hello(**more: str) -> bytes:
    frame = metadata_frame(
        {ROLE_KEY: "imap", PROCESS_KEY: "test", CONTRACT_KEY: CONTRACT}
        | {key.replace("_", "-"): more[key] for key in more}
    )
    return len(frame).to_bytes(LENGTH) + frame


async def test_only_the_same_user_may_use_the_socket(store: StoreFixture) -> None:
    path = store.folder / frames_path(store.configuration.store.socket)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await store.stop()
    assert not path.exists()


async def test_a_caller_is_told_the_contract(store: StoreFixture) -> None:
    assert read_metadata(await greet(store, hello())) == {GREETING_KEY: CONTRACT}


@pytest.mark.parametrize(
    "octets",
    [
        hello(mailkeep_role="nobody"),
        hello(mailkeep_process="x" * 300),
        (5_000).to_bytes(LENGTH) + b"x",
        (2).to_bytes(LENGTH) + b"\xff\xfe",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["role", "process", "too large", "no text", "another protocol"],
)
async def test_anybody_else_is_told_nothing(store: StoreFixture, octets: bytes) -> None:
    assert await greet(store, octets) == b""
    assert await store.client.open_account("ada")


async def test_a_caller_of_another_contract_is_told_ours_and_goes(
    store: StoreFixture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> int:
        return sum("contract 9" in record.getMessage() for record in caplog.records)

    monkeypatch.setattr(framelane, "CONTRACT", "9")
    client = connect(store.configuration, "imap")
    assert client.understood, "nobody was asked yet"
    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(20):
            while told() < 2:  # noqa: ASYNC110 - nothing tells of a log line
                await asyncio.sleep(0.01)
        with pytest.raises(StoreError):
            await client.wait_ready(0.5)
        client.reconfigure(replace(store.configuration, store=replace(store.configuration.store, storewait=0)))
        with pytest.raises(StoreError):
            await client.list_accounts()
        assert not client.ready
        assert not client.understood
        assert told() == 2, "once for each of its streams, however often it tries"
        monkeypatch.undo()
        await client.wait_ready(20)
        assert client.understood
    await client.close()


async def test_who_says_nothing_is_not_waited_for(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framelane, "GREETING_SECONDS", 0.05)
    assert await greet(store, b"") == b""


async def test_there_is_a_bound_of_connections(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framelane, "MAX_CONNECTIONS", 0)
    assert await greet(store, hello()) == b""


async def test_what_is_no_frame_ends_the_stream(store: StoreFixture) -> None:
    reader, writer = await asyncio.open_unix_connection(target_of(store.configuration).frames)
    writer.write(hello())
    size = int.from_bytes(await reader.readexactly(LENGTH))
    await reader.readexactly(size)
    writer.write((3).to_bytes(LENGTH) + b"\xff\xff\xff")
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_a_greeting_that_is_none_is_as_none_at_all(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framelane, "metadata_frame", lambda values: b"\xff")
    stream = streams.SocketStream(target_of(store.configuration).frames, ((ROLE_KEY, "imap"),))
    assert await stream.greeting() == ""
    stream.cancel()
