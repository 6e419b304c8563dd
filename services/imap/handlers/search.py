"""SEARCH and UID SEARCH (RFC 9051 section 6.4.4, ESEARCH of RFC 4731, `$` of RFC 5182)."""

from __future__ import annotations

from typing import Final

from services.common.errors import StoreError
from services.imap.commands import Search
from services.imap.commands.search import SearchReturn
from services.imap.replies import esearch
from services.imap.searching import Found
from services.imap.session import Answer, Malformed, Refused, Session
from services.imap.view import OutOfRangeError, View

DONE: Final = b"SEARCH completed"
EVERY_RESULT: Final = SearchReturn.ALL | SearchReturn.COUNT


def search(session: Session, command: Search) -> Answer:
    """At once where the same was asked for and nothing changed since.

    A search to be saved that is answered NO leaves nothing saved (RFC 9051 section 6.4.4.1).
    """
    view = session.selected.view
    if command.refusal is not None:
        text, code = command.refusal
        view.saved = ()
        raise Refused(text.encode(), code.encode())
    found = session.service.searches.known(view, command.key)
    return _search(session, command) if found is None else _answer(session, command, found)


async def _search(session: Session, command: Search) -> bytes:
    view = session.selected.view
    try:
        found = await session.service.searches.run(view, command.key)
    except OutOfRangeError:
        raise Malformed(b"No such message") from None
    except StoreError:
        if _saves(command):
            view.saved = ()
        raise
    return _answer(session, command, found)


def _answer(session: Session, command: Search, found: Found) -> bytes:
    view = session.selected.view
    if _saves(command):
        view.saved = _saved(view, found, command.returns or SearchReturn.ALL)
    if command.returns is None and not session.revision2:
        return _plain(view, command, found) + session.ok(DONE)
    return _extended(session, view, command, found) + session.ok(DONE)


def _saves(command: Search) -> bool:
    return command.returns is not None and bool(command.returns & SearchReturn.SAVE)


def _saved(view: View, found: Found, returns: SearchReturn) -> tuple[int, ...]:
    """With only MIN or MAX beside SAVE, only these are kept (RFC 5182 section 2.4)."""
    places = found.places
    ends = returns & (SearchReturn.MIN | SearchReturn.MAX)
    if ends and not returns & EVERY_RESULT and places:
        places = ([places[0]] if ends & SearchReturn.MIN else []) + ([places[-1]] if ends & SearchReturn.MAX else [])
    return tuple(view.uids[place] for place in places)


def _plain(view: View, command: Search, found: Found) -> bytes:
    text = found.texts.get(("plain", command.uid))
    if text is None:
        numbers = _numbers(view, command, found)
        text = b"* SEARCH%b\r\n" % (b" %d" * len(numbers) % tuple(numbers))
        found.texts["plain", command.uid] = text
    return text


def _extended(session: Session, view: View, command: Search, found: Found) -> bytes:
    returns = SearchReturn.ALL if command.returns is None else command.returns
    if returns == SearchReturn.SAVE:
        return b""
    numbers = _numbers(view, command, found)
    return esearch(
        session.tag,
        uid=command.uid,
        minimum=numbers[0] if numbers and returns & SearchReturn.MIN else None,
        maximum=numbers[-1] if numbers and returns & SearchReturn.MAX else None,
        found=numbers if returns & SearchReturn.ALL else None,
        count=len(numbers) if returns & SearchReturn.COUNT else None,
    )


def _numbers(view: View, command: Search, found: Found) -> list[int]:
    if command.uid:
        return [view.uids[place] for place in found.places]
    return [place + 1 for place in found.places]
