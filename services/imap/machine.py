"""ImapMachine: bytes from a client to commands, any split, bounded memory, no I/O.

Rules:
- A command is looked at only when `next` is called, so what `allowed`, `withheld`, `utf8` and `limits` say then holds
  for it, however early its bytes came.
- A literal is checked (command known, legal now, size, number of literals; of an APPEND all that stands before it)
  before it is asked for or kept. One that is refused costs no memory: a client that waits is told, and one that does
  not wait (RFC 7888) has the rest of its command read and dropped, then answered.
- A line above the limit ends the session, because what follows it could be a literal's bytes.
- Bad commands in a row are counted; too many end the session.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from enum import Enum
from typing import Final

from services.common.linebuffer import LineBuffer, LineTooLongError
from services.imap.commands import Append
from services.imap.events import Continuation, Event, NeedData, NeedLiteral, ProtocolError, Request
from services.imap.wire.append import announced
from services.imap.wire.grammar import GRAMMAR, Syntax
from services.imap.wire.lexer import NUMBER64_MAX, BadSyntax, Lexer
from services.imap.wire.literal import Literal

NEED_DATA: Final = NeedData()
_TAG: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+')
_ANNOUNCEMENT: Final = re.compile(rb"(~?)(\{([0-9]{1,20})(\+?)\})$")
MAX_TAG: Final = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a client may send.

    `line`: bytes of a command's text without its literals. `literal`: bytes of a literal other than an APPEND's
    message, which has `message`. `literals`: their number in one command. `nonsync`: bytes of a literal that is sent
    without waiting (4096 for LITERAL-). `discard`: bytes of refused literals that are read to go on after them.
    `errors`: bad commands in a row.
    """

    line: int = 65_536
    literal: int = 4096
    literals: int = 64
    message: int = 52_428_800
    nonsync: int = NUMBER64_MAX
    discard: int = 1 << 28
    errors: int = 20


BEFORE_LOGIN: Final = Limits(line=8192, literal=4096, literals=4, message=0, discard=65_536, errors=5)


class _Mode(Enum):
    COMMAND = 1
    LINE = 2
    OFFERED = 3
    LITERAL = 4
    REST = 5
    DROP_LITERAL = 6
    DROP_REST = 7
    ANSWER = 8
    CLOSED = 9


_UNDER_WAY: Final = frozenset((_Mode.LITERAL, _Mode.REST, _Mode.DROP_LITERAL, _Mode.DROP_REST))


class _Command:
    """A command of which a literal is still to come."""

    __slots__ = ("dropped", "length", "literal", "literals", "parts", "refusal", "start", "sync", "syntax", "tag")

    def __init__(self, tag: bytes, syntax: Syntax, start: int) -> None:
        self.tag = tag
        self.syntax = syntax
        self.start = start
        """Where the arguments begin in the text."""
        self.parts: list[bytes] = []
        self.length = 0
        self.literals: dict[int, bytes] = {}
        self.literal = Literal(0, 0)
        self.sync = True
        self.refusal: ProtocolError | None = None
        self.dropped = 0

    def add(self, line: bytes) -> None:
        """The next piece of text."""
        self.parts.append(line)
        self.length += len(line)


