"""APPEND (RFC 9051 section 6.3.12), readable before its message has come."""

from __future__ import annotations

from typing import Final

from services.common.domain import AppendItem
from services.imap.commands import Append
from services.imap.wire.dates import read_date_time
from services.imap.wire.flags import Flags, read_flag_list
from services.imap.wire.lexer import OPEN, QUOTE, BadSyntax, Lexer
from services.imap.wire.mailboxname import read_mailbox

_NO_FLAGS: Final[Flags] = (0, ())


def parse_append(lexer: Lexer) -> Append:
    """`append`, after its name."""
    mailbox, item = _read_head(lexer)
    lexer.skip(b"~")
    body = lexer.literal()
    lexer.end()
    return Append(mailbox, (AppendItem(body, item.system, item.keywords, item.internaldate),))


def announced(lexer: Lexer, announcement: int) -> Append | None:
    """The command so far, where the announcement at that place is the message's; None where it is the mailbox name's.

    Raises BadSyntax for what cannot become an APPEND, so that no literal is asked for in vain.
    """
    if lexer.position + 1 == announcement:
        return None
    mailbox, item = _read_head(lexer)
    lexer.skip(b"~")
    if lexer.position != announcement:
        raise BadSyntax("Expected a literal")
    return Append(mailbox, (item,))


def _read_head(lexer: Lexer) -> tuple[str, AppendItem]:
    lexer.space()
    mailbox = read_mailbox(lexer)
    lexer.space()
    system, keywords = _NO_FLAGS
    if lexer.peek() == OPEN:
        system, keywords = read_flag_list(lexer)
        lexer.space()
    internaldate = None
    if lexer.peek() == QUOTE:
        internaldate = read_date_time(lexer)
        lexer.space()
    return mailbox, AppendItem(b"", system, keywords, internaldate)
