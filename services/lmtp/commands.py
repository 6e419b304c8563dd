"""LMTP commands: bytes of a line to a value (RFC 5321 section 4.1, RFC 2033, RFC 3030). No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

# The states of a session that a command may be given in.
START: Final = 1
"""Before LHLO."""
READY: Final = 2
"""After LHLO, no transaction."""
MAIL: Final = 4
"""After MAIL."""
CHUNKS: Final = 8
"""After the first BDAT of a message."""
REFUSED: Final = 16
"""The client may not deliver; it is waited for its QUIT (RFC 5321 section 3.1)."""
OPEN: Final = START | READY | MAIL | CHUNKS

MAX_NUMBER: Final = 20
"""Digits of a SIZE or of a chunk's size (RFC 1870 section 3)."""


class Fault(Enum):
    """What is wrong with a command."""

    UNKNOWN = "no such command"
    NOT_LMTP = "a command of SMTP"
    SYNTAX = "an argument the command does not take"
    STATE = "not in this state"
    LENGTH = "the line is too long"
    SENDER = "not a reverse path"
    RECIPIENT = "not a forward path"
    PARAMETER = "a parameter that is not offered"
    UTF8 = "an internationalised address without SMTPUTF8"
    CHUNK = "no size of a chunk, so that nothing after it can be read"


class CommandSyntaxError(Exception):
    """The command's argument is not what the grammar says."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class Body(Enum):
    """BODY= of MAIL (RFC 6152, RFC 3030)."""

    SEVEN = "7BIT"
    EIGHT = "8BITMIME"
    BINARY = "BINARYMIME"


BODIES: Final = {body.value: body for body in Body}


@dataclass(frozen=True, slots=True)
class Path:
    """A mailbox of MAIL or RCPT: as it was written without a source route, and its parts without quoting."""

    text: str
    local: str
    domain: str


NOBODY: Final = Path("", "", "")


@dataclass(frozen=True, slots=True)
class Bare:
    """A command without an argument that matters."""

    verb: str


@dataclass(frozen=True, slots=True)
class Lhlo:
    """LHLO (RFC 2033 section 4.1)."""

    domain: bytes
    verb: str = "LHLO"


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL; `sender` is what stood between the angle brackets, "" for a notification."""

    sender: str
    size: int = 0
    body: Body = Body.SEVEN
    smtputf8: bool = False
    verb: str = "MAIL"


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT."""

    path: Path
    verb: str = "RCPT"


@dataclass(frozen=True, slots=True)
class Bdat:
    """BDAT (RFC 3030 section 2): so many octets follow the line."""

    size: int
    last: bool
    verb: str = "BDAT"


Command = Bare | Lhlo | Mail | Rcpt | Bdat

_path = re.compile(
    r"<(?:@[^:<>\s]*:)?"
    r'((?:"((?:[^"\\\x00-\x1f\x7f]|\\[ -~])*)"|([^\s"<>@\\()\[\],;:\x00-\x1f\x7f]+))'
    r"(?:@([^\s\"<>@\\()\[\],;:\x00-\x1f\x7f]+|\[[^\[\]\\\s\x00-\x1f\x7f]+\]))?)>"
).match
_quoted_pair = re.compile(r"\\(.)")
_domain = re.compile(rb"[!-~\x80-\xff]+").fullmatch
_chunk = re.compile(rb"(\d{1,%d})(?: +([Ll][Aa][Ss][Tt]))? *" % MAX_NUMBER).fullmatch
_number = re.compile(rf"[0-9]{{1,{MAX_NUMBER}}}").fullmatch
_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search


def parse_bare(verb: str, argument: bytes) -> Bare:
    """RSET, DATA, QUIT, STARTTLS: blanks at the end are let pass."""
    if argument.strip():
        raise CommandSyntaxError(Fault.SYNTAX)
    return Bare(verb)


def parse_any(verb: str, argument: bytes) -> Bare:
    """NOOP, HELP, VRFY: the argument is not looked at."""
    if _control(argument):
        raise CommandSyntaxError(Fault.SYNTAX)
    return Bare(verb)


def parse_lhlo(verb: str, argument: bytes) -> Lhlo:
    """The client's name for itself; it decides nothing."""
    domain = argument.strip()
    if not _domain(domain):
        raise CommandSyntaxError(Fault.SYNTAX)
    return Lhlo(domain)


