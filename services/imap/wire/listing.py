"""LIST and LSUB (RFC 9051 section 6.3.9, RFC 3501 section 6.3.9)."""

from __future__ import annotations

from typing import Final

from services.imap.commands import List, Lsub
from services.imap.commands.mailbox import ListReturn, ListSelection, StatusItem
from services.imap.wire.lexer import OPEN, BadSyntax, Lexer
from services.imap.wire.mailbox import read_status_items
from services.imap.wire.mailboxname import decode_pattern

MAX_PATTERNS: Final = 100

SELECTIONS: Final[dict[str, ListSelection]] = {
    "SUBSCRIBED": ListSelection.SUBSCRIBED,
    "REMOTE": ListSelection.REMOTE,
    "RECURSIVEMATCH": ListSelection.RECURSIVEMATCH,
    "SPECIAL-USE": ListSelection.SPECIAL_USE,
}
RETURNS: Final[dict[str, ListReturn]] = {
    "SUBSCRIBED": ListReturn.SUBSCRIBED,
    "CHILDREN": ListReturn.CHILDREN,
    "SPECIAL-USE": ListReturn.SPECIAL_USE,
}
_BASE: Final = ListSelection.SUBSCRIBED | ListSelection.SPECIAL_USE
_IMPLIED: Final = {
    ListSelection.SUBSCRIBED: ListReturn.SUBSCRIBED,
    ListSelection.SPECIAL_USE: ListReturn.SPECIAL_USE,
}
"""Return options that a selection option brings along (RFC 9051 section 6.3.9.1, RFC 6154 section 5.1)."""


def parse_list(lexer: Lexer) -> List:
    """`list`, after its name."""
    lexer.space()
    extended = lexer.peek() == OPEN
    selection = ListSelection.NONE
    if extended:
        selection = _selection(lexer)
        lexer.space()
    reference = decode_pattern(lexer.astring(), utf8=lexer.utf8)
    lexer.space()
    several = lexer.peek() == OPEN
    patterns = lexer.parenthesised(_pattern, at_most=MAX_PATTERNS) if several else (_pattern(lexer),)
    returns, status = _implied(selection), tuple[StatusItem, ...]()
    extended = extended or several
    if not lexer.at_end():
        lexer.space()
        asked, status = _returns(lexer)
        returns |= asked
        extended = True
    lexer.end()
    return List(reference, patterns, selection, returns, status, extended)


def parse_lsub(lexer: Lexer) -> Lsub:
    """`lsub`, after its name."""
    lexer.space()
    reference = decode_pattern(lexer.astring(), utf8=lexer.utf8)
    lexer.space()
    pattern = _pattern(lexer)
    lexer.end()
    return Lsub(reference, pattern)


def _pattern(lexer: Lexer) -> str:
    return decode_pattern(lexer.list_mailbox(), utf8=lexer.utf8)


def _selection(lexer: Lexer) -> ListSelection:
    """RECURSIVEMATCH goes with a base option only (RFC 9051 section 6.3.9.1)."""
    selection = ListSelection.NONE
    for option in lexer.parenthesised(_selection_option, at_least=0):
        selection |= option
    if selection & ListSelection.RECURSIVEMATCH and not selection & _BASE:
        raise BadSyntax("RECURSIVEMATCH needs another selection option")
    return selection


def _selection_option(lexer: Lexer) -> ListSelection:
    option = SELECTIONS.get(lexer.word())
    if option is None:
        raise BadSyntax("Unknown LIST selection option")
    return option


def _implied(selection: ListSelection) -> ListReturn:
    returns = ListReturn.NONE
    for option, implied in _IMPLIED.items():
        if selection & option:
            returns |= implied
    return returns


def _returns(lexer: Lexer) -> tuple[ListReturn, tuple[StatusItem, ...]]:
    if not lexer.skip_word("RETURN"):
        raise BadSyntax("Expected RETURN")
    lexer.space()
    returns, status = ListReturn.NONE, tuple[StatusItem, ...]()
    for option in lexer.parenthesised(_return_option, at_least=0):
        if isinstance(option, ListReturn):
            returns |= option
        else:
            status = option
    return returns, status


def _return_option(lexer: Lexer) -> ListReturn | tuple[StatusItem, ...]:
    word = lexer.word()
    if word == "STATUS":
        lexer.space()
        return read_status_items(lexer)
    option = RETURNS.get(word)
    if option is None:
        raise BadSyntax("Unknown LIST return option")
    return option
