"""Commands on an account's mailboxes, LIST and APPEND apart (RFC 9051 section 6.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.common.domain import SEPARATOR, SPECIAL_USES, MailboxStatus
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
    StatusItem.RECENT: lambda status: min(status.messages, max(status.uidnext - status.recent_from, 0)),
    StatusItem.UIDNEXT: lambda status: status.uidnext,
    StatusItem.UIDVALIDITY: lambda status: status.uidvalidity,
    StatusItem.UNSEEN: lambda status: status.unseen,
    StatusItem.DELETED: lambda status: status.deleted,
    StatusItem.SIZE: lambda status: status.size,
}
"""What a STATUS item is. RECENT counts UIDs that no session was told of, and so may exceed what is left of them."""


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
    answer = replies.status(found.name, status_values(found, command.items), utf8=session.revision2)
    return answer + session.ok(b"STATUS completed")


def status_values(found: MailboxStatus, items: tuple[StatusItem, ...]) -> list[tuple[str, int]]:
    """Names and values for a STATUS response."""
    return [(item.value, STATUS_VALUES[item](found)) for item in items]


async def create(session: Session, command: Create) -> bytes:
    """RFC 9051 section 6.3.4; a special use that is not known here is refused with USEATTR (RFC 6154 section 3)."""
    special_use = ""
    if command.special_use:
        special_use = _ATTRIBUTES.get(command.special_use.upper(), "")
        if not special_use:
            raise Refused(b"Not a use of mailboxes here", b"USEATTR")
    await session.store.create_mailbox(session.account.account_id, _named(command.mailbox), special_use)
    return session.ok(b"CREATE completed")


async def delete(session: Session, command: Delete) -> bytes:
    """RFC 9051 section 6.3.5."""
    await session.store.delete_mailbox(session.account.account_id, command.mailbox)
    return session.ok(b"DELETE completed")


async def rename(session: Session, command: Rename) -> bytes:
    """RFC 9051 section 6.3.6."""
    new_name = _named(command.new_name.removesuffix(SEPARATOR))
    await session.store.rename_mailbox(session.account.account_id, command.mailbox, new_name)
    return session.ok(b"RENAME completed")


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
