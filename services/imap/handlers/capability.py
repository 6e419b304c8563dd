"""What CAPABILITY announces, derived from the tables (RFC 9051 sections 6.1.1 and 7.2.2)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from services.common.sasl import offered
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
    return _before_login(literal, starttls=wire.tls_available, plaintext=plaintext_allowed(session))


def plaintext_allowed(session: Session) -> bool:
    """Whether a password may be sent on this connection (RFC 9051 section 11.1)."""
    return session.service.login.allows_plaintext(session.wire.peer)


@lru_cache
def _announced(literal: str) -> tuple[str, ...]:
    # The table imports the handlers, and so this module; by now it is complete.
    from services.imap.handlers import COMMANDS

    names = [*REVISIONS, literal]
    for spec in COMMANDS.values():
        names += spec.capabilities
    return tuple(dict.fromkeys(names))


@lru_cache
def _before_login(literal: str, *, starttls: bool, plaintext: bool) -> tuple[str, ...]:
    names = list(_announced(literal))
    if starttls:
        names.append("STARTTLS")
    if not plaintext:
        names.append("LOGINDISABLED")
    return (*names, *(f"AUTH={mechanism}" for mechanism in offered(plaintext=plaintext)))
