"""Commands on an account's mailboxes, LIST and APPEND apart (RFC 9051 section 6.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from services.common.domain import SEPARATOR, SPECIAL_USES, Column, MailboxStatus
from services.imap import replies
from services.imap.commands import Create, Delete, Enable, Namespace, Rename, Status, Subscribe, Unsubscribe
from services.imap.commands.mailbox import StatusItem
from services.imap.session import Refused, Session

_ATTRIBUTES: Final = {attribute.upper(): attribute for attribute in SPECIAL_USES.values()}


def _revision2(session: Session) -> None:
    session.revision2 = True


ENABLEABLE: Final[dict[str, tuple[str, Callable[[Session], None]]]] = {
    "IMAP4REV2": ("IMAP4rev2", _revision2),
}
"""What ENABLE can switch on: its name in the answer, and what it does. An extension is a row."""

STATUS_VALUES: Final[dict[StatusItem, Callable[[MailboxStatus], int]]] = {
    StatusItem.MESSAGES: lambda status: status.messages,
    StatusItem.UIDNEXT: lambda status: status.uidnext,
    StatusItem.UIDVALIDITY: lambda status: status.uidvalidity,
    StatusItem.UNSEEN: lambda status: status.unseen,
    StatusItem.DELETED: lambda status: status.deleted,
    StatusItem.SIZE: lambda status: status.size,
}
"""What a STATUS item is; RECENT is no counter."""
RECENT_AT_ONCE: Final = 50_000


def enable(session: Session, command: Enable) -> bytes:
    """RFC 9051 section 6.3.1: what is not known is left out without a word."""
    switched = []
    for name in command.capabilities:
        known = ENABLEABLE.get(name)
        if known is not None and known[0] not in session.enabled:
            known[1](session)
            switched.append(known[0])
    session.enabled |= frozenset(switched)
    return replies.enabled(switched) + session.ok(b"ENABLE completed")


def namespace(session: Session, command: Namespace) -> bytes:
    """RFC 9051 section 6.3.10."""
    return replies.namespace() + session.ok(b"NAMESPACE completed")


async def status(session: Session, command: Status) -> bytes:
    """RFC 9051 section 6.3.11."""
    found = await session.store.get_mailbox(session.account.account_id, command.mailbox)
    answer = await status_line(session, found, command.items)
    return answer + session.ok(b"STATUS completed")


async def status_line(session: Session, found: MailboxStatus, items: Sequence[StatusItem]) -> bytes:
    """The STATUS response."""
    recent = await _recent(session, found) if StatusItem.RECENT in items else 0
    values = [(item.value, recent if item is StatusItem.RECENT else STATUS_VALUES[item](found)) for item in items]
    return replies.status(found.name, values, utf8=session.revision2)


async def _recent(session: Session, found: MailboxStatus) -> int:
    """Messages that no session was told of yet (RFC 3501 section 2.3.2).

    Every UID from one on is recent; which of them are still there is only asked where something was ever removed.
    """
    first, end = found.recent_from, found.uidnext
    if first >= end or not found.messages:
        return 0
    if found.messages == end - 1:
        return end - first
    count = 0
    for start in range(first, end, RECENT_AT_ONCE):
        uids = range(start, min(start + RECENT_AT_ONCE, end))
        count += len(
            (await session.store.fetch_columns(session.account.account_id, found.mailbox_id, Column(0), uids)).uids
        )
    return count


async def create(session: Session, command: Create) -> bytes:
    """RFC 9051 section 6.3.4; a special use that is not known here is refused with USEATTR (RFC 6154 section 3)."""
    special_use = ""
    if command.special_use:
        special_use = _ATTRIBUTES.get(command.special_use.upper(), "")
        if not special_use:
            raise Refused(b"Not a use of mailboxes here", b"USEATTR")
    await session.store.create_mailbox(session.account.account_id, _named(command.mailbox), special_use)
    return _as_kept(session, command.mailbox, command.given) + session.ok(b"CREATE completed")


async def delete(session: Session, command: Delete) -> bytes:
    """RFC 9051 section 6.3.5."""
    await session.store.delete_mailbox(session.account.account_id, command.mailbox)
    return session.ok(b"DELETE completed")


async def rename(session: Session, command: Rename) -> bytes:
    """RFC 9051 section 6.3.6."""
    new_name = _named(command.new_name.removesuffix(SEPARATOR))
    await session.store.rename_mailbox(session.account.account_id, command.mailbox, new_name)
    return _as_kept(session, new_name, command.given) + session.ok(b"RENAME completed")


def _as_kept(session: Session, name: str, given: str) -> bytes:
    """Tell a client whose name was not in normal form how it is kept (RFC 9051 section 6.3.9.7)."""
    return replies.listed(b"LIST", (), name, utf8=True, old_name=given) if given and session.revision2 else b""


async def subscribe(session: Session, command: Subscribe) -> bytes:
    """RFC 9051 section 6.3.7; the mailbox need not be there yet."""
    return await _subscribe(session, command.mailbox, True)


async def unsubscribe(session: Session, command: Unsubscribe) -> bytes:
    """RFC 9051 section 6.3.8."""
    return await _subscribe(session, command.mailbox, False)


async def _subscribe(session: Session, name: str, subscribed: bool) -> bytes:
    await session.store.subscribe(session.account.account_id, _named(name), subscribed)
    return session.ok(b"SUBSCRIBE completed" if subscribed else b"UNSUBSCRIBE completed")


def _named(name: str) -> str:
    if not name:
        raise Refused(b"Not a name for a mailbox", b"CANNOT")
    return name
