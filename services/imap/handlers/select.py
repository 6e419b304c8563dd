"""SELECT and EXAMINE (RFC 9051 sections 6.3.2 and 6.3.3)."""

from __future__ import annotations

from services.common.domain import MAX_KEYWORDS
from services.imap.commands import Select
from services.imap.flags import flag_list, permanent_flags
from services.imap.replies import listed
from services.imap.session import Answer, Selected, Session
from services.imap.view import View


def select(session: Session, command: Select) -> Answer:
    """What was open is closed first, also when this fails (RFC 9051 section 6.3.2)."""
    closed = b""
    if isinstance(session.state, Selected):
        session.leave_mailbox()
        closed = b"* OK [CLOSED] The previous mailbox is closed\r\n"
    return _select(session, command, closed)


async def _select(session: Session, command: Select, closed: bytes) -> bytes:
    session.wire.write(closed)
    view = await session.service.mailboxes.open(
        session.account.account_id, command.mailbox, read_only=command.read_only, rev2=session.revision2
    )
    session.select(view)
    code = b"READ-ONLY" if command.read_only else b"READ-WRITE"
    text = b"EXAMINE completed" if command.read_only else b"SELECT completed"
    return describe(session, view, command) + session.ok(text, code)


def describe(session: Session, view: View, command: Select) -> bytes:
    """The untagged responses of SELECT."""
    shared = view.shared
    status = shared.status
    room = len(status.keywords) < MAX_KEYWORDS
    parts = [
        flag_list(status.keywords),
        permanent_flags(status.keywords, read_only=view.read_only, room=room),
        b"* %d EXISTS\r\n" % view.count,
    ]
    if session.revision2:
        parts.append(listed(b"LIST", (), command.mailbox, utf8=True, old_name=command.given))
    else:
        parts.append(b"* %d RECENT\r\n" % view.recent)
        if unseen := shared.first_unseen(view.count):
            parts.append(b"* OK [UNSEEN %d] First unseen\r\n" % unseen)
    parts.append(b"* OK [UIDVALIDITY %d] UIDs valid\r\n" % status.uidvalidity)
    parts.append(b"* OK [UIDNEXT %d] Predicted next UID\r\n" % max(status.uidnext, shared.top + 1))
    return b"".join(parts)
