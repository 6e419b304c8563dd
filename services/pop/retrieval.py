"""RETR and TOP: messages from the body reader to the client.

A message that is at hand is answered at once. For one that is not, the next ones are read with it, since clients
retrieve in order. A large one goes through in chunks, no faster than the client reads.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from services.common.connection import Answer
from services.common.errors import Reason, StoreError
from services.pop import replies
from services.pop.commands import Single, Top
from services.pop.languages import Text
from services.pop.session import RefusedError, Session, Transaction

STREAMED_FROM: Final = 512 << 10
"""Size from which a message is sent in chunks."""
AHEAD_MESSAGES: Final = 16
AHEAD_BYTES: Final = 1 << 20


def retr(session: Session, drop: Transaction, command: Single) -> Answer:
    """RETR (RFC 1939 section 5)."""
    index = drop.index(command.number)
    if drop.sizes[index] >= STREAMED_FROM:
        return _stream(session, drop, index, None)
    body = session.shared.bodies.read_now(drop.locations[index])
    return _read(session, drop, index, None) if body is None else _reply(session, drop, index, body, None)


def top(session: Session, drop: Transaction, command: Top) -> Answer:
    """TOP (RFC 1939 section 7); a large message is read no further than wanted."""
    index = drop.index(command.number)
    if drop.sizes[index] >= STREAMED_FROM:
        return _stream(session, drop, index, command.lines)
    body = session.shared.bodies.read_now(drop.locations[index])
    if body is None:
        return _read(session, drop, index, command.lines)
    return _reply(session, drop, index, body, command.lines)


def _reply(session: Session, drop: Transaction, index: int, body: bytes, lines: int | None) -> bytes:
    _check_mode(session, body)
    if lines is not None:
        body = replies.Head(lines).part(body)
    return replies.message(_first_line(session, drop, index, lines), body)


def _first_line(session: Session, drop: Transaction, index: int, lines: int | None) -> bytes:
    if lines is not None:
        return session.lines[Text.TOP]
    drop.retrieved.add(index)
    return session.lines[Text.OCTETS] % drop.sizes[index]


def _check_mode(session: Session, start: bytes) -> None:
    """RFC 6856 sections 4 and 5: a client that never asked for UTF-8 may be refused a message that needs it.

    `pop.utf8headers` says whether it is. The third way, a surrogate, would not be the message that was sent.
    """
    if session.utf8 or session.shared.options.value.utf8headers != "refuse":
        return
    if replies.needs_utf8(replies.header_of(start)):
        raise RefusedError(Text.NEEDS_UTF8)


async def _read(session: Session, drop: Transaction, index: int, lines: int | None) -> bytes:
    bodies, refs = session.shared.bodies, [drop.locations[place] for place in _ahead(drop, index)]
    try:
        body = (await bodies.read_many(drop.account_id, refs))[0]
    except StoreError as error:
        # One that was read ahead may be gone or damaged; what was asked for need not be.
        if error.reason not in (Reason.MESSAGE_NOT_FOUND, Reason.STORAGE_CORRUPT) or len(refs) == 1:
            raise
        body = (await bodies.read_many(drop.account_id, refs[:1]))[0]
    return _reply(session, drop, index, body, lines)


def _ahead(drop: Transaction, index: int) -> list[int]:
    """The message and the next ones that a client is likely to want, within bounds."""
    found, room = [index], AHEAD_BYTES - drop.sizes[index]
    for place in range(index + 1, min(index + AHEAD_MESSAGES, len(drop.uids))):
        if place in drop.deleted or place in drop.retrieved:
            continue
        room -= drop.sizes[place]
        if room < 0:
            break
        found.append(place)
    return found


async def _stream(session: Session, drop: Transaction, index: int, lines: int | None) -> bytes:
    stuffing, head, link = replies.Stuffing(), None if lines is None else replies.Head(lines), session.link
    begun = False
    try:
        async with aclosing(session.shared.bodies.stream(drop.account_id, drop.locations[index])) as chunks:
            async for chunk in chunks:
                if not begun:
                    _check_mode(session, chunk)
                    link.write(_first_line(session, drop, index, lines))
                    begun = True
                link.write(stuffing.part(chunk if head is None else head.part(chunk)))
                await link.drain()
                if head is not None and head.done:
                    break
    except StoreError:
        if not begun:
            raise
        # Half a message was sent: only the end of the connection can tell the client that it is not a whole one.
        link.abort()
        return b""
    return stuffing.end()
