"""FETCH of many and of large messages: caches, pieces, back pressure, messages that are gone."""

from __future__ import annotations

import asyncio

import pytest

from services.common.domain import INBOX, AppendItem, Quota
from services.common.options import ImapOptions
from tests.support.imap import Client, RunningImap, local_imap

MESSAGE = b"From: a@example.org\r\nSubject: number %d\r\n\r\nText %d.\r\n"


def mails(count: int) -> list[bytes]:
    """Small messages."""
    return [MESSAGE % (number, number) for number in range(1, count + 1)]


async def _everything(client: Client, items: str) -> list[bytes]:
    return await client.ok(f"FETCH 1:* {items}")


@pytest.mark.rfc("9051", "6.4.5")
async def test_whole_answers_follow_every_change() -> None:
    async with local_imap(mails(40)) as running:
        client, other = await running.client(select="INBOX"), await running.client(select="INBOX")
        first = await _everything(client, "(UID FLAGS)")
        assert first == await _everything(client, "(UID FLAGS)")
        assert first[0] == b"* 1 FETCH (UID 1 FLAGS (\\Recent))"
        assert (await _everything(other, "(UID FLAGS)"))[0] == b"* 1 FETCH (UID 1 FLAGS ())"
        await client.ok("STORE 7 +FLAGS.SILENT (\\Flagged)")
        assert (await _everything(client, "(UID FLAGS)"))[6] == b"* 7 FETCH (UID 7 FLAGS (\\Recent \\Flagged))"
        await client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
        await client.ok("EXPUNGE")
        assert (await _everything(client, "(UID FLAGS)"))[0] == b"* 1 FETCH (UID 2 FLAGS (\\Recent))"
        await client.ok(b"APPEND INBOX {4+}\r\nA: b")
        assert (await _everything(client, "(UID FLAGS)"))[-1] == b"* 40 FETCH (UID 41 FLAGS (\\Recent))"


async def test_answers_larger_than_a_piece_arrive_whole() -> None:
    async with local_imap(mails(1500)) as running:
        client = await running.client(select="INBOX")
        for _ in range(2):
            envelopes = await _everything(client, "(UID ENVELOPE BODYSTRUCTURE RFC822.SIZE)")
            assert len(envelopes) == 1500
            assert all(b"number %d" % number in line for number, line in enumerate(envelopes, 1))
        bodies = await client.ok("UID FETCH 2:1400,1450 BODY.PEEK[]")
        assert len(bodies) == 1400
        assert bodies[0].startswith(b"* 2 FETCH (UID 2 BODY[] {")
        scattered = await client.ok("UID FETCH " + ",".join(str(n) for n in range(1, 1500, 2)) + " UID")
        assert scattered[10] == b"* 21 FETCH (UID 21)"
        assert len(scattered) == 750


async def test_memory_that_is_too_small_for_a_mailbox_is_enough() -> None:
    async with local_imap(mails(5000), imap=ImapOptions(cachebytes=1_048_576)) as running:
        clients = [await running.client(select="INBOX") for _ in range(2)]
        wanted = ("(ENVELOPE BODYSTRUCTURE)", "(INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        answers = await asyncio.gather(
            *(_everything(client, items) for client, items in zip(clients, wanted, strict=True))
        )
        for lines in answers:
            assert all(b"number %d" % number in line for number, line in enumerate(lines, 1))
        assert running.service.cache.size < 1_048_576


@pytest.mark.rfc("9051", "4.3")
async def test_large_message_is_sent_as_it_is_read() -> None:
    large = b"Subject: large\r\n\r\n" + b"0123456789\0bcdef\r\n" * 150_000
    async with local_imap([large, MESSAGE % (2, 2)]) as running:
        client = await running.client(select="INBOX")
        (first, second) = await client.ok("FETCH 1:2 (UID BODY[])")
        sent = large.replace(b"\0", b"\x80")
        assert first == b"* 1 FETCH (FLAGS (\\Recent \\Seen) UID 1 BODY[] {%d}\r\n%b)" % (len(large), sent)
        assert second.endswith(b"Text 2.\r\n)")
        (tail,) = await client.ok(f"FETCH 1 BODY.PEEK[]<{len(large) - 4}.100>")
        assert tail.endswith(b"{4}\r\nef\r\n)")