def parse_mail(verb: str, argument: bytes) -> Mail:
    """`FROM:<path> parameters` (RFC 5321 section 4.1.1.2)."""
    text = _after_keyword(argument, b"FROM:", Fault.SENDER)
    path, end = (NOBODY, 2) if text.startswith("<>") else _parse_path(text, Fault.SENDER)
    mail = _mail(path.text, _parameters(text[end:]))
    if not mail.smtputf8 and not path.text.isascii():
        raise CommandSyntaxError(Fault.UTF8)
    return mail


def parse_rcpt(verb: str, argument: bytes) -> Rcpt:
    """`TO:<path>`; no parameter of RCPT is offered (RFC 5321 section 4.1.1.3)."""
    text = _after_keyword(argument, b"TO:", Fault.RECIPIENT)
    path, end = _parse_path(text, Fault.RECIPIENT)
    if _parameters(text[end:]):
        raise CommandSyntaxError(Fault.PARAMETER)
    return Rcpt(path)


def parse_bdat(verb: str, argument: bytes) -> Bdat:
    """`size [LAST]` (RFC 3030 section 2)."""
    match = _chunk(argument.strip(b" "))
    if match is None:
        raise CommandSyntaxError(Fault.CHUNK)
    return Bdat(int(match[1]), match[2] is not None)


def parse_smtp(verb: str, argument: bytes) -> Bare:
    """HELO and EHLO must not be taken (RFC 2033 section 4.1)."""
    raise CommandSyntaxError(Fault.NOT_LMTP)


def _after_keyword(argument: bytes, keyword: bytes, fault: Fault) -> str:
    """What follows FROM: or TO:; a blank there is wrong and common."""
    if argument[: len(keyword)].upper() != keyword or _control(argument):
        raise CommandSyntaxError(fault)
    try:
        return argument[len(keyword) :].strip(b" ").decode("utf-8")
    except UnicodeDecodeError:
        raise CommandSyntaxError(fault) from None


def _parse_path(text: str, fault: Fault) -> tuple[Path, int]:
    match = _path(text)
    if match is None:
        raise CommandSyntaxError(fault)
    whole, quoted, plain, domain = match.groups()
    local = plain if quoted is None else _quoted_pair.sub(r"\1", quoted)
    return Path(whole, local, domain or ""), match.end()


def _parameters(text: str) -> list[tuple[str, str]]:
    """Keywords in upper case with their values."""
    if text and not text.startswith(" "):
        raise CommandSyntaxError(Fault.SYNTAX)
    pairs = [word.partition("=") for word in text.split()]
    return [(keyword.upper(), value) for keyword, _, value in pairs]


def _mail(sender: str, parameters: list[tuple[str, str]]) -> Mail:
    size, body, smtputf8 = 0, Body.SEVEN, False
    for keyword, value in parameters:
        if keyword == "SIZE" and _number(value):
            size = int(value)
        elif keyword == "BODY" and value.upper() in BODIES:
            body = BODIES[value.upper()]
        elif keyword == "SMTPUTF8" and not value:
            smtputf8 = True
        else:
            known = keyword in ("SIZE", "BODY", "SMTPUTF8")
            raise CommandSyntaxError(Fault.SYNTAX if known else Fault.PARAMETER)
    return Mail(sender, size, body, smtputf8)


@dataclass(frozen=True, slots=True)
class Syntax:
    """How a command is read, and the states in which it may come."""

    verb: str
    states: int
    parse: Callable[[str, bytes], Command]


SYNTAX: Final[dict[bytes, Syntax]] = {
    row.verb.encode(): row
    for row in (
        Syntax("LHLO", OPEN, parse_lhlo),
        Syntax("HELO", OPEN, parse_smtp),
        Syntax("EHLO", OPEN, parse_smtp),
        Syntax("MAIL", READY, parse_mail),
        Syntax("RCPT", MAIL, parse_rcpt),
        Syntax("DATA", MAIL, parse_bare),
        # Its octets follow whatever the state is and have to be read: the session answers a wrong state itself.
        Syntax("BDAT", OPEN | REFUSED, parse_bdat),
        Syntax("RSET", OPEN, parse_bare),
        Syntax("NOOP", OPEN, parse_any),
        Syntax("HELP", OPEN, parse_any),
        Syntax("VRFY", OPEN, parse_any),
        Syntax("STARTTLS", START | READY, parse_bare),
        Syntax("QUIT", OPEN | REFUSED, parse_bare),
    )
}
"""By verb in upper case."""
