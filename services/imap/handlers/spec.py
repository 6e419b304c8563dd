"""The shape of a row in the COMMANDS table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from services.imap.session import Answer, Session, State

Handler: TypeAlias = Callable[[Session, Any], Answer]
"""Each handler names its own command type; the table's key decides that it gets no other."""


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command: who answers it, when it is legal, what its answer may do.

    - `uses_seqs`: its sequence numbers must stay what they are, so no EXPUNGE is told while it runs or at its end
      (RFC 9051 section 7.5.1: FETCH, STORE, SEARCH; their UID forms are free to).
    - `needs_privacy`: it is refused with PRIVACYREQUIRED where a password may not travel in clear.
    - `capabilities`: what CAPABILITY announces because this row is here.
    """

    handler: Handler
    states: State
    uses_seqs: bool = False
    needs_privacy: bool = False
    capabilities: tuple[str, ...] = ()
