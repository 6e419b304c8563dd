r"""Protocol sessions written down as text and played against a server over real sockets.

A transcript has a head of `key: value` lines, an empty line, and then the session:

    title: Two sessions, one lock
    rfc: 1939 4; 3206 4
    mail: 3

    S: +OK <<...>>
    C: USER <<user>>
    C: PASS <<password>>
    S: +OK
    S2: +OK <<...>>

The head's `title` and `rfc` (number and section, `;` between) name and mark the test; other keys are for the test.
A line of the session begins with who speaks; a number after it tells connections apart (none is 1). A connection is
opened where it is first named.

    C: text      send the line; client lines that follow each other leave in one segment
    C! text      send these bytes without a line end; \r \n \t \0 \\ and \xNN are understood
    S: text      the next line must be this one
    S! text      the next bytes must be these (escapes as above)
    S~ text      lines marked so that follow each other may come in any order
    S> text      read on until a line is this one
    @tls 1       negotiate TLS, as after STLS and STARTTLS
    @eof 1       the server closes
    @close 1     the client closes; @cut 1 resets the connection
    @quiet 1     nothing arrives for a moment
    @do name a b call the test's action `name` with the words that follow
    # ...        a remark

In texts `<<name>>` is a variable of the test or a capture, `<<name=regex>>` captures, `<<=regex>>` matches, `<<...>>`
is any text. A failure names the line of the file and shows the end of the dialogue.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

import pytest

TIMEOUT: Final = 30.0
QUIET: Final = 0.05
DIALOGUE: Final = 30

Connect = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
Action = Callable[..., Awaitable[None]]

_SPEECH: Final = re.compile(r"([CS])(\d*)([:!~>])(?: (.*))?")
_HOLE: Final = re.compile(r"<<(\.\.\.|\w+|(?:\w*)=.*?)>>")
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))")
_ESCAPED: Final = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


class TranscriptError(AssertionError):
    """The server said something else than the transcript."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a session: `kind` is C:, C!, S:, S!, S~, S> or a directive such as @tls."""

    line: int
    kind: str
    connection: int
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """A file, read."""

    path: Path
    settings: Mapping[str, str]
    steps: Sequence[Step]

    @property
    def marks(self) -> list[pytest.MarkDecorator]:
        """One rfc mark for each `number section` of the head."""
        entries = [entry.split() for entry in self.settings.get("rfc", "").split(";") if entry.strip()]
        return [pytest.mark.rfc(number, section) for number, section in entries]


def load(path: Path) -> Transcript:
    """Read one transcript. Raises ValueError for a line that is neither."""
    lines = path.read_text().splitlines()
    empty = lines.index("")
    head = [line.split(":", 1) for line in lines[:empty] if not line.startswith("#")]
    settings = {key.strip(): value.strip() for key, value in head}
    steps = [
        _step(path, number, line)
        for number, line in enumerate(lines, 1)
        if number > empty and line.strip() and not line.startswith("#")
    ]
    return Transcript(path, settings, steps)


def parameters(folder: Path) -> list[object]:
    """Every transcript of a folder, for `pytest.mark.parametrize`, with its RFC marks."""
    found = [load(path) for path in sorted(folder.glob("*.txt"))]
    return [pytest.param(transcript, id=transcript.path.stem, marks=transcript.marks) for transcript in found]


def _step(path: Path, number: int, line: str) -> Step:
    if line.startswith("@"):
        kind, _, rest = line.partition(" ")
        named = rest.isdigit()
        return Step(number, kind, int(rest) if named else 1, "" if named else rest)
    match = _SPEECH.fullmatch(line)
    if match is None:
        raise ValueError(f"{path.name}:{number}: neither speech nor directive: {line}")
    who, connection, form, text = match.groups()
    return Step(number, who + form, int(connection or 1), text or "")


def _unescaped(text: bytes) -> bytes:
    def one(match: re.Match[bytes]) -> bytes:
        return bytes.fromhex(match[1].decode()) if match[1] else _ESCAPED[match[2]]

    return _ESCAPE.sub(one, text)


@dataclass(slots=True)
class _Peer:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def line(self) -> bytes:
        data = await asyncio.wait_for(self.reader.readline(), TIMEOUT)
        if not data.endswith(b"\r\n"):
            raise EOFError(f"instead of a line came {data!r} and then the end")
        return data[:-2]


