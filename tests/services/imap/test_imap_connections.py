"""Connections: memory of arriving messages, time-outs, goodbyes, and sessions while the store is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from services.common.domain import INBOX, FlagChange, FlagOperation
from services.common.domain import SEEN as SEEN_BIT
from services.common.options import ImapOptions, StoreOptions
from tests.support.imap import USER, Client, RunningImap, fill, imap_service, local_imap, rescued
from tests.support.store import StoreFixture

MESSAGE = b"Subject: number %d\r\n\r\nText %d.\r\n"


@asynccontextmanager
async def over_grpc(
    messages: int, *, storewait: int = 30
) -> AsyncIterator[tuple[StoreFixture, RunningImap, RunningImap]]:
    """Two IMAP processes, as far as the store can tell: a client, a feed and a reader of bodies each."""
    async with StoreFixture("sqlite", options=StoreOptions(storewait=storewait)) as fixture:
        await fill(fixture.client, [MESSAGE % (number, number) for number in range(1, messages + 1)])
        first, second = await fixture.connect("imap"), await fixture.connect("imap")
        async with (
            imap_service(first, first.feed, fixture.bodies) as one,
            imap_service(second, second.feed, fixture.bodies) as two,
        ):
            yield fixture, one, two


async def _until(client: Client, wanted: bytes) -> list[bytes]:
    for _ in range(4000):
        lines = await client.ok("NOOP")
        if wanted in lines:
            return lines
        await asyncio.sleep(0.005)
    raise AssertionError(wanted)


@pytest.mark.rfc("9051", "7.5.1")
async def test_processes_see_one_another_over_the_store() -> None:
    async with over_grpc(4) as (_, one, two):
        idler, reader, other = await one.client(select="INBOX"), await one.client(select="INBOX"), await two.client()
        tag = idler.send("IDLE")
        await idler.line()
        await other.ok("SELECT INBOX")
        await other.ok("STORE 2 +FLAGS (\\Deleted)")
        assert await idler.line() == b"* 2 FETCH (UID 2 FLAGS (\\Recent \\Deleted))"
        await rescued(one, 2)
        await other.ok("EXPUNGE")
        assert await idler.line() == b"* 2 EXPUNGE"
        body, *flags = await reader.ok("FETCH 2 BODY.PEEK[TEXT]")
        assert b"Text 2." in body
        assert flags == [b"* 2 FETCH (UID 2 FLAGS (\\Deleted))"]
        assert b"* 2 EXPUNGE" in await reader.ok("NOOP")
        idler.writer.write(b"DONE\r\n")
        assert (await idler.answer(tag))[-1].endswith(b"OK IDLE completed")


async def test_sessions_outlive_the_store() -> None:
    async with over_grpc(2, storewait=0) as (fixture, one, _):
        client = await one.client(select="INBOX")
        await fixture.stop()
        assert await client.ok("NOOP") == []
        assert len(await client.ok("FETCH 1:2 FLAGS")) == 2
        refused = (await client.do("STORE 1 +FLAGS (\\Seen)"))[-1]
        assert refused.startswith(b"NO [UNAVAILABLE]")
        await fixture.start()
        for _ in range(4000):
            lines = await client.do("STORE 1 +FLAGS (\\Flagged)")
            if lines[-1].startswith(b"OK"):
                break
            await asyncio.sleep(0.01)
        assert lines[0] == b"* 1 FETCH (FLAGS (\\Recent \\Flagged))"


async def test_changes_made_while_the_feed_was_cut_are_told_after_it() -> None:
    async with over_grpc(2) as (fixture, one, _):
        client = await one.client(select="INBOX")
        await fixture.stop()
        await fixture.start()
        account_id = (await fixture.client.open_account(USER)).account_id
        status = await fixture.client.get_mailbox(account_id, INBOX)
        await fixture.client.modify_flags(account_id, status.mailbox_id, [2], FlagChange(FlagOperation.ADD, SEEN_BIT))
        await _until(client, b"* 2 FETCH (UID 2 FLAGS (\\Recent \\Seen))")


async def test_append_waits_for_memory() -> None:
    async with local_imap(imap=ImapOptions(inflightbytes=1_048_576)) as running:
        first, second = await running.client(), await running.client()
        first_tag = first.send(b"APPEND INBOX {900000}")
        assert (await first.line()).startswith(b"+ ")
        second_tag = second.send(b"APPEND INBOX {900000}")
        await asyncio.sleep(0.03)
        assert running.service.inflight.held == 900_000
        first.writer.write(b"x" * 900_000 + b"\r\n")
        assert (await first.answer(first_tag))[-1].startswith(first_tag + b" OK")
        assert (await second.line()).startswith(b"+ ")
        second.writer.write(b"y" * 900_000 + b"\r\n")
        assert (await second.answer(second_tag))[-1].startswith(second_tag + b" OK")
        assert running.service.inflight.held == 0


async def test_memory_comes_back_when_the_client_is_cut_off() -> None:
    async with local_imap() as running:
        client = await running.client()
        client.send(b"APPEND INBOX {5000}")
        assert (await client.line()).startswith(b"+ ")
        client.writer.write(b"half")
        await client.close()
        for _ in range(4000):
            if not running.service.inflight.held:
                break
            await asyncio.sleep(0.005)
        assert running.service.inflight.held == 0


@pytest.mark.rfc("9051", "5.5")
async def test_pipelined_commands_are_answered_in_order() -> None:
    async with local_imap([MESSAGE % (n, n) for n in range(1, 11)]) as running:
        client = await running.client(select="INBOX")
        tags = [client.send(f"FETCH {1 + number % 10} BODY[TEXT]") for number in range(300)]
        for number, tag in enumerate(tags):
            lines = await client.answer(tag)
            assert b"Text %d." % (1 + number % 10) in lines[0]


@pytest.mark.rfc("9051", "7.1.5")
async def test_drain_says_goodbye_to_idlers_too() -> None:
    async with local_imap() as running:
        idler, client = await running.client(select="INBOX"), await running.client()
        idler.send("IDLE")
        await idler.line()
        await running.server.drain(0.5)
        for leaving in (idler, client):
            assert (await leaving.line()).startswith(b"* BYE [UNAVAILABLE]")
            assert await leaving.reader.read() == b""


@pytest.mark.rfc("9051", "5.4")
async def test_literal_that_stops_coming_ends_the_session() -> None:
    async with local_imap() as running:
        client = await running.client()
        running.server.patience[2] = 0.05
        client.send(b"APPEND INBOX {500}")
        await client.line()
        assert (await client.line()).startswith(b"* BYE")


async def test_new_limits_hold_for_sessions_that_are_there() -> None:
    async with local_imap() as running:
        client = await running.client()
        value = running.configuration.value
        running.configuration.replace(replace(value, store=replace(value.store, maxmessagesize=65_536)))
        tag = client.send(b"APPEND INBOX {70000}")
        assert (await client.line()).startswith(tag + b" NO [TOOBIG]")
