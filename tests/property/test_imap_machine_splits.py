"""Any bytes, in any pieces, give the same commands, and nothing but commands and protocol errors."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from services.imap.events import Event, NeedData, NeedLiteral, ProtocolError, Request
from services.imap.machine import ImapMachine, Limits
from services.imap.wire.grammar import GRAMMAR
from tests.support.imapwire import EVERYTHING

SMALL: Final = Limits(line=300, literal=20, literals=3, message=200, nonsync=100, discard=500, errors=1000)

ARGUMENTS: Final = (
    b" ", b"INBOX", b"1:*", b"5", b"$", b"(", b")", b"(UID FLAGS)", b"BODY.PEEK[HEADER.FIELDS (A B)]<0.5>", b"ALL",
    b'"a b"', b'"', b"{3}\r\nabc", b"{3+}\r\nabc", b"{3+}\r\na\r\n", b"~{2+}\r\n\0\xff", b"{90+}\r\n" + b"x" * 90,
    b"{150+}\r\n" + b"y" * 150, b"{900+}\r\n", b"+FLAGS", b"(\\Seen x)", b"OR", b"NOT", b"SEEN", b"TEXT x",
    b"SINCE 1-Jan-2020", b"CHARSET UTF-8", b"RETURN (MIN)", b'" 1-Jan-2020 00:00:00 +0000"', b"%", b"*", b"\\",
    b"\xc3\xa9", b"&U,BTFw-", b"NIL", b"\0", b"(USE (\\Sent))", b"z" * 100,
)  # fmt: skip
_names = st.sampled_from([*GRAMMAR, b"FOO", b"uid", b"", b"fetch"])
_arguments = st.lists(st.sampled_from(ARGUMENTS) | st.just(b" "), max_size=8).map(b"".join)
_ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""])
_lines = st.builds(
    lambda tag, name, space, arguments, end: tag + b" " + name + space + arguments + end,
    st.sampled_from([b"a1", b"t.2", b"+", b""]),
    _names,
    st.sampled_from([b" ", b""]),
    _arguments,
    _ends,
)
_dialogues = st.lists(_lines, max_size=6).map(b"".join)


def run(pieces: list[bytes]) -> list[Event]:
    """Literals are accepted, those of an odd size after a refusal of the first of them."""
    machine = ImapMachine(EVERYTHING, SMALL)
    found: list[Event] = []
    for piece in pieces:
        machine.receive(piece)
        while not isinstance(event := machine.next(), NeedData):
            found.append(event)
            if isinstance(event, NeedLiteral):
                if event.size % 7 == 6:
                    machine.refuse_literal("Refused")
                else:
                    machine.accept_literal()
    return found


@given(_dialogues, st.lists(st.integers(1, 40), max_size=40))
def test_any_split_gives_the_same(data: bytes, sizes: list[int]) -> None:
    pieces, rest = [], data
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    assert run([*pieces, rest]) == run([data])


@given(_dialogues)
def test_byte_by_byte(data: bytes) -> None:
    assert run([bytes([byte]) for byte in data]) == run([data])


@given(st.binary(max_size=500) | _dialogues)
def test_any_bytes_give_commands_or_protocol_errors(data: bytes) -> None:
    for event in run([data]):
        assert isinstance(event, (Request, ProtocolError, NeedLiteral))
        if isinstance(event, ProtocolError):
            line = event.tag + event.text.encode() + event.code.encode()
            assert line.isascii()
            assert b"\r" not in line
            assert b"\n" not in line
