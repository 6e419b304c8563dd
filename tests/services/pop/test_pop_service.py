"""The POP3 service beyond what a transcript can say: large messages, slow and dead clients, clocks, poplib."""

from __future__ import annotations

import asyncio
import poplib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.common.bodyreader import BodyReader
from services.common.domain import DELETED, INBOX, SEEN, AccountId, BodyRef, FlagChange, FlagOperation
from services.common.errors import Reason, StoreError
from services.common.options import PopOptions
from services.store.backends.segmentfile import RECORD_HEADER
from tests.support.certificates import make_certificate
from tests.support.people import PASSWORD
from tests.support.pop import MESSAGES, OTHER, UMLAUT, USER, PopService, fill, pop_service
from tests.support.store import StoreFixture


@dataclass
class CountedBodies:
    """A body reader that counts what is read of it."""

    inner: BodyReader
    streamed: int = 0
    batches: list[int] = field(default_factory=list)

    def read_now(self, ref: BodyRef) -> bytes | None:
        return self.inner.read_now(ref)

    async def read(self, account_id: AccountId, ref: BodyRef) -> bytes:
        return (await self.read_many(account_id, [ref]))[0]

    async def read_many(self, account_id: AccountId, refs: Sequence[BodyRef]) -> list[bytes]:
        self.batches.append(len(refs))
        return await self.inner.read_many(account_id, refs)

    async def stream(self, account_id: AccountId, ref: BodyRef, offset: int = 0) -> AsyncGenerator[bytes, None]:
        async for chunk in self.inner.stream(account_id, ref, offset):
            self.streamed += len(chunk)
            yield chunk

    def close(self) -> None:
        self.inner.close()


@pytest.fixture
async def store() -> AsyncIterator[StoreFixture]:
    async with StoreFixture() as fixture:
        yield fixture


