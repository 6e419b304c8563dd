"""EXPUNGE, UID EXPUNGE, CLOSE and UNSELECT (RFC 9051 sections 6.4.1 to 6.4.3 and 6.4.9)."""

from __future__ import annotations

from services.common.domain import DELETED
from services.common.errors import Reason, StoreError
from services.imap.commands import Close, Expunge, Unselect
from services.imap.handlers.messages import spans_of, writable
from services.imap.session import Answer, Session
from services.imap.view import View


def expunge(session: Session, command: Expunge) -> Answer:
    """The EXPUNGE responses are told like those of other sessions: from the mailbox's log."""
    view = writable(session)
    uids = None
    if command.uids is not None:
        uids = list(view.uids_of(spans_of(view, command.uids, uid=True)))
        if not uids:
            return session.ok(b"EXPUNGE completed")
    return _expunge(session, view, uids)


def close(session: Session, command: Close) -> Answer:
    """Expunge without a word, then leave; after EXAMINE only leave."""
    view = session.selected.view
    if view.read_only or not _deleted(view):
        session.leave_mailbox()
        return session.ok(b"CLOSE completed")
    return _close(session, view)


def unselect(session: Session, command: Unselect) -> Answer:
    """Leave, and expunge nothing."""
    session.leave_mailbox()
    return session.ok(b"UNSELECT completed")


async def _expunge(session: Session, view: View, uids: list[int] | None) -> bytes:
    shared = view.shared
    shared.apply_expunge(await session.store.expunge(shared.account_id, shared.mailbox_id, uids))
    return session.ok(b"EXPUNGE completed")


async def _close(session: Session, view: View) -> bytes:
    shared = view.shared
    try:
        shared.apply_expunge(await session.store.expunge(shared.account_id, shared.mailbox_id))
    except StoreError as error:
        if error.reason is not Reason.MAILBOX_NOT_FOUND:  # deleted with all that was in it
            raise
    session.leave_mailbox()
    return session.ok(b"CLOSE completed")


def _deleted(view: View) -> bool:
    """Whether there is anything to expunge. The counter is exact unless own changes ran ahead of the feed."""
    shared = view.shared
    if shared.ahead:
        return any(flags & DELETED for flags in shared.flags)
    return shared.status.deleted > 0
