"""GRAMMAR: every command's name and how its arguments are read. One row a command; an extension is a row.

What a session may do in its state is not the grammar's business: `services.imap.handlers` says it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from services.imap.commands import (
    Capability,
    Check,
    Close,
    Command,
    Idle,
    Logout,
    Namespace,
    Noop,
    StartTls,
    Unselect,
)
from services.imap.wire.append import parse_append
from services.imap.wire.fetch import parse_fetch, quick_fetch, quick_uid_fetch
from services.imap.wire.lexer import Lexer
from services.imap.wire.listing import parse_list, parse_lsub
from services.imap.wire.mailbox import (
    parse_create,
    parse_delete,
    parse_examine,
    parse_rename,
    parse_select,
    parse_status,
    parse_subscribe,
    parse_unsubscribe,
)
from services.imap.wire.message import (
    parse_copy,
    parse_expunge,
    parse_move,
    parse_store,
    parse_uid_expunge,
    quick_store,
    quick_uid_store,
)
from services.imap.wire.search import parse_search
from services.imap.wire.session import (
    parse_authenticate,
    parse_enable,
    parse_id,
    parse_login,
    parse_proxyauth,
)


@dataclass(frozen=True, slots=True)
class Syntax:
    """One row.

    `parse` reads from a lexer placed after the name, to the end. `quick` takes the arguments of a command without
    literals and gives the same command, or None for what it does not know; it may raise BadSyntax. `value` is the
    command of a name without arguments.
    """

    name: str
    parse: Callable[[Lexer], Command]
    quick: Callable[[bytes], Command | None] | None = None
    value: Command | None = None


def _bare(name: str, command: Command) -> Syntax:
    """A command without arguments: always the one value."""

    def parse(lexer: Lexer) -> Command:
        lexer.end()
        return command

    return Syntax(name, parse, value=command)


_ROWS: Final = (
    _bare("CAPABILITY", Capability()),
    _bare("NOOP", Noop()),
    _bare("LOGOUT", Logout()),
    Syntax("ID", parse_id),
    _bare("STARTTLS", StartTls()),
    Syntax("AUTHENTICATE", parse_authenticate),
    Syntax("LOGIN", parse_login),
    Syntax("PROXYAUTH", parse_proxyauth),
    Syntax("ENABLE", parse_enable),
    Syntax("SELECT", parse_select),
    Syntax("EXAMINE", parse_examine),
    Syntax("CREATE", parse_create),
    Syntax("DELETE", parse_delete),
    Syntax("RENAME", parse_rename),
    Syntax("SUBSCRIBE", parse_subscribe),
    Syntax("UNSUBSCRIBE", parse_unsubscribe),
    Syntax("LIST", parse_list),
    Syntax("LSUB", parse_lsub),
    _bare("NAMESPACE", Namespace()),
    Syntax("STATUS", parse_status),
    Syntax("APPEND", parse_append),
    _bare("IDLE", Idle()),
    _bare("CHECK", Check()),
    _bare("CLOSE", Close()),
    _bare("UNSELECT", Unselect()),
    Syntax("EXPUNGE", parse_expunge),
    Syntax("SEARCH", parse_search),
    Syntax("FETCH", parse_fetch, quick_fetch),
    Syntax("STORE", parse_store, quick_store),
    Syntax("COPY", parse_copy),
    Syntax("MOVE", parse_move),
    Syntax("UID EXPUNGE", parse_uid_expunge),
    Syntax("UID SEARCH", partial(parse_search, uid=True)),
    Syntax("UID FETCH", partial(parse_fetch, uid=True), quick_uid_fetch),
    Syntax("UID STORE", partial(parse_store, uid=True), quick_uid_store),
    Syntax("UID COPY", partial(parse_copy, uid=True)),
    Syntax("UID MOVE", partial(parse_move, uid=True)),
)
GRAMMAR: Final[dict[bytes, Syntax]] = {row.name.encode(): row for row in _ROWS}
"""By name in capitals."""
