"""The transcript runner itself, against a server that answers by a small table."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.transcripts import Player, TranscriptError, load

ANSWERS = {
    b"HELLO": b"+OK hello 42\r\n",
    b"MANY": b"* two\r\n* one\r\ndone\r\n",
    b"RAW": b"{3}\r\na\0b\r\n",
    b"BYE": b"+OK bye\r\n",
}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext) -> None:
    writer.write(b"ready\r\n")
    while line := await reader.readline():
        word, *_ = line.split()
        writer.write(ANSWERS.get(word, b"+OK begin\r\n" if word == b"TLS" else b"-ERR\r\n"))
        if word == b"TLS":
            await writer.start_tls(tls)
        if word == b"BYE":
            break
    writer.close()


@pytest.fixture
async def player(tmp_path: Path) -> AsyncIterator[Player]:
    certificate = make_certificate(tmp_path)
    context = certificate.server_context()
    server = await asyncio.start_server(lambda reader, writer: answer(reader, writer, context), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def connect(number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)

    yield Player(connect, variables={"word": "HELLO"}, tls=certificate.client_context())
    server.close()
    await server.wait_closed()


def written(tmp_path: Path, session: str) -> Path:
    path = tmp_path / "session.txt"
    path.write_text("title: a session\nrfc: 1939 4; 3206 5\n\n" + session)
    return path


async def test_plays_a_session_with_everything(player: Player, tmp_path: Path) -> None:
    heard: list[str] = []

    async def note(*words: str) -> None:
        heard.extend(words)

    player.actions = {"note": note}
    session = """
# placeholders and captures
S: ready
C: <<word>>
C: HELLO again
S: +OK hello <<number=\\d+>>
S: +OK hello <<number>>
C: MANY
S~ * one
S~ * two
S: done
C! MANY\\r\\n
S> done
C: RAW
S! {3}\\r\\na\\0b\\r\\n
@quiet
@do note a b
@do note c
S2: <<...>>
C2: TLS
S2: +OK <<=b\\w+>>
@tls 2
C2: BYE
S2: +OK bye
@eof 2
C: BYE
S: +OK bye
@eof
"""
    await player.play(load(written(tmp_path, session)))
    assert heard == ["a", "b", "c"]
    assert player.variables["number"] == "42"


@pytest.mark.parametrize(
    ("session", "says"),
    [
        ("S: ready\nC: NO\nS: +OK\n", r"session.txt:6: S: \+OK\n(?s:.*)heard b'-ERR'(?s:.*)C1: b'NO"),
        ("S: ready\nC: BYE\nS: +OK bye\nS: more\n", r"session.txt:7"),
        ("S: ready\nC: MANY\nS~ * one\nS~ * three\n", r"session.txt:6"),
        ("S! reading\n", r"session.txt:4"),
        ("@quiet\nS: other\n", r"session.txt:\d"),
    ],
)
async def test_a_difference_names_its_line(player: Player, tmp_path: Path, session: str, says: str) -> None:
    with pytest.raises(TranscriptError, match=says):
        await player.play(load(written(tmp_path, session)))


def test_the_head_gives_the_marks(tmp_path: Path) -> None:
    transcript = load(written(tmp_path, "S: ready\n"))
    assert [mark.args for mark in transcript.marks] == [("1939", "4"), ("3206", "5")]


def test_a_line_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"session.txt:4"):
        load(written(tmp_path, "X: what\n"))
