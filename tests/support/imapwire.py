"""A machine that allows everything, for what goes in and comes out of it."""

from __future__ import annotations

from services.imap.commands import Command
from services.imap.events import Event, NeedData, NeedLiteral, ProtocolError, Request
from services.imap.machine import ImapMachine, Limits
from services.imap.wire.grammar import GRAMMAR

EVERYTHING = frozenset(row.name for row in GRAMMAR.values())


def machine(limits: Limits | None = None, *, utf8: bool = False) -> ImapMachine:
    """A machine in which every command is allowed."""
    made = ImapMachine(EVERYTHING, limits or Limits())
    made.utf8 = utf8
    return made


def events(made: ImapMachine, data: bytes) -> list[Event]:
    """What comes out for `data`, literals accepted."""
    made.receive(data)
    found: list[Event] = []
    while not isinstance(event := made.next(), NeedData):
        found.append(event)
        if isinstance(event, NeedLiteral):
            made.accept_literal()
    return found


def outcome(*pieces: str | bytes, utf8: bool = False) -> Event:
    """The last event of one command; literals alternate with text, as in `(b"LOGIN {1}", b"a", b" b")`."""
    data = b""
    for place, piece in enumerate(pieces):
        data += piece.encode() if isinstance(piece, str) else piece
        data += b"\r\n" if place % 2 == 0 else b""
    if len(pieces) % 2 == 0:
        data += b"\r\n"
    return next(event for event in events(machine(utf8=utf8), b"t1 " + data) if not isinstance(event, NeedLiteral))


def parse(*pieces: str | bytes, utf8: bool = False) -> Command:
    """The command."""
    event = outcome(*pieces, utf8=utf8)
    assert isinstance(event, Request), event
    assert event.tag == b"t1"
    return event.command


def refusal(*pieces: str | bytes) -> ProtocolError:
    """The error that it gives instead."""
    event = outcome(*pieces)
    assert isinstance(event, ProtocolError), event
    assert event.tag == b"t1"
    return event
