"""APPEND (RFC 9051 section 6.3.12)."""

from __future__ import annotations

from uuid import uuid4

from services.common.domain import AppendResult
from services.common.errors import Reason, StoreError
from services.imap import replies
from services.imap.commands import Append
from services.imap.session import Refused, Selected, Session


async def append(session: Session, command: Append) -> bytes:
    """All or none. The open mailbox's new message is told with the answer."""
    if not all(item.body for item in command.items):
        raise Refused(b"A message cannot be empty", b"CANNOT")
    account = session.account
    try:
        result = await session.store.append(
            account.account_id, command.mailbox, command.items, account.quota, request_id=str(uuid4())
        )
    except StoreError as error:
        if error.reason is Reason.MAILBOX_NOT_FOUND:
            raise Refused(b"No such mailbox", b"TRYCREATE") from None
        raise
    await _take_in(session, result)
    return session.ok(b"APPEND completed", replies.append_uid(result.uidvalidity, result.uids))


async def _take_in(session: Session, result: AppendResult) -> None:
    state = session.state
    if isinstance(state, Selected) and state.view.shared.mailbox_id == result.mailbox_id:
        await session.service.mailboxes.refresh(state.view.shared)
