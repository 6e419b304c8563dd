"""COMMANDS: every command's name, its handler, the states it is legal in, and what its answer may do.

One row a command; an extension is a row (and a handler). The machine refuses what `names_in` does not list before it
reads a literal; CAPABILITY is derived from the rows.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from services.imap.handlers import account, append, copy, expunge, fetch, idle, listing, notauth, search, select
from services.imap.handlers import any as always
from services.imap.handlers import store as flags
from services.imap.handlers.capability import capabilities
from services.imap.handlers.spec import CommandSpec
from services.imap.session import State

__all__ = ["COMMANDS", "CommandSpec", "capabilities", "names_in", "withheld_in"]

_ANY: Final = State.ANY
_BEFORE: Final = State.NOT_AUTHENTICATED
_LOGGED_IN: Final = State.LOGGED_IN
_SELECTED: Final = State.SELECTED

COMMANDS: Final[dict[str, CommandSpec]] = {
    "CAPABILITY": CommandSpec(always.capability, _ANY),
    "NOOP": CommandSpec(always.noop, _ANY),
    "LOGOUT": CommandSpec(always.logout, _ANY),
    "ID": CommandSpec(always.identify, _ANY, capabilities=("ID",)),
    "STARTTLS": CommandSpec(notauth.start_tls, _BEFORE),
    "AUTHENTICATE": CommandSpec(notauth.authenticate, _BEFORE, capabilities=("SASL-IR",)),
    "LOGIN": CommandSpec(notauth.login, _BEFORE, needs_privacy=True),
    "PROXYAUTH": CommandSpec(notauth.proxyauth, State.AUTHENTICATED),
    "ENABLE": CommandSpec(account.enable, State.AUTHENTICATED, capabilities=("ENABLE",)),
    "SELECT": CommandSpec(select.select, _LOGGED_IN),
    "EXAMINE": CommandSpec(select.select, _LOGGED_IN),
    "CREATE": CommandSpec(account.create, _LOGGED_IN, capabilities=("CREATE-SPECIAL-USE",)),
    "DELETE": CommandSpec(account.delete, _LOGGED_IN),
    "RENAME": CommandSpec(account.rename, _LOGGED_IN),
    "SUBSCRIBE": CommandSpec(account.subscribe, _LOGGED_IN),
    "UNSUBSCRIBE": CommandSpec(account.unsubscribe, _LOGGED_IN),
    "LIST": CommandSpec(
        listing.list_mailboxes,
        _LOGGED_IN,
        capabilities=("CHILDREN", "LIST-EXTENDED", "LIST-STATUS", "SPECIAL-USE"),
    ),
    "LSUB": CommandSpec(listing.lsub, _LOGGED_IN),
    "NAMESPACE": CommandSpec(account.namespace, _LOGGED_IN, capabilities=("NAMESPACE",)),
    "STATUS": CommandSpec(account.status, _LOGGED_IN, capabilities=("STATUS=SIZE",)),
    "APPEND": CommandSpec(append.append, _LOGGED_IN),
    "IDLE": CommandSpec(idle.idle, _LOGGED_IN, capabilities=("IDLE",)),
    "CHECK": CommandSpec(idle.check, _SELECTED),
    "CLOSE": CommandSpec(expunge.close, _SELECTED),
    "UNSELECT": CommandSpec(expunge.unselect, _SELECTED, capabilities=("UNSELECT",)),
    "EXPUNGE": CommandSpec(expunge.expunge, _SELECTED),
    "UID EXPUNGE": CommandSpec(expunge.expunge, _SELECTED, capabilities=("UIDPLUS",)),
    "SEARCH": CommandSpec(search.search, _SELECTED, uses_seqs=True, capabilities=("ESEARCH", "SEARCHRES")),
    "UID SEARCH": CommandSpec(search.search, _SELECTED),
    "FETCH": CommandSpec(fetch.fetch, _SELECTED, uses_seqs=True, capabilities=("BINARY",)),
    "UID FETCH": CommandSpec(fetch.fetch, _SELECTED),
    "STORE": CommandSpec(flags.store, _SELECTED, uses_seqs=True),
    "UID STORE": CommandSpec(flags.store, _SELECTED),
    "COPY": CommandSpec(copy.copy, _SELECTED),
    "UID COPY": CommandSpec(copy.copy, _SELECTED),
    "MOVE": CommandSpec(copy.move, _SELECTED, capabilities=("MOVE",)),
    "UID MOVE": CommandSpec(copy.move, _SELECTED),
}


@cache
def names_in(state: State) -> frozenset[str]:
    """The commands that are legal in a state."""
    return frozenset(name for name, spec in COMMANDS.items() if spec.states & state)


@cache
def withheld_in(state: State) -> frozenset[str]:
    """Those of them that are refused as long as a password may not travel in clear."""
    return frozenset(name for name in names_in(state) if COMMANDS[name].needs_privacy)
