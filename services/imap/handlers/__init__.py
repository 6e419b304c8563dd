"""COMMANDS: every command's name, its handler, the states it is legal in, and what its answer may do.

One row a command; an extension is a row (and a handler). The machine refuses what `names_in` does not list before it
reads a literal; CAPABILITY is derived from the rows.
"""

from __future__ import annotations

from typing import Final

from services.imap.handlers.spec import CommandSpec
from services.imap.session import State

COMMANDS: Final[dict[str, CommandSpec]] = {}


def names_in(state: State) -> frozenset[str]:
    """The commands that are legal in a state."""
    return frozenset(name for name, spec in COMMANDS.items() if spec.states & state)
