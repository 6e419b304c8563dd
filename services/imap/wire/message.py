"""STORE, COPY, MOVE and EXPUNGE (RFC 9051 section 6.4)."""

from __future__ import annotations

from typing import Final

from services.common.domain import FlagChange, FlagOperation
from services.imap.commands import Copy, Expunge, Move, Store
from services.imap.wire.cache import Cache
from services.imap.wire.flags import read_flags
from services.imap.wire.lexer import BadSyntax, Lexer
from services.imap.wire.mailboxname import read_mailbox
from services.imap.wire.sequence import parse_set, read_set

_MAX_KEPT: Final = 256
_known: Final[Cache[bytes, tuple[FlagChange, bool]]] = Cache(2048)

OPERATIONS: Final[dict[bytes, FlagOperation]] = {
    b"": FlagOperation.REPLACE,
    b"+": FlagOperation.ADD,
    b"-": FlagOperation.REMOVE,
}


def parse_store(lexer: Lexer, *, uid: bool = False) -> Store:
    """`store`, after its name."""
    lexer.space()
    messages = read_set(lexer)
    lexer.space()
    start = lexer.position
    change, silent = _read_change(lexer)
    lexer.end()
    if lexer.plain and len(lexer.text) - start <= _MAX_KEPT:
        _known.keep(lexer.text[start:], (change, silent))
    return Store(messages, change, silent, uid)


def quick_store(arguments: bytes) -> Store | None:
    """The same for a line whose flags were seen before; None for any other."""
    text, _, rest = arguments.partition(b" ")
    known = _known.get(rest)
    return None if known is None else Store(parse_set(text), known[0], known[1])


def quick_uid_store(arguments: bytes) -> Store | None:
    """As `quick_store`, for UID STORE."""
    text, _, rest = arguments.partition(b" ")
    known = _known.get(rest)
    return None if known is None else Store(parse_set(text), known[0], known[1], True)


def _read_change(lexer: Lexer) -> tuple[FlagChange, bool]:
    """`store-att-flags`."""
    sign = b"+" if lexer.skip(b"+") else b"-" if lexer.skip(b"-") else b""
    item = lexer.word()
    if item not in ("FLAGS", "FLAGS.SILENT"):
        raise BadSyntax("Expected FLAGS")
    lexer.space()
    system, keywords = read_flags(lexer)
    return FlagChange(OPERATIONS[sign], system, keywords), item == "FLAGS.SILENT"


def parse_copy(lexer: Lexer, *, uid: bool = False) -> Copy:
    """`copy`, after its name."""
    lexer.space()
    messages = read_set(lexer)
    lexer.space()
    mailbox = read_mailbox(lexer)
    lexer.end()
    return Copy(messages, mailbox, uid)


def parse_move(lexer: Lexer, *, uid: bool = False) -> Move:
    """`move`, after its name."""
    copy = parse_copy(lexer)
    return Move(copy.messages, copy.mailbox, uid)


def parse_expunge(lexer: Lexer) -> Expunge:
    """EXPUNGE, after its name."""
    lexer.end()
    return Expunge()


def parse_uid_expunge(lexer: Lexer) -> Expunge:
    """`uid-expunge`, after its name (RFC 4315 section 2.1)."""
    lexer.space()
    uids = read_set(lexer)
    lexer.end()
    return Expunge(uids)
