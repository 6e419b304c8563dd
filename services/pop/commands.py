"""POP3 commands as values, and the table of their syntax and legal states. No I/O.

Keywords are case-insensitive and separated from the argument by one space (RFC 1939 section 3). The argument of PASS is
all that follows, spaces included (section 7); elsewhere spaces at the end are forgiven.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from services.common.access.forwarding import XCLIENT, read_forwarded
from services.common.peer import Forwarded

AUTHORIZATION: Final = 1
TRANSACTION: Final = 2
EITHER: Final = AUTHORIZATION | TRANSACTION
"""States of RFC 1939 section 3 as bits; UPDATE takes no commands."""

MAX_NUMBER_LENGTH: Final = 10


class CommandSyntaxError(Exception):
    """The argument is not what the command takes."""


@dataclass(frozen=True, slots=True)
class Bare:
    """A command without an argument: QUIT, STAT, NOOP, RSET, CAPA, STLS, UTF8."""

    verb: str


@dataclass(frozen=True, slots=True)
class Listing:
    """LIST or UIDL: of one message, or of all."""

    verb: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Single:
    """RETR or DELE: of one message."""

    verb: str
    number: int


@dataclass(frozen=True, slots=True)
class Top:
    """TOP: the header of a message and the first `lines` of its body (RFC 1939 section 7)."""

    verb: str
    number: int
    lines: int


@dataclass(frozen=True, slots=True)
class Secret:
    """USER, PASS or APOP: the argument undecoded."""

    verb: str
    argument: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH (RFC 5034 section 4). `mechanism` "" asks for the list; `initial` is base64 text, None where none came."""

    verb: str
    mechanism: str
    initial: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lang:
    """LANG (RFC 6856 section 3): a language range, `*`, or "" for the list."""

    verb: str
    range: str


@dataclass(frozen=True, slots=True)
class XClient:
    """XCLIENT: who a front end speaks for."""

    verb: str
    client: Forwarded


@dataclass(frozen=True, slots=True)
class Response:
    """A client's line in an authentication exchange, in base64 or `*`."""

    line: bytes = field(repr=False)


Command = Bare | Listing | Single | Top | Secret | Auth | Lang | XClient


@dataclass(frozen=True, slots=True)
class Syntax:
    """A row: how the argument is read, and in which states the command may be given."""

    verb: str
    parse: Callable[[str, bytes], Command]
    states: int


_BARE: Final = {verb: Bare(verb) for verb in ("QUIT", "STAT", "NOOP", "RSET", "CAPA", "STLS", "UTF8")}
_LANGUAGE_RANGE: Final = re.compile(rb"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*")
_MECHANISM: Final = re.compile(rb"[A-Za-z0-9_-]{1,20}")


def _bare(verb: str, argument: bytes) -> Bare:
    if argument.strip(b" "):
        raise CommandSyntaxError
    return _BARE[verb]


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > MAX_NUMBER_LENGTH:
        raise CommandSyntaxError
    return int(text)


def _single(verb: str, argument: bytes) -> Single:
    return Single(verb, _number(argument.rstrip(b" ")))


def _listing(verb: str, argument: bytes) -> Listing:
    text = argument.rstrip(b" ")
    return Listing(verb, _number(text) if text else None)


def _top(verb: str, argument: bytes) -> Top:
    words = argument.split(b" ")
    if len(words) < 2 or any(words[2:]):
        raise CommandSyntaxError
    return Top(verb, _number(words[0]), _number(words[1]))


def _secret(verb: str, argument: bytes) -> Secret:
    if not argument:
        raise CommandSyntaxError
    return Secret(verb, argument)


def _auth(verb: str, argument: bytes) -> Auth:
    words = argument.split(b" ")
    if len(words) > 2 or not (words[0] == b"" or _MECHANISM.fullmatch(words[0])):
        raise CommandSyntaxError
    initial = words[1] if len(words) == 2 and words[1] else None
    return Auth(verb, words[0].decode().upper(), initial)


def _lang(verb: str, argument: bytes) -> Lang:
    text = argument.strip(b" ")
    if text and not _LANGUAGE_RANGE.fullmatch(text):
        raise CommandSyntaxError
    return Lang(verb, text.decode())


def _xclient(verb: str, argument: bytes) -> XClient:
    """`NAME=VALUE` with blanks between, as Postfix has it for SMTP and other POP3 servers took it over."""
    said: dict[str, str] = {}
    for word in argument.split(b" "):
        name, equals, value = word.partition(b"=")
        if word and not (name and equals):
            raise CommandSyntaxError
        said[name.decode("ascii", "replace").upper()] = value.decode("ascii", "replace")
    try:
        client = read_forwarded(XCLIENT, said)
    except ValueError:
        raise CommandSyntaxError from None
    if client is None:
        raise CommandSyntaxError
    return XClient(verb, client)


SYNTAX: Final[dict[bytes, Syntax]] = {
    row.verb.encode(): row
    for row in (
        Syntax("USER", _secret, AUTHORIZATION),
        Syntax("PASS", _secret, AUTHORIZATION),
        Syntax("APOP", _secret, AUTHORIZATION),
        Syntax("AUTH", _auth, AUTHORIZATION),
        Syntax("STLS", _bare, AUTHORIZATION),
        Syntax("UTF8", _bare, AUTHORIZATION),
        Syntax("XCLIENT", _xclient, AUTHORIZATION),
        Syntax("STAT", _bare, TRANSACTION),
        Syntax("LIST", _listing, TRANSACTION),
        Syntax("RETR", _single, TRANSACTION),
        Syntax("DELE", _single, TRANSACTION),
        Syntax("NOOP", _bare, TRANSACTION),
        Syntax("RSET", _bare, TRANSACTION),
        Syntax("TOP", _top, TRANSACTION),
        Syntax("UIDL", _listing, TRANSACTION),
        Syntax("LANG", _lang, EITHER),
        Syntax("CAPA", _bare, EITHER),
        Syntax("QUIT", _bare, EITHER),
    )
}
"""Every command there is. `services.pop.handlers.COMMANDS` holds what each does."""