class ImapMachine:
    """See `services.imap.events` for how it is driven.

    `allowed` names the commands that are legal now, `withheld` those of them that take a password where none may cross;
    `utf8` says that names and quoted strings are UTF-8. All may be set between two calls of `next`.
    """

    __slots__ = ("_command", "_errors", "_limits", "_lines", "_mode", "allowed", "utf8", "withheld")

    def __init__(
        self, allowed: Container[str], limits: Limits = BEFORE_LOGIN, *, withheld: Container[str] = frozenset()
    ) -> None:
        self.allowed = allowed
        self.withheld = withheld
        self.utf8 = False
        self._limits = limits
        self._lines = LineBuffer(limits.line)
        self._mode = _Mode.COMMAND
        self._command: _Command | None = None
        self._errors = 0

    @property
    def limits(self) -> Limits:
        """What a client may send; new limits hold from the next command on."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._lines.limit = limits.line

    @property
    def buffered(self) -> int:
        """Bytes received that no event has used yet: what a connection that reads ahead has to bound."""
        return len(self._lines)

    @property
    def in_literal(self) -> bool:
        """Whether a literal is on its way, or the text that follows it: that has a clock of its own."""
        return self._mode in _UNDER_WAY

    @property
    def literal_bytes(self) -> int:
        """Bytes of the literal that have arrived and are kept."""
        command = self._command
        return command.literal.size - command.literal.remaining if command and self._mode is _Mode.LITERAL else 0

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._mode is not _Mode.CLOSED:
            self._lines.feed(data)

    def next(self) -> Event:
        """What the bytes so far hold next."""
        if self._mode is _Mode.COMMAND:
            return self._next_command()
        while (event := _STEPS[self._mode](self)) is None:
            pass
        return event

    def expect_line(self, limit: int) -> None:
        """The client's next line is a `Continuation`, not a command (RFC 9051 sections 6.2.2 and 6.3.13)."""
        self._lines.limit = limit
        self._mode = _Mode.LINE

    def accept_literal(self) -> None:
        """Take the literal that `NeedLiteral` announced."""
        self._mode = _Mode.LITERAL

    def refuse_literal(self, text: str, code: str = "", condition: str = "NO") -> None:
        """Answer the command without it; `next` gives the answer when it is due."""
        command = self._gathering
        command.refusal = ProtocolError(command.tag, text, condition=condition, code=code)
        self._refused(command)

    def clear(self) -> None:
        """Forget what was received: bytes sent before a TLS handshake must not count after it (RFC 9051 6.2.1)."""
        self._lines.clear()

    def close(self) -> None:
        """The client is gone: let go of what it sent, half a message perhaps, and take nothing more."""
        self._mode, self._command = _Mode.CLOSED, None
        self._lines.clear()

    def take(self) -> bytes:
        """What was received and not used, for a layer that is put below (COMPRESS)."""
        return self._lines.take(len(self._lines))

    @property
    def _gathering(self) -> _Command:
        assert self._command is not None  # noqa: S101 - every mode beside COMMAND and LINE has one
        return self._command

    def _line(self) -> bytes | None:
        try:
            return self._lines.next_line()
        except LineTooLongError:
            self._mode = _Mode.CLOSED
            self._lines.clear()
            raise BadSyntax("The command line is too long", "LIMIT") from None

    def _line_of(self, tag: bytes) -> bytes | Event:
        """The next line of what began with `tag`, or what is to be said instead."""
        try:
            line = self._line()
        except BadSyntax as error:
            return ProtocolError(tag, error.text, fatal=True, code=error.code)
        return NEED_DATA if line is None else line

    def _next_command(self) -> Event:
        try:
            line = self._line()
        except BadSyntax as error:
            return ProtocolError(b"*", error.text, fatal=True, code=error.code)
        if line is None:
            return NEED_DATA
        if line[-1:] == b"}" and (announcement := _ANNOUNCEMENT.search(line)):
            return self._first_line(line, announcement)
        tag, _, rest = line.partition(b" ")
        if len(tag) > MAX_TAG or (not tag.isalnum() and _TAG.fullmatch(tag) is None):
            return self._bad(b"*", "Expected a tag")
        try:
            return self._complete(line, tag, rest)
        except BadSyntax as error:
            return self._bad(tag, error.text, error.code, error.condition)

    def _complete(self, line: bytes, tag: bytes, rest: bytes) -> Event:
        """A command on one line: the hot path."""
        word, space, arguments = rest.partition(b" ")
        syntax = GRAMMAR.get(word)
        if syntax is None:
            syntax, arguments, space = _look_up(word, arguments, space)
        self._permit(syntax)
        command = syntax.value if not space else syntax.quick(arguments) if syntax.quick else None
        if command is None:
            start = len(line) - len(arguments) - len(space)
            command = syntax.parse(Lexer(line, start, utf8=self.utf8))
        self._errors = 0
        return Request(tag, syntax.name, command)

    def _permit(self, syntax: Syntax) -> None:
        if syntax.name not in self.allowed:
            raise BadSyntax("Command not allowed now")
        if syntax.name in self.withheld:
            raise BadSyntax("Passwords are not taken on this connection", "PRIVACYREQUIRED", "NO")

    def _first_line(self, line: bytes, announcement: re.Match[bytes]) -> Event:
        """A command with a literal. What is wrong with its head is answered like a literal that is refused."""
        tag, _, rest = line.partition(b" ")
        word, space, arguments = rest.partition(b" ")
        fault = None
        syntax = _UNKNOWN
        if len(tag) > MAX_TAG or _TAG.fullmatch(tag) is None:
            tag, fault = b"*", BadSyntax("Expected a tag")
        else:
            try:
                syntax, arguments, space = _look_up(word, arguments, space)
                self._permit(syntax)
            except BadSyntax as error:
                fault = error
        self._command = _Command(tag, syntax, len(line) - len(arguments) - len(space))
        return self._announced(line, announcement, fault) or self.next()

    def _announced(self, line: bytes, match: re.Match[bytes], fault: BadSyntax | None = None) -> Event | None:
        """A line that ends with a literal's announcement."""
        command = self._gathering
        size, plus = int(match.group(3)), match.group(4)
        command.literal = Literal(size, command.length + match.start(2))
        command.sync = not plus
        command.add(line)
        append = None
        if fault is None:
            try:
                append = self._check_literal(command, binary=bool(match.group(1)))
            except BadSyntax as error:
                fault = error
        if fault is None:
            self._mode = _Mode.OFFERED
            return NeedLiteral(size, command.sync, append)
        command.refusal = self._bad(command.tag, fault.text, fault.code, fault.condition)
        self._refused(command)
        return None

    def _check_literal(self, command: _Command, *, binary: bool) -> Append | None:
        """Raise BadSyntax for a literal that cannot be taken. Gives the APPEND whose message it is."""
        limits, size = self._limits, command.literal.size
        append = None
        if command.syntax.name == "APPEND":
            lexer = Lexer(b"".join(command.parts), command.start, command.literals, utf8=self.utf8)
            append = announced(lexer, command.literal.announcement)
        if binary and append is None:
            raise BadSyntax("Expected a literal without ~")
        if append is not None and size > limits.message:
            raise BadSyntax("The message is too large", "TOOBIG", "NO")
        if append is None and size > limits.literal:
            raise BadSyntax("The literal is too large", "TOOBIG")
        if not command.sync and size > limits.nonsync:
            raise BadSyntax("The literal is too large to be sent without waiting", "TOOBIG")
        if len(command.literals) >= limits.literals:
            raise BadSyntax("Too many literals", "LIMIT")
        return append

    def _collect(self) -> Event | None:
        """The literal's bytes, then the text after it."""
        command = self._gathering
        literal = command.literal
        if literal.remaining:
            literal.add(self._lines.take(literal.remaining))
            if literal.remaining:
                return NEED_DATA
        command.literals[literal.announcement] = literal.finish()
        self._mode = _Mode.REST
        self._lines.limit = max(self._limits.line - command.length, 2)
        return None

    def _rest(self) -> Event | None:
        command = self._gathering
        line = self._line_of(command.tag)
        if not isinstance(line, bytes):
            return line
        if announcement := _ANNOUNCEMENT.search(line):
            return self._announced(line, announcement)
        command.add(line)
        self._begin_anew()
        try:
            parsed = command.syntax.parse(
                Lexer(b"".join(command.parts), command.start, command.literals, utf8=self.utf8)
            )
        except BadSyntax as error:
            return self._bad(command.tag, error.text, error.code, error.condition)
        self._errors = 0
        return Request(command.tag, command.syntax.name, parsed)

    def _refused(self, command: _Command) -> None:
        """A client that waits is told at once; one that does not is read on to the end of its command
        (RFC 7888 section 4), unless that is too much.
        """
        command.dropped += command.literal.size
        if command.refusal and command.dropped > self._limits.discard and not command.sync:
            command.refusal.fatal = True
        fatal = command.refusal is not None and command.refusal.fatal
        self._mode = _Mode.ANSWER if command.sync or fatal else _Mode.DROP_LITERAL

    def _drop_literal(self) -> Event | None:
        literal = self._gathering.literal
        if literal.remaining:
            literal.remaining -= len(self._lines.take(literal.remaining))
            if literal.remaining:
                return NEED_DATA
        self._mode = _Mode.DROP_REST
        self._lines.limit = self._limits.line
        return None

    def _drop_rest(self) -> Event | None:
        command = self._gathering
        line = self._line_of(command.tag)
        if not isinstance(line, bytes):
            return line
        announcement = _ANNOUNCEMENT.search(line)
        if announcement is None:
            return self._answer()
        command.literal = Literal(int(announcement.group(3)), 0)
        command.sync = not announcement.group(4)
        self._refused(command)
        return None

    def _answer(self) -> Event:
        refusal = self._gathering.refusal
        assert refusal is not None  # noqa: S101 - nothing is dropped without one
        self._begin_anew()
        if refusal.fatal:
            self._mode = _Mode.CLOSED
            self._lines.clear()
        return refusal

    def _continuation(self) -> Event:
        line = self._line_of(b"*")
        if not isinstance(line, bytes):
            return line
        self._begin_anew()
        return Continuation(line)

    def _nothing(self) -> Event:
        return NEED_DATA

    def _begin_anew(self) -> None:
        self._command = None
        self._mode = _Mode.COMMAND
        self._lines.limit = self._limits.line

    def _bad(self, tag: bytes, text: str, code: str = "", condition: str = "BAD") -> ProtocolError:
        self._errors += 1
        fatal = self._errors >= self._limits.errors
        if fatal:
            self._mode = _Mode.CLOSED
            self._lines.clear()
        return ProtocolError(tag, text, fatal, condition, code)


_STEPS: Final[dict[_Mode, Callable[[ImapMachine], Event | None]]] = {
    _Mode.LINE: ImapMachine._continuation,
    _Mode.OFFERED: ImapMachine._nothing,
    _Mode.LITERAL: ImapMachine._collect,
    _Mode.REST: ImapMachine._rest,
    _Mode.DROP_LITERAL: ImapMachine._drop_literal,
    _Mode.DROP_REST: ImapMachine._drop_rest,
    _Mode.ANSWER: ImapMachine._answer,
    _Mode.CLOSED: ImapMachine._nothing,
}


def _unknown(lexer: Lexer) -> Append:
    raise BadSyntax("Unknown command")


_UNKNOWN: Final = Syntax("", _unknown)


def _look_up(word: bytes, arguments: bytes, space: bytes) -> tuple[Syntax, bytes, bytes]:
    """The row of a name in any case, of two words after UID, and what follows it. Raises BadSyntax."""
    name = word.upper()
    if name == b"UID":
        second, space, arguments = arguments.partition(b" ")
        name = b"UID " + second.upper()
    syntax = GRAMMAR.get(name)
    if syntax is None:
        raise BadSyntax("Unknown command")
    return syntax, arguments, space
