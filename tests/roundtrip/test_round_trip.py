"""A thousand awkward messages in by LMTP, APPEND and import, out byte for byte by IMAP, POP3 and export.

Compared on raw sockets. What a protocol cannot carry holds as follows: NUL or a missing last CRLF comes in by BDAT with
BINARYMIME, by literal8 or by import; BODY[] sends NUL as 0x80 at the same length, BINARY[] as it is; RETR adds a
missing last CRLF. The lines that LMTP puts before a message are its own.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from tests.support.awkward import awkward_messages
from tests.support.running import PASSWORD, RunningServices

COUNT = int(os.environ.get("MAILKEEP_AWKWARD", "1000"))
WAYS = {"lmtp": "lmtp@example.com", "append": "append@example.com", "import": "import@example.com"}
TRACE = re.compile(rb"\A(?:(?:Return-Path|Delivered-To): [^\r\n]*\r\n)*")
LIMIT = 1 << 26

pytestmark = [pytest.mark.roundtrip, pytest.mark.timeout(300)]


class Peer:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def line(self) -> bytes:
        found = await asyncio.wait_for(self.reader.readline(), 60)
        assert found, "the server closed the connection"
        return found

    async def send(self, *pieces: bytes) -> None:
        self.writer.writelines(pieces)
        await asyncio.wait_for(self.writer.drain(), 60)


@asynccontextmanager
async def peer(port: int) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LIMIT)
    with closing(writer):
        opened = Peer(reader, writer)
        await opened.line()
        yield opened


async def lmtp_reply(connection: Peer, code: bytes) -> None:
    while True:
        line = await connection.line()
        assert line.startswith(code), line
        if line[3:4] == b" ":
            return


async def tagged(connection: Peer) -> list[bytes]:
    """Untagged lines of a command that succeeds."""
    lines = []
    while not (line := await connection.line()).startswith(b"a "):
        lines.append(line)
    assert line.startswith(b"a OK"), line
    return lines


async def by_lmtp(services: RunningServices, user: str, bodies: Sequence[bytes]) -> None:
    async with peer(services.lmtp) as connection:
        await connection.send(b"LHLO test\r\n")
        await lmtp_reply(connection, b"250")
        for body in bodies:
            plain = body.endswith(b"\r\n") and b"\0" not in body
            kind = b"8BITMIME" if plain else b"BINARYMIME"
            await connection.send(b"MAIL FROM:<a@example.org> BODY=%b\r\nRCPT TO:<%b>\r\n" % (kind, user.encode()))
            await lmtp_reply(connection, b"250")
            await lmtp_reply(connection, b"250")
            if plain:
                await connection.send(b"DATA\r\n")
                await lmtp_reply(connection, b"354")
                stuffed = body.replace(b"\r\n.", b"\r\n..")
                await connection.send(b"." if stuffed.startswith(b".") else b"", stuffed, b".\r\n")
            else:
                await connection.send(b"BDAT %d LAST\r\n" % len(body), body)
            await lmtp_reply(connection, b"250")


async def login(connection: Peer, user: str) -> None:
    await connection.send(f'a LOGIN {user} "{PASSWORD}"\r\n'.encode())
    await tagged(connection)


async def by_append(services: RunningServices, user: str, bodies: Sequence[bytes]) -> None:
    async with peer(services.imap) as connection:
        await login(connection, user)
        for body in bodies:
            mark = b"~" if b"\0" in body else b""
            await connection.send(b"a APPEND INBOX %b{%d}\r\n" % (mark, len(body)))
            assert (await connection.line()).startswith(b"+")
            await connection.send(body, b"\r\n")
            if body:
                await tagged(connection)
            else:
                # RFC 3502 section 3: no octets are no message, but the way to call an APPEND off.
                assert (await connection.line()).startswith(b"a NO [CANNOT]")


async def by_import(services: RunningServices, user: str, bodies: Sequence[bytes]) -> None:
    folder = services.data / "eml"
    folder.mkdir()
    for number, body in enumerate(bodies):
        (folder / f"{number:04}.raw.eml").write_bytes(body)
    for expected in (len(bodies), 0):
        done = await asyncio.to_thread(services.command, "import", user, str(folder), "--json")
        assert f'"imported": {expected}' in done.stdout, "a second run brings in nothing"


IN = {"lmtp": by_lmtp, "append": by_append, "import": by_import}


async def fetched(services: RunningServices, user: str, item: bytes) -> list[bytes]:
    """The item of every message of INBOX, by IMAP."""
    found = []
    async with peer(services.imap) as connection:
        await login(connection, user)
        await connection.send(b"a SELECT INBOX\r\n")
        await tagged(connection)
        await connection.send(b"a FETCH 1:* (%b)\r\n" % item)
        while not (line := await connection.line()).startswith(b"a "):
            size = re.search(rb"\{(\d+)\}\r\n\Z", line)
            if size:
                found.append(await connection.reader.readexactly(int(size[1])))
                await connection.line()
            else:
                # An empty or short text may come as a quoted string.
                quoted = re.search(rb'\] "((?:[^"\\]|\\.)*)"', line)
                assert quoted, line
                found.append(re.sub(rb"\\(.)", rb"\1", quoted[1]))
        assert line.startswith(b"a OK"), line
    return found


async def retrieved(services: RunningServices, user: str) -> list[bytes]:
    """Every message of the maildrop, by POP3 in UTF8 mode."""
    found = []
    async with peer(services.pop) as connection:
        await connection.send(f"UTF8\r\nUSER {user}\r\nPASS {PASSWORD}\r\nSTAT\r\n".encode())
        answers = [await connection.line() for _ in range(4)]
        assert all(answer.startswith(b"+OK") for answer in answers), answers
        for number in range(1, int(answers[3].split()[1]) + 1):
            await connection.send(b"RETR %d\r\n" % number)
            assert (await connection.line()).startswith(b"+OK")
            data = await multiline(connection)
            found.append(re.sub(rb"(\A|\r\n)\.", rb"\1", data))
    return found


async def multiline(connection: Peer) -> bytes:
    """What stands before the line of one dot (RFC 1939 section 3); only CRLF ends a line."""
    lines = [b"\r\n"]
    while (line := await connection.line()) != b".\r\n" or not lines[-1].endswith(b"\r\n"):
        lines.append(line)
    return b"".join(lines[1:])


def exported(services: RunningServices, user: str) -> list[bytes]:
    """Every message, by export."""
    folder = services.data / f"export-{user}"
    services.command("export", user, str(folder), "--format", "eml", "--folder", "INBOX")
    return [path.read_bytes() for path in sorted((folder / "INBOX").glob("*.eml"))]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    started = RunningServices(tmp_path_factory.mktemp("roundtrip") / "data")
    started.data.mkdir()
    for user in WAYS.values():
        started.command("account", "add", user, "--password-stdin", given=PASSWORD + "\n")
    started.start()
    yield started
    started.stop()


def compare(found: Sequence[bytes], bodies: Sequence[bytes], names: Sequence[str], what: str) -> None:
    assert len(found) == len(bodies), what
    wrong = [name for name, one, other in zip(names, found, bodies, strict=True) if one != other]
    assert not wrong, f"{what}: {len(wrong)} differ: {wrong[:10]}"


@pytest.mark.parametrize("way", WAYS)
async def test_every_byte_comes_back(services: RunningServices, way: str) -> None:
    messages = list(awkward_messages(COUNT))
    user = WAYS[way]
    await IN[way](services, user, [message.body for message in messages])
    if way == "append":
        messages = [message for message in messages if message.body]
    names, bodies = [message.name for message in messages], [message.body for message in messages]

    def own(found: Sequence[bytes]) -> list[bytes]:
        """Without the lines that LMTP put before each."""
        return [TRACE.sub(b"", each, count=1) for each in found] if way == "lmtp" else list(found)

    compare(own(await fetched(services, user, b"BINARY.PEEK[]")), bodies, names, "BINARY[]")
    shown = [body.replace(b"\0", b"\x80") for body in bodies]
    compare(own(await fetched(services, user, b"BODY.PEEK[]")), shown, names, "BODY[]")
    ended = [body if not body or body.endswith(b"\r\n") else body + b"\r\n" for body in bodies]
    compare(own(await retrieved(services, user)), ended, names, "RETR")
    compare(own(await asyncio.to_thread(exported, services, user)), bodies, names, "export")
    await asyncio.to_thread(_nothing_wrong, services)


def _nothing_wrong(services: RunningServices) -> None:
    assert '"findings": []' in services.command("store", "check", "--json").stdout


def test_the_messages_are_what_they_claim(tmp_path: Path) -> None:
    messages = list(awkward_messages(COUNT))
    assert len({message.name for message in messages}) == COUNT
    assert any(message.has_nul for message in messages)
    assert max(len(message.body) for message in messages) >= 20_000_000 or COUNT < 1000
