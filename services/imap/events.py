"""What `ImapMachine.next` returns.

How a connection drives the machine:

    machine.receive(data)                   # bytes from the client, any split
    event = machine.next()
      Request         run the command; when it changed the session, set `machine.allowed` (names that are legal now),
                      `machine.withheld` (names refused with PRIVACYREQUIRED), `machine.utf8` (names and strings are
                      UTF-8: IMAP4rev2 or UTF8=ACCEPT enabled), `machine.limits` before the next call of `next`
      NeedData        nothing more until `receive`
      NeedLiteral     a literal is announced and was found acceptable: call `accept_literal()` (after sending
                      CONTINUE_LITERAL when `sync`), or `refuse_literal(...)`, then `next` again; for an APPEND message
                      `append` holds the command so far, and the answer may be given later, when there is memory for it
      Continuation    a line that `expect_line()` asked for (AUTHENTICATE, and DONE of IDLE)
      ProtocolError   answer it; close afterwards when `fatal`
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from services.imap.commands import Append, Command

CONTINUE_LITERAL: Final = b"+ Ready for literal data\r\n"


@dataclass(slots=True)
class Request:
    """A complete command, its tag, and its name: the key of its row in COMMANDS (`UID FETCH`, `EXAMINE`)."""

    tag: bytes
    name: str
    command: Command


@dataclass(slots=True)
class NeedData:
    """The bytes received so far hold no further event."""


@dataclass(slots=True)
class NeedLiteral:
    """The command goes on with a literal of `size` bytes.

    `sync`: the client waits for CONTINUE_LITERAL. `append` is set where the literal is an APPEND's message.
    """

    size: int
    sync: bool
    append: Append | None = None


@dataclass(slots=True)
class Continuation:
    """A line, without its CRLF."""

    line: bytes = field(repr=False)


@dataclass(slots=True)
class ProtocolError:
    """The client broke the grammar, a limit or the order of states.

    `tag` is b"*" where none could be read. `condition` is BAD or NO, `code` a response code with its arguments, or "".
    """

    tag: bytes
    text: str
    fatal: bool = False
    condition: str = "BAD"
    code: str = ""


Event = Request | NeedData | NeedLiteral | Continuation | ProtocolError
