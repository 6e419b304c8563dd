"""Commands on mailboxes (RFC 9051 section 6.3), LIST apart."""

from __future__ import annotations

import re
from typing import Final

from services.common.domain import SEPARATOR
from services.imap.commands import Create, Delete, Rename, Select, Status, Subscribe, Unsubscribe
from services.imap.commands.mailbox import StatusItem
from services.imap.wire.lexer import BadSyntax, Lexer
from services.imap.wire.mailboxname import read_mailbox, read_mailbox_as_given

_ATTRIBUTE: Final = re.compile(rb"\\[A-Za-z]+")


def _mailbox(lexer: Lexer) -> str:
    lexer.space()
    return read_mailbox(lexer)


def _mailbox_as_given(lexer: Lexer) -> tuple[str, str]:
    lexer.space()
    return read_mailbox_as_given(lexer)


def _only_mailbox(lexer: Lexer) -> str:
    mailbox = _mailbox(lexer)
    lexer.end()
    return mailbox


def parse_select(lexer: Lexer, *, read_only: bool = False) -> Select:
    """`select`, after its name."""
    mailbox, given = _mailbox_as_given(lexer)
    lexer.end()
    return Select(mailbox, read_only, given=given)


def parse_examine(lexer: Lexer) -> Select:
    """`examine`, after its name."""
    return parse_select(lexer, read_only=True)


def parse_delete(lexer: Lexer) -> Delete:
    """`delete`, after its name."""
    return Delete(_only_mailbox(lexer))


def parse_subscribe(lexer: Lexer) -> Subscribe:
    """`subscribe`, after its name."""
    return Subscribe(_only_mailbox(lexer))


def parse_unsubscribe(lexer: Lexer) -> Unsubscribe:
    """`unsubscribe`, after its name."""
    return Unsubscribe(_only_mailbox(lexer))


def parse_rename(lexer: Lexer) -> Rename:
    """`rename`, after its name."""
    mailbox = _mailbox(lexer)
    new_name, given = _mailbox_as_given(lexer)
    lexer.end()
    return Rename(mailbox, new_name, given)


def parse_create(lexer: Lexer) -> Create:
    """`create`, after its name, with RFC 6154 section 3's USE."""
    mailbox, given = _mailbox_as_given(lexer)
    special_use = ""
    if not lexer.at_end():
        lexer.space()
        special_use = _use(lexer)
    lexer.end()
    return Create(mailbox.removesuffix(SEPARATOR), special_use, given)


def _use(lexer: Lexer) -> str:
    """`"(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"`; a mailbox has at most one use here."""
    lexer.take(b"(")
    if not lexer.skip_word("USE"):
        raise BadSyntax("Unknown CREATE parameter")
    lexer.space()
    uses = lexer.parenthesised(_attribute, at_least=0)
    lexer.take(b")")
    if len(uses) > 1:
        raise BadSyntax("A mailbox has one special use", "USEATTR", "NO")
    return uses[0] if uses else ""


def _attribute(lexer: Lexer) -> str:
    return lexer.pattern(_ATTRIBUTE, "Expected an attribute").group().decode()


def parse_status(lexer: Lexer) -> Status:
    """`status`, after its name."""
    mailbox = _mailbox(lexer)
    lexer.space()
    items = read_status_items(lexer)
    lexer.end()
    return Status(mailbox, items)


def read_status_items(lexer: Lexer) -> tuple[StatusItem, ...]:
    """`"(" status-att *(SP status-att) ")"`."""
    return tuple(dict.fromkeys(lexer.parenthesised(_status_item)))


def _status_item(lexer: Lexer) -> StatusItem:
    item = StatusItem.__members__.get(lexer.word())
    if item is None:
        raise BadSyntax("Unknown STATUS item")
    return item