async def test_client_that_does_not_read_costs_bounded_memory() -> None:
    message = b"Subject: x\r\n\r\n" + b"y" * 200_000
    async with local_imap([message] * 120) as running:
        reader, writer = await running.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b'a LOGIN anna@example.com "correct horse"\r\nb SELECT INBOX\r\nc FETCH 1:* BODY.PEEK[]\r\n')
        await asyncio.sleep(0.15)
        (connection,) = running.server._connections
        assert connection.sent < 12_000_000
        other = await running.client(select="INBOX")
        assert len(await other.ok("FETCH 1:2 BODY.PEEK[]")) == 2
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        await asyncio.wait_for(_read_until(reader, b"c OK FETCH completed\r\n"), 30)
        writer.close()


LARGE_PARTS = b"Content-Type: multipart/mixed; boundary=B\r\n\r\n" + b"".join(
    b"--B\r\nContent-Transfer-Encoding: %b\r\n\r\n%b\r\n" % (encoding, b"%d" % number * 400_000)
    for number, encoding in enumerate((b"7bit", b"x-own", b"7bit"), 1)
)


@pytest.mark.rfc("9051", "6.4.5")
async def test_much_of_a_large_message_costs_bounded_memory() -> None:
    async with local_imap([LARGE_PARTS, MESSAGE % (2, 2)]) as running:
        _, writer = await running.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        items = " ".join(f"BODY.PEEK[]<{offset}.99999999>" for offset in range(256))
        writer.write(f'a LOGIN anna@example.com "correct horse"\r\nb SELECT INBOX\r\nc FETCH 1 ({items})\r\n'.encode())
        await asyncio.sleep(0.15)
        (connection,) = running.server._connections
        assert connection.sent < 12_000_000
        assert connection._transport.get_write_buffer_size() < 2_000_000
        writer.transport.abort()


async def test_large_headers_cost_bounded_memory() -> None:
    large = [b"Subject: %d %b\r\n\r\n" % (number, b"x" * 300_000) for number in range(12)]
    async with local_imap([*large, *mails(2)]) as running:
        client = await running.client(select="INBOX")
        fields = "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"
        lines = await client.ok(f"FETCH 1:* (UID {fields}<9.2> {fields}<310000.1> RFC822.SIZE)")
        assert lines[3].startswith(b"* 4 FETCH (UID 4 BODY[HEADER.FIELDS (SUBJECT)]<9> {2}\r\n3  BODY[")
        assert [int(line.split()[1]) for line in lines] == list(range(1, 15))
        assert all(
            line.endswith(b" RFC822.SIZE %d)" % size) for line, size in zip(lines, map(len, large), strict=False)
        )
        client.reader._limit = 1000  # type: ignore[attr-defined]
        client.send(f"FETCH 1:* (ENVELOPE {' '.join(f'{fields}<{offset}.999999>' for offset in range(50))})")
        await asyncio.sleep(0.15)
        (connection,) = running.server._connections
        assert connection._transport.get_write_buffer_size() < 2_000_000
        client.writer.transport.abort()


@pytest.mark.rfc("9051", "6.4.5.1")
async def test_attributes_of_a_large_message_come_one_after_the_other() -> None:
    async with local_imap([LARGE_PARTS, MESSAGE % (2, 2)]) as running:
        client = await running.client(select="INBOX")
        client.send("FETCH 1:2 (UID BODY.PEEK[3] BINARY.SIZE[1] BINARY[1]<7.2> FLAGS BODY.PEEK[9])")
        expected = b"* 1 FETCH (UID 1 BODY[3] {400002}\r\n%b\r\n BINARY.SIZE[1] 400000 BINARY[1]<7> {2}\r\n11" % (
            b"3" * 400_000
        )
        expected += b" FLAGS (\\Recent \\Seen) BODY[9] NIL)\r\n"
        assert await asyncio.wait_for(client.reader.readexactly(len(expected)), 30) == expected
        assert (await client.line()).startswith(b"* 2 FETCH (UID 2 BODY[3] NIL BINARY.SIZE[1] 9 BINARY[1]<7> ")


@pytest.mark.rfc("3516", "4.3")
async def test_part_that_cannot_be_decoded_in_a_large_message_is_refused_at_the_end() -> None:
    async with local_imap([LARGE_PARTS, MESSAGE % (2, 2)]) as running:
        client = await running.client(select="INBOX")
        lines = await client.do("FETCH 1:2 (BODY.PEEK[]<0.3> BINARY.PEEK[2] BINARY.SIZE[2])")
        assert lines[0] == b"* 1 FETCH (BODY[]<0> {3}\r\nCon BINARY[2] NIL BINARY.SIZE[2] 0)"
        assert lines[-1].startswith(b"NO [UNKNOWN-CTE]")


