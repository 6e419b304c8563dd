"""SEARCH programs (RFC 9051 sections 6.4.4 and 9: `search-program`; RFC 3501's NEW, OLD and RECENT as well)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from services.common.domain import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, TextField, TextKey
from services.imap.commands.search import (
    All,
    And,
    Date,
    DateField,
    DateOrder,
    Flag,
    Keyword,
    Larger,
    Messages,
    Not,
    Or,
    Recent,
    Search,
    SearchKey,
    SearchReturn,
    Smaller,
    Text,
)
from services.imap.wire.charset import codec, decoded
from services.imap.wire.dates import read_date
from services.imap.wire.flags import read_keyword
from services.imap.wire.lexer import OPEN, BadSyntax, Lexer
from services.imap.wire.sequence import read_set

MAX_DEPTH: Final = 50
MAX_KEYS: Final = 2000
_SET_START: Final = frozenset(b"0123456789*$")
_CHARSET: Final = re.compile(rb"[A-Za-z0-9_.:+\-]{1,40}")


def parse_search(lexer: Lexer, *, uid: bool = False) -> Search:
    """`search`, after its name."""
    lexer.space()
    returns = _returns(lexer)
    try:
        return Search(_program(lexer), uid, returns)
    except BadSyntax as error:
        if error.condition != "NO" or not returns or not returns & SearchReturn.SAVE:
            raise
        return Search(All(), uid, returns, (error.text, error.code))


def _program(lexer: Lexer) -> SearchKey:
    """`search-program`, to the end of the command."""
    charset = "utf-8"
    if lexer.skip_word("CHARSET"):
        lexer.space()
        quoted = lexer.skip(b'"')
        charset = codec(lexer.pattern(_CHARSET, "Expected a charset").group().decode())
        if quoted:
            lexer.take(b'"')
        lexer.space()
    key = _Program(lexer, charset).keys(closed_by=b"")
    lexer.end()
    return key


def _returns(lexer: Lexer) -> SearchReturn | None:
    """`search-return-opts`; an empty list is ALL (RFC 9051 section 6.4.4)."""
    start = lexer.position
    if not lexer.skip_word("RETURN"):
        return None
    lexer.space()
    if lexer.peek() != OPEN:
        lexer.position = start
        raise BadSyntax("Expected search result options")
    options = SearchReturn(0)
    for option in lexer.parenthesised(_return_option, at_least=0):
        options |= option
    lexer.space()
    return options or SearchReturn.ALL


def _return_option(lexer: Lexer) -> SearchReturn:
    option = SearchReturn.__members__.get(lexer.word())
    if option is None:
        raise BadSyntax("Unknown search result option")
    return option


class _Program:
    """One program being read: its charset, and how much of it there is."""

    __slots__ = ("charset", "count", "depth", "lexer")

    def __init__(self, lexer: Lexer, charset: str) -> None:
        self.lexer = lexer
        self.charset = charset
        self.depth = 0
        self.count = 0

    def keys(self, closed_by: bytes) -> SearchKey:
        """One key or more, to the end or to the parenthesis that ends them; several are an And."""
        found = [self.key()]
        while not (self.lexer.skip(closed_by) if closed_by else self.lexer.at_end()):
            self.lexer.space()
            found.append(self.key())
        return found[0] if len(found) == 1 else And(tuple(found))

    def key(self) -> SearchKey:
        """`search-key`."""
        lexer = self.lexer
        self.count += 1
        if self.count > MAX_KEYS:
            raise BadSyntax("Too many search keys", "LIMIT", "NO")
        if lexer.peek() in _SET_START:
            return Messages(read_set(lexer))
        if lexer.skip(b"("):
            return self.nested(lambda: self.keys(closed_by=b")"))
        word = lexer.word()
        simple = SIMPLE.get(word)
        if simple is not None:
            return simple
        reader = READERS.get(word)
        if reader is None:
            raise BadSyntax("Unknown search key")
        lexer.space()
        return reader(self)

    def nested(self, read: Callable[[], SearchKey]) -> SearchKey:
        """Go one level down, if that is not too deep."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise BadSyntax("The search is nested too deeply", "LIMIT", "NO")
        key = read()
        self.depth -= 1
        return key

    def text(self) -> str:
        """A search string, decoded."""
        return decoded(self.lexer.astring(), self.charset)


def _not(program: _Program) -> SearchKey:
    key = program.nested(program.key)
    return key.key if isinstance(key, Not) else Not(key)


def _or(program: _Program) -> SearchKey:
    """`OR a OR b c` goes on to the right without going deeper: clients write long lists so."""
    keys = [program.nested(program.key)]
    program.lexer.space()
    while program.lexer.skip_word("OR"):
        program.lexer.space()
        keys.append(program.nested(program.key))
        program.lexer.space()
    keys.append(program.nested(program.key))
    return Or(tuple(keys))


def _text(field: TextField) -> Callable[[_Program], SearchKey]:
    return lambda program: Text(TextKey(field, program.text()))


def _header(program: _Program) -> SearchKey:
    name = decoded(program.lexer.astring(), "utf-8")
    program.lexer.space()
    return Text(TextKey(TextField.HEADER, program.text(), name))


def _date(field: DateField, order: DateOrder) -> Callable[[_Program], SearchKey]:
    return lambda program: Date(field, order, read_date(program.lexer))


SIMPLE: Final[dict[str, SearchKey]] = {
    "ALL": All(),
    "ANSWERED": Flag(ANSWERED),
    "DELETED": Flag(DELETED),
    "DRAFT": Flag(DRAFT),
    "FLAGGED": Flag(FLAGGED),
    "SEEN": Flag(SEEN),
    "UNANSWERED": Not(Flag(ANSWERED)),
    "UNDELETED": Not(Flag(DELETED)),
    "UNDRAFT": Not(Flag(DRAFT)),
    "UNFLAGGED": Not(Flag(FLAGGED)),
    "UNSEEN": Not(Flag(SEEN)),
    "RECENT": Recent(),
    "NEW": And((Recent(), Not(Flag(SEEN)))),
    "OLD": Not(Recent()),
}
"""Keys without an argument."""

READERS: Final[dict[str, Callable[[_Program], SearchKey]]] = {
    "NOT": _not,
    "OR": _or,
    "UID": lambda program: Messages(read_set(program.lexer), uid=True),
    "KEYWORD": lambda program: Keyword(read_keyword(program.lexer)),
    "UNKEYWORD": lambda program: Not(Keyword(read_keyword(program.lexer))),
    "LARGER": lambda program: Larger(program.lexer.number64()),
    "SMALLER": lambda program: Smaller(program.lexer.number64()),
    "HEADER": _header,
    **{field.name: _text(field) for field in TextField if field is not TextField.HEADER},
    **{order.name: _date(DateField.INTERNAL, order) for order in DateOrder},
    **{"SENT" + order.name: _date(DateField.SENT, order) for order in DateOrder},
}
"""Keys with arguments, which are read after the space."""
