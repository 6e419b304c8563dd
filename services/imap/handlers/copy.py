"""COPY and MOVE, and their UID forms (RFC 9051 sections 6.4.7 and 6.4.8, COPYUID of RFC 4315)."""

from __future__ import annotations

from services.common.domain import CopyResult
from services.common.errors import Reason, StoreError
from services.common.requestid import new_request_id
from services.imap.columns import EVERYTHING
from services.imap.commands import Copy, Move
from services.imap.handlers.messages import spans_of, writable
from services.imap.replies import copy_uid, tagged
from services.imap.session import Answer, Refused, Session
from services.imap.view import View


def copy(session: Session, command: Copy) -> Answer:
    """All or none."""
    view = session.selected.view
    uids = list(view.uids_of(spans_of(view, command.messages, uid=command.uid)))
    return _copy(session, view, uids, command.mailbox) if uids else session.ok(b"COPY completed")


def move(session: Session, command: Move) -> Answer:
    """COPYUID first, then the EXPUNGEs, then the tagged OK (RFC 6851 section 4.3)."""
    view = writable(session)
    uids = list(view.uids_of(spans_of(view, command.messages, uid=command.uid)))
    return _move(session, view, uids, command.mailbox) if uids else session.ok(b"MOVE completed")


async def _copy(session: Session, view: View, uids: list[int], target: str) -> bytes:
    result = await _transfer(session, view, uids, target, move=False)
    return session.ok(b"COPY completed", _copyuid(result))


async def _move(session: Session, view: View, uids: list[int], target: str) -> bytes:
    shared = view.shared
    if len(shared.views) > 1:
        await session.service.columns.load(shared, EVERYTHING, uids)
    result = await _transfer(session, view, uids, target, move=True)
    shared.forget(result.source_uids)
    code = _copyuid(result)
    return (tagged(b"*", b"OK", b"Moved", code) if code else b"") + session.ok(b"MOVE completed")


async def _transfer(session: Session, view: View, uids: list[int], target: str, *, move: bool) -> CopyResult:
    shared, account = view.shared, session.account
    try:
        result = await session.store.copy_messages(
            shared.account_id, shared.mailbox_id, uids, target, account.quota, move=move, request_id=new_request_id()
        )
    except StoreError as error:
        if error.reason is Reason.MAILBOX_NOT_FOUND and not shared.gone:
            raise Refused(b"No such mailbox", b"TRYCREATE") from None
        raise
    if result.mailbox_id == shared.mailbox_id:
        await session.service.mailboxes.refresh(shared)
    return result


def _copyuid(result: CopyResult) -> bytes:
    return copy_uid(result.uidvalidity, list(result.source_uids), list(result.target_uids))