@dataclass(slots=True)
class Player:
    """Plays one transcript. `connect` is given the connection's number; `actions` serve `@do`."""

    connect: Connect
    variables: dict[str, str] = field(default_factory=dict)
    actions: Mapping[str, Action] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    _peers: dict[int, _Peer] = field(default_factory=dict)
    _dialogue: deque[str] = field(default_factory=lambda: deque(maxlen=DIALOGUE))

    async def play(self, transcript: Transcript) -> None:
        """Go through it. Raises TranscriptError at the first difference."""
        try:
            for (kind, connection, _), group in groupby(transcript.steps, key=_same_breath):
                await self._perform(transcript, kind, connection, list(group))
        finally:
            for peer in self._peers.values():
                peer.writer.close()

    async def _perform(self, transcript: Transcript, kind: str, connection: int, steps: list[Step]) -> None:
        step = steps[0]
        try:
            if kind == "@do":
                await self._do(step.text)
            elif kind == "C":
                await self._send(connection, steps)
            else:
                await _PERFORM[kind](self, await self._peer(connection), steps)
        except (TimeoutError, EOFError, OSError, TranscriptError) as error:
            raise self._failure(transcript, step, error) from None

    async def _peer(self, connection: int) -> _Peer:
        if connection not in self._peers:
            self._peers[connection] = _Peer(*await self.connect(connection))
        return self._peers[connection]

    async def _do(self, text: str) -> None:
        name, *words = text.split()
        await self.actions[name](*words)

    async def _send(self, connection: int, steps: list[Step]) -> None:
        data = b"".join(self._outgoing(step) for step in steps)
        self._dialogue.append(f"C{connection}: {data!r}")
        peer = await self._peer(connection)
        peer.writer.write(data)
        await asyncio.wait_for(peer.writer.drain(), TIMEOUT)

    def _outgoing(self, step: Step) -> bytes:
        text = _HOLE.sub(lambda hole: self.variables[hole[1]], step.text).encode()
        return _unescaped(text) if step.kind == "C!" else text + b"\r\n"

    async def _expect_line(self, peer: _Peer, steps: list[Step]) -> None:
        line = await self._heard(peer, steps[0])
        if not self._pattern(steps[0]).fullmatch(line):
            raise TranscriptError(f"expected {steps[0].text!r}, heard {line!r}")
        self._capture(steps[0], line)

    async def _expect_any_order(self, peer: _Peer, steps: list[Step]) -> None:
        open_steps = list(steps)
        while open_steps:
            line = await self._heard(peer, open_steps[0])
            matching = next((step for step in open_steps if self._pattern(step).fullmatch(line)), None)
            if matching is None:
                raise TranscriptError(f"unexpected {line!r} while waiting for {[step.text for step in open_steps]}")
            self._capture(matching, line)
            open_steps.remove(matching)

    async def _expect_at_last(self, peer: _Peer, steps: list[Step]) -> None:
        while not self._pattern(steps[0]).fullmatch(line := await self._heard(peer, steps[0])):
            pass
        self._capture(steps[0], line)

    async def _expect_bytes(self, peer: _Peer, steps: list[Step]) -> None:
        wanted = _unescaped(steps[0].text.encode())
        try:
            heard = await asyncio.wait_for(peer.reader.readexactly(len(wanted)), TIMEOUT)
        except asyncio.IncompleteReadError as error:
            heard = error.partial
        self._dialogue.append(f"S{steps[0].connection}! {heard!r}")
        if heard != wanted:
            raise TranscriptError(f"expected {wanted!r}, heard {heard!r}")

    async def _heard(self, peer: _Peer, step: Step) -> bytes:
        line = await peer.line()
        self._dialogue.append(f"S{step.connection}: {line.decode(errors='backslashreplace')}")
        return line

    def _pattern(self, step: Step) -> re.Pattern[bytes]:
        """The expectation as a regular expression; a name that was captured before stands for what it caught."""
        parts, position = [], 0
        for hole in _HOLE.finditer(step.text):
            parts += [re.escape(step.text[position : hole.start()]), self._hole(hole[1])]
            position = hole.end()
        return re.compile("".join([*parts, re.escape(step.text[position:])]).encode(), re.DOTALL)

    def _hole(self, text: str) -> str:
        name, captures, regex = text.partition("=")
        if text == "...":
            return ".*"
        if not captures:
            return re.escape(self.variables[name])
        return f"(?P<{name}>{regex})" if name else f"(?:{regex})"

    def _capture(self, step: Step, line: bytes) -> None:
        if match := self._pattern(step).fullmatch(line):
            self.variables.update({name: value.decode() for name, value in match.groupdict().items()})

    async def _start_tls(self, peer: _Peer, steps: list[Step]) -> None:
        if self.tls is None:
            raise TranscriptError("the test gave no TLS context")
        await asyncio.wait_for(peer.writer.start_tls(self.tls, server_hostname="localhost"), TIMEOUT)

    async def _expect_end(self, peer: _Peer, steps: list[Step]) -> None:
        rest = await asyncio.wait_for(peer.reader.read(), TIMEOUT)
        if rest:
            raise TranscriptError(f"expected the end, heard {rest!r}")

    async def _close(self, peer: _Peer, steps: list[Step]) -> None:
        peer.writer.close()
        del self._peers[steps[0].connection]

    async def _cut(self, peer: _Peer, steps: list[Step]) -> None:
        sock = peer.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.transport.abort()
        del self._peers[steps[0].connection]

    async def _expect_quiet(self, peer: _Peer, steps: list[Step]) -> None:
        try:
            heard = await asyncio.wait_for(peer.reader.read(1), QUIET)
        except TimeoutError:
            return
        raise TranscriptError(f"expected nothing, heard {heard!r}")

    def _failure(self, transcript: Transcript, step: Step, error: Exception) -> TranscriptError:
        said = "\n  ".join(self._dialogue)
        where = f"{transcript.path.name}:{step.line}"
        return TranscriptError(f"{where}: {step.kind} {step.text}\n{error or type(error).__name__}\n  {said}")


def _same_breath(step: Step) -> tuple[str, int, int]:
    """Client lines that follow each other on one connection are one segment; so are lines in any order one set."""
    kind = "C" if step.kind in ("C:", "C!") else step.kind
    return (kind, step.connection, 0 if kind in ("C", "S~") else step.line)


_PERFORM: Final[Mapping[str, Callable[[Player, _Peer, list[Step]], Awaitable[None]]]] = {
    "S:": Player._expect_line,
    "S~": Player._expect_any_order,
    "S>": Player._expect_at_last,
    "S!": Player._expect_bytes,
    "@tls": Player._start_tls,
    "@eof": Player._expect_end,
    "@close": Player._close,
    "@cut": Player._cut,
    "@quiet": Player._expect_quiet,
}
