"""LIST and LSUB (RFC 9051 section 6.3.9, RFC 3501 sections 6.3.8 and 6.3.9, RFC 5258, RFC 5819, RFC 6154)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from services.common.domain import SEPARATOR, MailboxStatus
from services.imap import replies
from services.imap.commands import List, Lsub
from services.imap.commands.mailbox import ListReturn, ListSelection
from services.imap.handlers.account import status_line
from services.imap.patterns import Matcher, matcher
from services.imap.session import Answer, Session

SHARE: Final = 256
"""Names, times patterns, that are looked at before other sessions get their turn."""


@dataclass(slots=True)
class Entry:
    """A name of the hierarchy: `status` is None where no mailbox is behind it."""

    name: str
    status: MailboxStatus | None = None
    subscribed: bool = False
    has_children: bool = False
    selected_below: bool = False


def list_mailboxes(session: Session, command: List) -> Answer:
    """An empty pattern of the plain form only asks for the separator."""
    if not command.extended and command.patterns == ("",):
        return replies.hierarchy(b"LIST") + session.ok(b"LIST completed")
    return _list(session, command)


def lsub(session: Session, command: Lsub) -> Answer:
    """Subscribed names; with `%` also the levels above them, as \\Noselect (RFC 3501 section 6.3.9)."""
    if not command.pattern:
        return replies.hierarchy(b"LSUB") + session.ok(b"LSUB completed")
    return _lsub(session, command)


async def _list(session: Session, command: List) -> bytes:
    entries = await _entries(session, subscriptions=bool(command.selection & ListSelection.SUBSCRIBED))
    recursive = bool(command.selection & ListSelection.RECURSIVEMATCH)
    chosen = _chooser(command.selection)
    if recursive:
        _mark_above(entries, chosen)
    matchers = [matcher(command.reference, pattern) for pattern in command.patterns]
    lines: list[bytes] = []
    for entry in await _matching(session, entries.values(), matchers):
        if chosen(entry) or (recursive and entry.selected_below):
            lines.append(_line(session, command, entry))
            if command.status and entry.status is not None:
                lines.append(await status_line(session, entry.status, command.status))
    return b"".join(lines) + session.ok(b"LIST completed")


async def _entries(session: Session, *, subscriptions: bool) -> dict[str, Entry]:
    """Every name, and the levels above that have no mailbox; `subscriptions`: also subscribed names without one."""
    account_id = session.account.account_id
    found = await session.store.list_mailboxes(account_id)
    entries = {status.name: Entry(status.name, status, status.subscribed) for status in found}
    if subscriptions:
        for name in await session.store.list_subscriptions(account_id):
            entries.setdefault(name, Entry(name)).subscribed = True
    for entry in list(entries.values()):
        for parent in _above(entry.name):
            entries.setdefault(parent, Entry(parent)).has_children |= entry.status is not None
    return entries


def _above(name: str) -> Iterable[str]:
    """The levels above, nearest first."""
    while (end := name.rfind(SEPARATOR)) > 0:
        name = name[:end]
        yield name


async def _matching(session: Session, entries: Iterable[Entry], matchers: Sequence[Matcher]) -> list[Entry]:
    """Those that a pattern matches; long lists let other sessions have their turn."""
    matching: list[Entry] = []
    share = max(1, SHARE // len(matchers))
    for looked_at, entry in enumerate(entries, 1):
        if any(matches(entry.name) for matches in matchers):
            matching.append(entry)
        if looked_at % share == 0:
            await session.wire.drain()
    return matching


_CHOICES: Final[dict[ListSelection, Callable[[Entry], bool]]] = {
    ListSelection.SUBSCRIBED: lambda entry: entry.subscribed,
    ListSelection.SPECIAL_USE: lambda entry: entry.status is not None and bool(entry.status.special_use),
}
"""Selection options that choose. REMOTE adds mailboxes of other servers, of which there are none."""


def _chooser(selection: ListSelection) -> Callable[[Entry], bool]:
    tests = [test for option, test in _CHOICES.items() if selection & option]
    if not tests:
        return lambda entry: entry.status is not None or entry.has_children
    return lambda entry: all(test(entry) for test in tests)


def _mark_above(entries: dict[str, Entry], chosen: Callable[[Entry], bool]) -> None:
    """Every level above a chosen name is one that CHILDINFO concerns (RFC 9051 section 6.3.9.6)."""
    for name, entry in entries.items():
        if chosen(entry):
            for parent in _above(name):
                if entries[parent].selected_below:
                    break
                entries[parent].selected_below = True


def _line(session: Session, command: List, entry: Entry) -> bytes:
    utf8 = session.revision2
    info = _child_info(command.selection) if entry.selected_below else ()
    attributes = _attributes(entry, command.returns, extended=command.extended or utf8)
    return replies.listed(b"LIST", attributes, entry.name, utf8=utf8, child_info=info)


def _child_info(selection: ListSelection) -> list[bytes]:
    names = {ListSelection.SUBSCRIBED: b"SUBSCRIBED", ListSelection.SPECIAL_USE: b"SPECIAL-USE"}
    return [name for option, name in names.items() if selection & option]


def _attributes(entry: Entry, returns: ListReturn, *, extended: bool) -> list[bytes]:
    """RFC 9051 section 7.3.1; children and special uses are cheap to know and always told (RFC 3348, RFC 6154)."""
    attributes = []
    if entry.status is None:
        attributes.append(b"\\NonExistent" if extended else b"\\Noselect")
    attributes.append(b"\\HasChildren" if entry.has_children else b"\\HasNoChildren")
    if entry.subscribed and returns & ListReturn.SUBSCRIBED:
        attributes.append(b"\\Subscribed")
    if entry.status is not None and entry.status.special_use:
        attributes.append(entry.status.special_use.encode())
    return attributes


async def _lsub(session: Session, command: Lsub) -> bytes:
    names = await session.store.list_subscriptions(session.account.account_id)
    entries = {name: Entry(name, subscribed=True) for name in names}
    if "%" in command.pattern:
        for name in names:
            for parent in _above(name):
                entries.setdefault(parent, Entry(parent))
    matching = await _matching(session, entries.values(), [matcher(command.reference, command.pattern)])
    lines = [
        replies.listed(b"LSUB", [] if entry.subscribed else [b"\\Noselect"], entry.name, utf8=session.revision2)
        for entry in matching
    ]
    return b"".join(lines) + session.ok(b"LSUB completed")