@dataclass
class Client:
    """One side of a POP3 connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def line(self) -> bytes:
        return (await self.reader.readline()).removesuffix(b"\r\n")

    async def ask(self, *commands: str) -> list[bytes]:
        """Send the commands at once; the first line of each reply."""
        self.writer.write("".join(f"{command}\r\n" for command in commands).encode())
        return [await self.line() for _ in commands]

    async def message(self, command: str) -> bytes:
        """A multi-line reply, undone."""
        self.writer.write(f"{command}\r\n".encode())
        assert (await self.line()).startswith(b"+OK")
        data = b"\r\n" + await self.reader.readuntil(b"\r\n.\r\n")
        return data[2:-3].replace(b"\r\n..", b"\r\n.").removeprefix(b".")

    async def end(self) -> bytes:
        return await self.reader.read()


@asynccontextmanager
async def logged_in(service: PopService, user: str = USER) -> AsyncIterator[Client]:
    reader, writer = await service.connect(limit=1 << 22)
    client = Client(reader, writer)
    await client.line()
    answers = await client.ask(f"USER {user}", f"PASS {PASSWORD}")
    assert answers[1].startswith(b"+OK"), answers
    try:
        yield client
    finally:
        writer.close()


def sum_of(*names: str) -> int:
    """The octets of these messages."""
    return sum(len(MESSAGES[name]) for name in names)


async def flags_of(store: StoreFixture, account_id: AccountId) -> list[int]:
    delta = await store.client.sync_mailbox(account_id, INBOX)
    return list(delta.changed.flags)


@pytest.mark.rfc("1939", "5")
async def test_a_large_message_comes_byte_for_byte(store: StoreFixture) -> None:
    await fill(store.client, [MESSAGES["large"]])
    async with pop_service(store.client, store.bodies) as service, logged_in(service) as client:
        assert await client.message("RETR 1") == MESSAGES["large"]
        assert (await client.ask("NOOP"))[0].startswith(b"+OK")


@pytest.mark.rfc("1939", "7")
async def test_top_of_a_large_message_reads_no_more_than_it_needs(store: StoreFixture) -> None:
    body = MESSAGES["large"] * 4
    await fill(store.client, [body])
    counted = CountedBodies(store.bodies)
    async with pop_service(store.client, counted) as service, logged_in(service) as client:
        top = await client.message("TOP 1 3")
        assert top == b"Subject: large\r\n\r\n0123456789.\r\n.\r\n0123456789.\r\n"
        assert counted.streamed <= 1 << 20


async def test_messages_not_at_hand_are_read_with_the_next_ones(store: StoreFixture) -> None:
    bodies = [b"Subject: %d\r\n\r\nx\r\n" % number for number in range(20)]
    await fill(store.client, bodies)
    counted = CountedBodies(store.bodies)
    async with pop_service(store.client, counted) as service, logged_in(service) as client:
        for number, body in enumerate(bodies, 1):
            assert await client.message(f"RETR {number}") == body
        assert len(counted.batches) <= 2


async def test_a_client_that_does_not_read_costs_bounded_memory_and_is_cut(store: StoreFixture) -> None:
    await fill(store.client, [MESSAGES["large"] * 8])
    counted = CountedBodies(store.bodies)
    options = replace(PopOptions(), writetimeout=0)
    async with pop_service(store.client, counted, pop=options) as service:
        with socket.create_connection(("127.0.0.1", service.port())) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, f"USER {USER}\r\nPASS {PASSWORD}\r\nRETR 1\r\nRETR 1\r\n".encode())
            await asyncio.sleep(0.02)
            await service.emptied()
        assert counted.streamed < len(MESSAGES["large"]) * 8
        async with logged_in(service):
            pass  # the lock is free again


@pytest.mark.rfc("1939", "3")
async def test_an_idle_client_is_closed_without_a_word_and_its_marks_are_forgotten(store: StoreFixture) -> None:
    await fill(store.client, [MESSAGES["one"]])
    options = replace(PopOptions(), idletimeout=0)
    async with pop_service(store.client, store.bodies, pop=options) as service:
        async with logged_in(service) as client:
            await client.ask("DELE 1")
            assert await client.end() == b""
        await service.emptied()
        service.configuration.replace(replace(service.configuration.value, pop=PopOptions()))
        async with logged_in(service) as client:
            assert await client.ask("STAT") == [b"+OK 1 %d" % len(MESSAGES["one"])]


async def test_a_client_that_does_not_log_in_is_closed(store: StoreFixture) -> None:
    options = replace(PopOptions(), logintimeout=0)
    async with pop_service(store.client, store.bodies, pop=options) as service:
        reader, writer = await service.connect()
        assert (await reader.read()).startswith(b"+OK")
        writer.close()


@pytest.mark.rfc("1939", "6")
async def test_what_was_retrieved_is_seen_after_quit(store: StoreFixture) -> None:
    account_id = await fill(store.client, [MESSAGES["one"], MESSAGES["two"], MESSAGES["dots"]])
    async with pop_service(store.client, store.bodies) as service:
        async with logged_in(service) as client:
            await client.message("RETR 1")
            await client.message("TOP 2 0")
            await client.message("RETR 3")
            await client.ask("DELE 3")
            assert await flags_of(store, account_id) == [0, 0, 0]
            await client.ask("QUIT")
        assert await flags_of(store, account_id) == [SEEN, 0]


async def test_a_maildrop_stays_as_it_was_while_others_change_the_mailbox(store: StoreFixture) -> None:
    account_id = await fill(store.client, [MESSAGES["one"], MESSAGES["two"]])
    async with pop_service(store.client, store.bodies) as service, logged_in(service) as client:
        inbox = await store.client.get_mailbox(account_id, INBOX)
        change = FlagChange(FlagOperation.ADD, DELETED)
        await store.client.modify_flags(account_id, inbox.mailbox_id, [1], change)
        await store.client.expunge(account_id, inbox.mailbox_id)
        await fill(store.client, [MESSAGES["dots"]])
        assert (await client.ask("STAT"))[0].startswith(b"+OK 2 ")
        assert await client.message("RETR 1") == MESSAGES["one"]
        assert (await client.ask("DELE 1", "DELE 2", "QUIT"))[2] == b"+OK Goodbye"
        delta = await store.client.sync_mailbox(account_id, INBOX)
        assert list(delta.changed.uids) == [3]


async def test_a_client_killed_while_it_retrieves_frees_the_lock(store: StoreFixture) -> None:
    await fill(store.client, [MESSAGES["large"] * 8])
    async with pop_service(store.client, store.bodies) as service:
        async with logged_in(service) as client:
            client.writer.write(b"RETR 1\r\n")
            await client.line()
            client.writer.transport.abort()
        await service.emptied()
        async with logged_in(service):
            pass


async def test_a_client_killed_while_it_logs_in_frees_the_lock(store: StoreFixture) -> None:
    await fill(store.client, [MESSAGES["one"]])
    async with pop_service(store.client, store.bodies) as service:
        reader, writer = await service.connect()
        await reader.readline()
        writer.write(f"USER {USER}\r\nPASS {PASSWORD}\r\n".encode())
        await writer.drain()
        writer.transport.abort()
        await asyncio.sleep(0.01)
        await service.emptied()
        async with logged_in(service):
            pass


async def test_as_many_sessions_as_a_user_may_have(store: StoreFixture) -> None:
    options = replace(PopOptions(), maxsessionsperuser=1, maxsessions=1)
    async with pop_service(store.client, store.bodies, pop=options) as service, logged_in(service):
        reader, writer = await service.connect()
        assert await reader.read() == b"-ERR [SYS/TEMP] Too many sessions\r\n"
        writer.close()


async def test_a_drain_says_goodbye_and_deletes_nothing(store: StoreFixture) -> None:
    account_id = await fill(store.client, [MESSAGES["one"]])
    async with pop_service(store.client, store.bodies) as service, logged_in(service) as client:
        await client.ask("DELE 1")
        await service.server.drain(0.5)
        assert (await client.end()).startswith(b"-ERR [SYS/TEMP] The server is going down")
        assert (await store.client.get_mailbox(account_id, INBOX)).messages == 1


@pytest.mark.rfc("2449", "6.5")
async def test_the_login_delay_passes_and_may_be_changed_while_running(store: StoreFixture) -> None:
    options = replace(PopOptions(), logindelay=600)
    async with pop_service(store.client, store.bodies, pop=options) as service:
        async with logged_in(service) as client:
            await client.ask("QUIT")
        await service.emptied()
        value = service.configuration.value
        service.configuration.replace(replace(value, pop=replace(value.pop, logindelay=0, banner="Other words")))
        async with logged_in(service) as client:
            assert b"LOGIN-DELAY 0" in (await client.message("CAPA")).split(b"\r\n")
        reader, writer = await service.connect()
        assert await reader.readline() == b"+OK Other words\r\n"
        writer.close()


async def test_a_listing_of_many_messages_comes_whole(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.pop.replies.LISTED_AT_ONCE", 7)
    await fill(store.client, [MESSAGES["one"]] * 50)
    async with pop_service(store.client, store.bodies) as service, logged_in(service) as client:
        await client.ask("DELE 2")
        for command in ("LIST", "UIDL"):
            lines = (await client.message(command)).splitlines()
            assert [int(line.split()[0]) for line in lines] == [1, *range(3, 51)]


async def test_kept_listings_are_those_of_the_maildrop_as_it_is(store: StoreFixture) -> None:
    async with pop_service(store.client, store.bodies) as service:
        seen: list[tuple[int, bytes, bytes]] = []
        for change in ("", "DELE 1", "", "append", "RETR 1", ""):
            if change == "append":
                await fill(store.client, [MESSAGES["two"]])
            elif not seen:
                await fill(store.client, [MESSAGES["one"], MESSAGES["two"], MESSAGES["large"]])
            async with logged_in(service) as client:
                listed = (await client.message("LIST"), await client.message("UIDL"))
                count = int((await client.ask("STAT"))[0].split()[1])
                assert [len(each.splitlines()) for each in listed] == [count, count]
                seen.append((count, *listed))
                if change[:4] == "DELE":
                    await client.ask(change)
                    assert len((await client.message("UIDL")).splitlines()) == count - 1
                elif change[:4] == "RETR":
                    await client.message(change)
                await client.ask("QUIT")
        assert [each[0] for each in seen] == [3, 3, 2, 3, 3, 3]
        assert seen[0] == seen[1]
        assert seen[3] == seen[4] == seen[5]


async def test_an_account_that_was_deleted_begins_anew(store: StoreFixture) -> None:
    await fill(store.client, [MESSAGES["one"]])
    async with pop_service(store.client, store.bodies) as service:
        async with logged_in(service) as client:
            await client.ask("QUIT")
        await store.client.delete_account(USER)
        async with logged_in(service) as client:
            assert await client.ask("STAT") == [b"+OK 0 0"]


@pytest.mark.rfc("3206", "4")
async def test_a_damaged_message_is_told_and_the_others_are_there(tmp_path: Path) -> None:
    async with StoreFixture("sqlite", folder=tmp_path / "s") as store:
        await fill(store.client, [MESSAGES["one"], MESSAGES["large"], MESSAGES["two"]])
        async with pop_service(store.client, store.bodies) as service, logged_in(service) as client:
            (segment,) = (tmp_path / "s").rglob("*.seg")
            damaged = segment.read_bytes().index(MESSAGES["two"])
            with segment.open("r+b") as file:
                file.seek(damaged - RECORD_HEADER.size)
                file.write(bytes(RECORD_HEADER.size + len(MESSAGES["two"])))
            assert await client.ask("RETR 3") == [b"-ERR [SYS/PERM] A fault that the administrator must mend"]
            assert await client.message("RETR 1") == MESSAGES["one"]
            assert await client.ask("STAT", "QUIT") == [b"+OK 3 %d" % sum_of("one", "large", "two"), b"+OK Goodbye"]


async def test_a_fault_of_ours_says_nothing_of_itself(store: StoreFixture, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(CountedBodies):
        def read_now(self, ref: BodyRef) -> bytes | None:
            raise RuntimeError("secret path")

    await fill(store.client, [MESSAGES["one"]])
    async with pop_service(store.client, Broken(store.bodies)) as service, logged_in(service) as client:
        assert await client.ask("RETR 1") == [b"-ERR [SYS/TEMP] Not available now, try again later"]
        assert (await client.ask("STAT"))[0].startswith(b"+OK 1 ")
    assert "command failed" in caplog.text


async def test_half_a_message_is_never_passed_off_as_a_whole_one(store: StoreFixture) -> None:
    class Breaking(CountedBodies):
        async def stream(self, account_id: AccountId, ref: BodyRef, offset: int = 0) -> AsyncGenerator[bytes, None]:
            yield MESSAGES["large"][:1000]
            raise StoreError(Reason.STORAGE_CORRUPT)

    await fill(store.client, [MESSAGES["large"]])
    async with pop_service(store.client, Breaking(store.bodies)) as service, logged_in(service) as client:
        client.writer.write(b"RETR 1\r\n")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.reader.readuntil(b"\r\n.\r\n")


@pytest.mark.parametrize("encrypted", [False, True])
async def test_poplib(store: StoreFixture, tmp_path: Path, encrypted: bool) -> None:
    certificate = make_certificate(tmp_path)
    await fill(store.client, [MESSAGES["one"], MESSAGES["internationalised"]], UMLAUT)

    def session(plain: int, tls: int) -> None:
        context = certificate.client_context()
        if encrypted:
            client: poplib.POP3 = poplib.POP3_SSL("localhost", tls, context=context)
        else:
            client = poplib.POP3("127.0.0.1", plain)
            assert "STLS" in client.capa()
            client.host = "localhost"
            client.stls(context)
        client.encoding = "UTF-8"
        assert client.utf8().startswith(b"+OK")
        client.user(UMLAUT)
        client.pass_("grüße")
        assert client.stat()[0] == 2
        assert client.retr(2)[1] == MESSAGES["internationalised"].split(b"\r\n")[:-1]
        assert client.top(1, 0)[1] == [b"Subject: one", b""]
        assert len(client.list()[1]) == len(client.uidl()[1]) == 2
        client.dele(1)
        client.rset()
        client.noop()
        client.quit()

    async with pop_service(store.client, store.bodies, certificate=certificate) as service:
        await asyncio.to_thread(session, service.port(), service.port(tls=True))


async def test_sessions_of_others_are_their_own(store: StoreFixture) -> None:
    await fill(store.client, [MESSAGES["one"]])
    await fill(store.client, [MESSAGES["two"], MESSAGES["dots"]], OTHER)
    async with (
        pop_service(store.client, store.bodies) as service,
        logged_in(service) as first,
        logged_in(service, OTHER) as second,
    ):
        assert (await first.ask("STAT"))[0].startswith(b"+OK 1 ")
        assert (await second.ask("STAT"))[0].startswith(b"+OK 2 ")
        assert await second.message("RETR 1") == MESSAGES["two"]
