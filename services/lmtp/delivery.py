"""A complete message on its way into the store: one call, one reply for each recipient."""

from __future__ import annotations

from services.common.domain import Recipient
from services.common.errors import StoreError
from services.common.requestid import new_request_id
from services.lmtp import replies
from services.lmtp.session import Session, Target, Transaction


async def deliver(session: Session, transaction: Transaction, body: bytes | None) -> bytes:
    """Give the message to the store and end the transaction. `body` None is a message that was not kept."""
    try:
        if body is None or len(body) > session.max_size:
            return (transaction.failure or replies.Text.TOO_LARGE).value * len(transaction.targets)
        # The copy that arrived is no longer needed.
        transaction.content = bytearray()
        return await _hand_over(session, transaction, body)
    finally:
        session.drop()


async def _hand_over(session: Session, transaction: Transaction, body: bytes) -> bytes:
    """A recipient that was named twice gets one copy and two replies."""
    sender = transaction.mail.sender
    wanted: dict[tuple[str, str], Recipient] = {}
    for target in transaction.targets:
        wanted.setdefault(_key(target), recipient(target, sender))
    try:
        outcomes = await session.shared.store.deliver(list(wanted.values()), body, request_id=new_request_id())
        reasons = dict(zip(wanted, [outcome.reason for outcome in outcomes], strict=True))
    except StoreError as error:
        reasons = dict.fromkeys(wanted, error.reason.name)
    overquota = session.options.overquota
    return b"".join([replies.for_reason(reasons[_key(target)], overquota) for target in transaction.targets])


def _key(target: Target) -> tuple[str, str]:
    return target.entry.account, target.folder


def recipient(target: Target, sender: str) -> Recipient:
    """With the trace lines of a final delivery (RFC 5321 section 4.4): Return-Path, and whom it was for."""
    prefix = f"Return-Path: <{sender}>\r\nDelivered-To: {target.address}\r\n".encode()
    return Recipient(target.entry.account, target.folder, prefix, target.entry.quota)
