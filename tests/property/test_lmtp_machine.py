"""Whatever the bytes and however they are cut: the same commands and messages, and one error at most for each line."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.lmtp.commands import MAIL, READY, SYNTAX, Bare, Bdat, Lhlo, Mail, Rcpt
from services.lmtp.machine import MAX_ERRORS, MAX_LINE, Chunk, LmtpMachine, Message, ProtocolError

Seen = str | bytes | tuple[str, object]


@dataclass
class Client:
    """Drives a machine as a session does, and writes down what comes out."""

    limit: int = 1_000_000
    machine: LmtpMachine = field(default_factory=LmtpMachine)
    seen: list[object] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)
    kept: int = 0
    over: bool = False

    def feed(self, data: bytes) -> None:
        if not self.over:
            self.machine.feed(data)
            while self.step():
                pass

    def reserve(self, more: int) -> bool:
        self.kept += more
        return self.kept <= self.limit

    def step(self) -> bool:
        try:
            event = self.machine.next()
        except ProtocolError as error:
            self.seen.append(error.fault)
            self.over = error.fatal
            return not error.fatal
        if event is None:
            return False
        if isinstance(event, Chunk):
            self.seen.append((event, bytes(self.content)))
            self.content.clear()
        else:
            self.seen.append(event)
        self.follow(event)
        return True

    def follow(self, event: object) -> None:
        """Let the states be those in which everything may come."""
        if isinstance(event, Bare) and event.verb == "DATA":
            self.kept = 0
            self.machine.receive_message(self.reserve)
        elif isinstance(event, Bdat):
            self.kept = 0
            self.machine.receive_chunk(event.size, self.content, self.reserve)
        if isinstance(event, Lhlo | Message):
            self.machine.state = READY
        elif isinstance(event, Mail):
            self.machine.state = MAIL


def run(data: bytes, cuts: list[int] | None = None, limit: int = 1_000_000) -> Client:
    client = Client(limit)
    places = sorted({min(cut, len(data)) for cut in cuts or []} | {0, len(data)})
    for start, end in pairwise(places):
        client.feed(data[start:end])
    return client


PIECES = st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"\r\n.", b"\r\n..", b"a"])
BODY = st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=40).map(b"".join)


def stuffed(body: bytes) -> bytes:
    """As a client sends it by DATA; a missing last line end is added."""
    whole = b"\r\n" + body + (b"" if body.endswith(b"\r\n") or not body else b"\r\n")
    return whole.replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


LINES = (b"LHLO a", b"MAIL FROM:<a@b>", b"RCPT TO:<a@b>", b"NOOP", b"what", b"", b"BDAT x", b"QUIT\n")
COMMANDS = st.sampled_from([line + b"\r\n" for line in LINES])
SESSION = st.lists(
    st.one_of(
        COMMANDS,
        BODY.map(lambda body: b"MAIL FROM:<>\r\nDATA\r\n" + stuffed(body)),
        st.binary(max_size=20).map(lambda data: b"BDAT %d\r\n" % len(data) + data),
        st.binary(max_size=20),
    ),
    max_size=10,
).map(lambda parts: b"LHLO x\r\n" + b"".join(parts))


@given(SESSION, st.lists(st.integers(0, 400), max_size=12))
@settings(deadline=None)
def test_any_split_gives_the_same(data: bytes, cuts: list[int]) -> None:
    assert run(data, cuts).seen == run(data).seen
    assert run(data, list(range(len(data)))).seen == run(data).seen


@given(BODY, st.lists(st.integers(0, 200), max_size=6))
@settings(deadline=None)
@pytest.mark.rfc("5321", "4.5.2")
def test_a_message_comes_out_as_it_went_in(body: bytes, cuts: list[int]) -> None:
    client = run(b"LHLO x\r\nMAIL FROM:<>\r\nDATA\r\n" + stuffed(body) + b"NOOP\r\n", cuts)
    message, noop = client.seen[-2:]
    assert isinstance(message, Message)
    assert message.body == (body if body.endswith(b"\r\n") or not body else body + b"\r\n")
    assert noop == Bare("NOOP")


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
@settings(deadline=None)
@pytest.mark.rfc("3030", "2")
def test_a_chunk_is_any_bytes(data: bytes, cuts: list[int]) -> None:
    client = run(b"BDAT %d LAST\r\n%bNOOP\r\n" % (len(data), data), cuts)
    assert client.seen == [Bdat(len(data), True), (Chunk(True), data), Bare("NOOP")]


@given(BODY, st.integers(0, 60), st.lists(st.integers(0, 200), max_size=6))
@settings(deadline=None)
def test_what_is_too_much_is_dropped_and_its_end_found(body: bytes, limit: int, cuts: list[int]) -> None:
    sent = stuffed(body)
    client = run(b"LHLO x\r\nMAIL FROM:<>\r\nDATA\r\n" + sent + b"NOOP\r\n", cuts, limit)
    message, noop = client.seen[-2:]
    assert isinstance(message, Message)
    assert (message.body is None) == (len(sent) > limit)
    assert noop == Bare("NOOP")


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
@settings(deadline=None)
def test_any_bytes_are_commands_or_the_one_error(data: bytes, cuts: list[int]) -> None:
    assert run(data, cuts).seen == run(data).seen


@given(st.binary(max_size=60))
def test_any_argument_is_read_or_refused(argument: bytes) -> None:
    for verb in SYNTAX:
        client = Client()
        client.machine.state = READY | MAIL
        client.feed(verb + b" " + argument.replace(b"\n", b" ") + b"\r\n")
        assert client.seen


def test_a_line_without_end_is_bounded() -> None:
    client = Client()
    for _ in range(1000):
        client.feed(b"x" * 1000)
        assert len(client.machine) <= MAX_LINE + 1000
    assert len(client.seen) == 1


def test_bad_commands_are_counted_until_a_good_one() -> None:
    client = Client()
    client.feed(b"what\r\n" * (MAX_ERRORS - 1) + b"NOOP\r\n" + b"what\r\n" * (MAX_ERRORS - 1))
    assert not client.over
    client.feed(b"what\r\n")
    assert client.over


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b"RCPT TO:<a.b@c.example>", ("a.b@c.example", "a.b", "c.example")),
        (b"rcpt to: <a@b>", ("a@b", "a", "b")),
        (b"RCPT TO:<@x,@y:a@b>", ("a@b", "a", "b")),
        (b'RCPT TO:<"a \\"b\\" @"@c>', ('"a \\"b\\" @"@c', 'a "b" @', "c")),
        (b"RCPT TO:<a@[IPv6:2001:db8::1]>", ("a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]")),
        (b"RCPT TO:<postmaster>", ("postmaster", "postmaster", "")),
        ("RCPT TO:<用户@例子.example>".encode(), ("用户@例子.example", "用户", "例子.example")),
    ],
)
@pytest.mark.rfc("5321", "4.1.2")
def test_paths(line: bytes, path: tuple[str, str, str]) -> None:
    client = Client()
    client.machine.state = MAIL
    client.feed(line + b"\r\n")
    (command,) = client.seen
    assert isinstance(command, Rcpt)
    assert (command.path.text, command.path.local, command.path.domain) == path