async def _read_until(reader: asyncio.StreamReader, end: bytes) -> None:
    tail = b""
    while not tail.endswith(end):
        piece = await reader.read(65_536)
        assert piece
        tail = (tail + piece)[-100:]


@pytest.mark.rfc("5530", "3")
async def test_messages_gone_before_they_were_read_are_said_to_be() -> None:
    async with local_imap(mails(3)) as running:
        client = await running.client(select="INBOX")
        account_id = (await running.store.open_account("anna@example.com")).account_id
        await _move_away(running, 2)
        lines = await client.do("FETCH 1:3 BODY.PEEK[TEXT]")
        assert lines[-1].startswith(b"NO [EXPUNGEISSUED]")
        assert [line.split()[1] for line in lines[:-1]] == [b"1", b"3"]
        assert (await client.ok("FETCH 1:3 FLAGS"))[1].startswith(b"* 2 FETCH")
        await _settle(client, b"* 2 EXPUNGE")
        assert account_id


async def _move_away(running: RunningImap, uid: int) -> None:
    account_id = (await running.store.open_account("anna@example.com")).account_id
    status = await running.store.get_mailbox(account_id, INBOX)
    await running.store.copy_messages(
        account_id, status.mailbox_id, [uid], "Trash", Quota(), move=True, request_id="away"
    )


async def _settle(client: Client, wanted: bytes) -> None:
    for _ in range(4000):
        if wanted in await client.ok("NOOP"):
            return
        await asyncio.sleep(0.005)
    raise AssertionError(wanted)


@pytest.mark.rfc("9051", "6.4.8")
async def test_move_leaves_the_message_to_a_session_that_was_not_told() -> None:
    async with local_imap(mails(3)) as running:
        reader, mover = await running.client(select="INBOX"), await running.client(select="INBOX")
        await mover.ok("MOVE 2 Trash")
        lines = await reader.ok("FETCH 1:3 (UID ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT])")
        assert [line.split()[1] for line in lines[:3]] == [b"1", b"2", b"3"]
        assert b"Text 2." in lines[1]
        assert await reader.ok("SEARCH NOT SENTSINCE 1-Jan-1990") == [b"* SEARCH 1 2 3"]
        assert await reader.ok("NOOP") == [b"* 2 EXPUNGE"]


async def test_new_mail_is_told_while_an_expunge_is_held_back() -> None:
    async with local_imap(mails(4)) as running:
        reader, other = await running.client(select="INBOX"), await running.client(select="INBOX")
        await other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
        await other.ok("EXPUNGE")
        account_id = (await running.store.open_account("anna@example.com")).account_id
        await running.store.append(account_id, INBOX, [AppendItem(MESSAGE % (9, 9))], Quota(), request_id="n")
        for _ in range(4000):
            told = await reader.ok("FETCH 1 UID")
            if b"* 5 EXISTS" in told:
                break
            await asyncio.sleep(0.005)
        assert [line.split()[4] for line in await reader.ok("FETCH 1:5 UID")] == [b"1)", b"2)", b"3)", b"4)", b"5)"]
        assert (await reader.ok("NOOP"))[0] == b"* 2 EXPUNGE"
        assert [line.split()[4] for line in await reader.ok("FETCH 1:* UID")] == [b"1)", b"3)", b"4)", b"5)"]


@pytest.mark.rfc("9051", "2.3.3")
async def test_date_that_cannot_be_written_is_the_nearest_that_can() -> None:
    async with local_imap(mails(1)) as running:
        account_id = (await running.store.open_account("anna@example.com")).account_id
        items = [
            AppendItem(MESSAGE % (2, 2), internaldate=1 << 40),
            AppendItem(MESSAGE % (3, 3), internaldate=-(1 << 40)),
        ]
        await running.store.append(account_id, INBOX, items, Quota(), request_id="dates")
        client = await running.client(select="INBOX")
        dates = [line.split(b'"')[1][:11] for line in await client.ok("FETCH 2:3 INTERNALDATE")]
        assert dates == [b"31-Dec-9999", b"01-Jan-0001"]
