"""What CAPABILITY announces, derived from the tables (RFC 9051 sections 6.1.1 and 7.2.2)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from services.imap.session import NotAuthenticated, Session

REVISIONS: Final = ("IMAP4rev1", "IMAP4rev2")


def capabilities(session: Session) -> tuple[str, ...]:
    """The list as it is for this session now.

    Extensions are announced before login, too, since some clients never ask again; what concerns the login is not
    announced after it.
    """
    wire = session.wire
    literal = session.options.literal
    if not isinstance(session.state, NotAuthenticated):
        return _announced(literal)
    peer, authentication = wire.peer, session.service.authentication
    passwords = authentication.takes_passwords(peer)
    return _before_login(literal, wire.tls_available, passwords, authentication.mechanisms(peer))


@lru_cache
def _announced(literal: str) -> tuple[str, ...]:
    # The table imports the handlers, and so this module; by now it is complete.
    from services.imap.handlers import COMMANDS

    names = [*REVISIONS, literal]
    for spec in COMMANDS.values():
        names += spec.capabilities
    return tuple(dict.fromkeys(names))


@lru_cache
def _before_login(literal: str, starttls: bool, passwords: bool, mechanisms: tuple[str, ...]) -> tuple[str, ...]:
    """RFC 9051 sections 6.2.2, 6.2.3 and 11.1: LOGINDISABLED where a password may not be sent."""
    names = list(_announced(literal))
    if starttls:
        names.append("STARTTLS")
    if not passwords:
        names.append("LOGINDISABLED")
    return (*names, *(f"AUTH={mechanism}" for mechanism in mechanisms))
