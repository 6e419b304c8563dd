"""Commands of every state: CAPABILITY, NOOP, LOGOUT, ID (RFC 9051 section 6.1, RFC 2971)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services import __version__
from services.common.access.forwarding import ID, read_forwarded
from services.common.peer import Forwarded
from services.imap import replies
from services.imap.commands import Capability, Id, Logout, Noop
from services.imap.handlers.capability import capabilities
from services.imap.session import Answer, Malformed, NotAuthenticated, Refused, Session

IDENTITY: Final = (("name", "Mailkeep"), ("version", __version__))
_CLIENT_FIELDS: Final = ("name", "version", "os")
_CLIENT_LENGTH: Final = 200


def capability(session: Session, command: Capability) -> bytes:
    """RFC 9051 section 6.1.1."""
    return replies.capability(capabilities(session)) + session.ok(b"CAPABILITY completed")


def noop(session: Session, command: Noop) -> bytes:
    """RFC 9051 section 6.1.2: what changed in the mailbox comes with the answer."""
    return session.ok(b"NOOP completed")


def logout(session: Session, command: Logout) -> bytes:
    """RFC 9051 section 6.1.3."""
    session.leave_mailbox()
    session.wire.close()
    return replies.bye(b"Goodbye") + session.ok(b"LOGOUT completed")


def identify(session: Session, command: Id) -> Answer:
    """RFC 2971 section 3.1. Nothing depends on what a client says of itself; a front end that is trusted may say before
    the login who its client is.
    """
    said = {name: value for name, value in command.fields or () if value}
    session.client = " ".join([value for field in _CLIENT_FIELDS if (value := said.get(field))])[:_CLIENT_LENGTH]
    if isinstance(session.state, NotAuthenticated) and session.wire.trusted:
        return _forwarded(session, {name.upper(): value for name, value in said.items()})
    return _identity(session)


def _forwarded(session: Session, said: Mapping[str, str]) -> Answer:
    try:
        client = read_forwarded(ID, said)
    except ValueError:
        raise Malformed(b"The client's address is none") from None
    return _identity(session) if client is None else _forward(session, client)


async def _forward(session: Session, client: Forwarded) -> bytes:
    goodbye = await session.wire.forward(client)
    if goodbye:
        raise Refused(b"The client may not connect", b"", goodbye)
    return _identity(session)


def _identity(session: Session) -> bytes:
    return replies.identity(IDENTITY) + session.ok(b"ID completed")
