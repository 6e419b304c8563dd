"""The POP3 machine: bytes in, commands or `ProtocolError` out. No I/O.

Rules:
- A line is bounded before it is buffered; one that is too long ends the session, since what follows cannot be trusted.
- A command is looked up, then its state is checked, then its argument is read.
- While an authentication exchange waits for the client, a line is its `Response` whatever it says, and may be longer.
- Bad commands are counted. Before login few are taken: what talks HTTP or SMTP to this port is cut off early.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from services.common.linebuffer import LineBuffer, LineTooLongError
from services.common.sasl.exchange import MAX_RESPONSE
from services.pop.commands import AUTHORIZATION, SYNTAX, TRANSACTION, Command, CommandSyntaxError, Response

MAX_LINE: Final = 1024
"""Clients may count on 255 (RFC 2449 section 4); names and passwords in UTF-8 want more."""
MAX_RESPONSE_LINE: Final = MAX_RESPONSE + 2
MAX_ERRORS: Final = {AUTHORIZATION: 5, TRANSACTION: 20}


class Fault(Enum):
    """What was wrong with a line."""

    UNKNOWN = "no such command"
    SYNTAX = "an argument the command does not take"
    STATE = "not in this state"
    LENGTH = "the line is too long"


class ProtocolError(Exception):
    """The only thing that bad input can cause; `fatal`: the session ends after the reply."""

    def __init__(self, fault: Fault, *, fatal: bool) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.fatal = fatal


class PopMachine:
    """One connection's input."""

    __slots__ = ("_awaiting", "_errors", "_lines", "_state")

    def __init__(self) -> None:
        self._lines = LineBuffer(MAX_LINE)
        self._state = AUTHORIZATION
        self._awaiting = False
        self._errors = 0

    def __len__(self) -> int:
        """Bytes held that are not a command yet, or whose turn has not come."""
        return len(self._lines)

    @property
    def state(self) -> int:
        """AUTHORIZATION or TRANSACTION."""
        return self._state

    def enter_transaction(self) -> None:
        """The client has logged in."""
        self._state = TRANSACTION
        self._errors = 0

    def await_response(self, awaiting: bool) -> None:
        """Whether the next line belongs to an authentication exchange."""
        self._awaiting = awaiting
        self._lines.limit = MAX_RESPONSE_LINE if awaiting else MAX_LINE

    def restart(self) -> None:
        """Drop what came in clear: TLS begins (RFC 2595 section 4)."""
        self._lines.clear()

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        self._lines.feed(data)

    def next(self) -> Command | Response | None:
        """The next command; None until one is complete. Raises ProtocolError."""
        try:
            line = self._lines.next_line()
        except LineTooLongError:
            raise ProtocolError(Fault.LENGTH, fatal=True) from None
        if line is None:
            return None
        if self._awaiting:
            return Response(line)
        verb, _, argument = line.partition(b" ")
        row = SYNTAX.get(verb) or SYNTAX.get(verb.upper())
        if row is None:
            raise self._fault(Fault.UNKNOWN)
        if not row.states & self._state:
            raise self._fault(Fault.STATE)
        try:
            return row.parse(row.verb, argument)
        except CommandSyntaxError:
            raise self._fault(Fault.SYNTAX) from None

    def _fault(self, fault: Fault) -> ProtocolError:
        self._errors += 1
        return ProtocolError(fault, fatal=self._errors >= MAX_ERRORS[self._state])
