"""APPEND (RFC 9051 section 6.3.12)."""

from __future__ import annotations

from typing import Final

from services.common.domain import AppendResult
from services.common.errors import Reason, StoreError
from services.common.requestid import new_request_id
from services.imap import replies
from services.imap.commands import Append
from services.imap.session import Refused, Selected, Session

FORESEEN: Final = 65_536
"""A client that would send so much is told first where it would be in vain: asking costs the store less."""
NO_MAILBOX: Final = replies.Refusal(b"No such mailbox", b"TRYCREATE")


async def append(session: Session, command: Append) -> bytes:
    """All or none. The open mailbox's new message is told with the answer."""
    if not all(item.body for item in command.items):
        raise Refused(b"A message cannot be empty", b"CANNOT")
    account = session.account
    try:
        result = await session.store.append(
            account.account_id, command.mailbox, command.items, account.quota, request_id=new_request_id()
        )
    except StoreError as error:
        if error.reason is Reason.MAILBOX_NOT_FOUND:
            raise Refused(NO_MAILBOX.text, NO_MAILBOX.code) from None
        raise
    await _take_in(session, result)
    return session.ok(b"APPEND completed", replies.append_uid(result.uidvalidity, result.uids))


async def in_vain(session: Session, mailbox: str, size: int) -> replies.Refusal | None:
    """Why a message of that size will be refused, as far as can be seen before it comes; None where it may well not."""
    account, store = session.account, session.store
    try:
        await store.get_mailbox(account.account_id, mailbox)
        quota = account.quota
        if quota.max_bytes is None and quota.max_messages is None:
            return None
        used = await store.open_account(account.user, create=False)
    except StoreError as error:
        if error.reason is Reason.ACCOUNT_NOT_FOUND:  # the command itself makes it anew
            return None
        return NO_MAILBOX if error.reason is Reason.MAILBOX_NOT_FOUND else replies.REFUSALS[error.reason]
    return None if quota.has_room(used, size) else replies.REFUSALS[Reason.OVER_QUOTA]


async def _take_in(session: Session, result: AppendResult) -> None:
    state = session.state
    if isinstance(state, Selected) and state.view.shared.mailbox_id == result.mailbox_id:
        await session.service.mailboxes.refresh(state.view.shared)
