"""Commands of every state: CAPABILITY, NOOP, LOGOUT, ID (RFC 9051 section 6.1, RFC 2971)."""

from __future__ import annotations

from typing import Final

from services import __version__
from services.imap import replies
from services.imap.commands import Capability, Id, Logout, Noop
from services.imap.handlers.capability import capabilities
from services.imap.session import Session

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


def identify(session: Session, command: Id) -> bytes:
    """RFC 2971 section 3.1; nothing depends on what a client says of itself."""
    said = dict(command.fields or ())
    session.client = " ".join([value for field in _CLIENT_FIELDS if (value := said.get(field))])[:_CLIENT_LENGTH]
    return replies.identity(IDENTITY) + session.ok(b"ID completed")
