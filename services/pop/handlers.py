"""What each POP3 command does: the COMMANDS table, and the commands that are answered from what the session knows."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from services.common.connection import Answer
from services.common.errors import StoreError
from services.pop import authentication, replies, retrieval
from services.pop.commands import Bare, Lang, Listing, Single, XClient
from services.pop.languages import LANGUAGES, LINES, Text, lookup
from services.pop.session import Authorization, RefusedError, Session, Transaction

State = Authorization | Transaction


def quit_(session: Session, state: State, command: Bare) -> Answer:
    """QUIT: the end, and after a login the UPDATE state (RFC 1939 section 6)."""
    session.link.close()
    if isinstance(state, Transaction):
        return _update(session, state)
    return session.lines[Text.GOODBYE]


async def _update(session: Session, drop: Transaction) -> bytes:
    try:
        await session.shared.maildrops.commit(drop)
    except StoreError:
        raise RefusedError(Text.NOT_REMOVED if drop.deleted else Text.TEMPORARY) from None
    return session.lines[Text.GOODBYE]


def stat(session: Session, drop: Transaction, command: Bare) -> bytes:
    """STAT: messages and octets."""
    return b"+OK %d %d\r\n" % (drop.count, drop.octets)


def list_(session: Session, drop: Transaction, command: Listing) -> Answer:
    """LIST: the size of one message, or of all."""
    if command.number is not None:
        return b"+OK %d %d\r\n" % (command.number, drop.sizes[drop.index(command.number)])
    first = session.lines[Text.MAILDROP] % (drop.count, drop.octets)
    return _listing(session, drop, ("LIST", drop.sizes), first, replies.size_parts(drop.sizes, drop.deleted))


def uidl(session: Session, drop: Transaction, command: Listing) -> Answer:
    """UIDL: the unique id of one message, or of all (RFC 1939 section 7)."""
    if command.number is not None:
        uid = replies.unique_id(drop.uidvalidity, drop.uids[drop.index(command.number)])
        return b"+OK %d %s\r\n" % (command.number, uid)
    parts = replies.uid_parts(drop.uidvalidity, drop.uids, drop.deleted)
    return _listing(session, drop, ("UIDL", drop.uids), session.lines[Text.UIDS], parts)


def _listing(
    session: Session, drop: Transaction, what: tuple[str, array[int]], first: bytes, parts: Iterator[bytes]
) -> Answer:
    name, column = what
    if len(drop.uids) > replies.LISTED_AT_ONCE:
        return _long_listing(session, first, parts)
    if drop.deleted:
        return first + b"".join(parts)
    return first + session.shared.rendered.get((name, drop.account_id), column, lambda: b"".join(parts))


async def _long_listing(session: Session, first: bytes, parts: Iterator[bytes]) -> bytes:
    for part in chain((first,), parts):
        session.link.write(part)
        await session.link.drain()
    return b""


def dele(session: Session, drop: Transaction, command: Single) -> bytes:
    """DELE: mark a message."""
    drop.delete(drop.index(command.number))
    return session.lines[Text.DELETED] % command.number


def noop(session: Session, drop: Transaction, command: Bare) -> bytes:
    """NOOP."""
    return session.lines[Text.NOTHING]


def rset(session: Session, drop: Transaction, command: Bare) -> bytes:
    """RSET: take the marks away."""
    drop.undelete()
    return session.lines[Text.MAILDROP] % (drop.count, drop.octets)


def stls(session: Session, state: Authorization, command: Bare) -> bytes:
    """STLS (RFC 2595 section 4). A client must not give it after UTF8 (RFC 6856 section 2.1)."""
    if session.link.tls:
        raise RefusedError(Text.TLS_ACTIVE)
    if not session.link.tls_available:
        raise RefusedError(Text.NO_TLS)
    if session.utf8:
        raise RefusedError(Text.TLS_TOO_LATE)
    session.link.start_tls()
    return session.lines[Text.BEGIN_TLS]


def xclient(session: Session, state: Authorization, command: XClient) -> Answer:
    """XCLIENT: a front end that is trusted says who its client is."""
    if not session.link.trusted:
        raise RefusedError(Text.NOT_TRUSTED)
    return _forward(session, command)


async def _forward(session: Session, command: XClient) -> bytes:
    return await session.link.forward(command.client) or session.lines[Text.FORWARDED]


def utf8(session: Session, state: Authorization, command: Bare) -> bytes:
    """UTF8 (RFC 6856 section 2.1)."""
    session.utf8 = True
    return session.lines[Text.UTF8]


def lang(session: Session, state: State, command: Lang) -> bytes:
    """LANG: the list, or another language from this reply on (RFC 6856 section 3)."""
    if not command.range:
        return replies.multiline(session.lines[Text.LANGUAGES], [f"{tag} {name}" for tag, name in LANGUAGES.items()])
    tag = lookup(command.range, session.shared.options.value.language)
    if tag is None:
        raise RefusedError(Text.NO_LANGUAGE)
    session.lines = LINES[tag]
    return session.lines[Text.LANGUAGE] % tag.encode()


def capa(session: Session, state: State, command: Bare) -> bytes:
    """CAPA (RFC 2449 section 5): what the tables below say of this connection as it is now."""
    rows = [row.capability for row in COMMANDS.values() if row.capability is not None]
    said = [capability(session) for capability in (*rows, *SERVER_CAPABILITIES)]
    return replies.multiline(session.lines[Text.CAPABILITIES], [line for line in said if line])


Capability = Callable[[Session], str]
"""A line of CAPA, or "" where the capability is not there now."""


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A row: what the command does, and the capability that announces it.

    `run` is given the session, its state (of a kind that `services.pop.commands.SYNTAX` allows) and the command.
    """

    run: Callable[[Session, Any, Any], Answer]
    capability: Capability | None = None


def _sasl(session: Session) -> str:
    return " ".join(("SASL", *names)) if (names := authentication.mechanisms(session)) else ""


COMMANDS: Final[dict[str, CommandSpec]] = {
    "USER": CommandSpec(authentication.user, lambda session: "USER" * authentication.takes_passwords(session)),
    "PASS": CommandSpec(authentication.password),
    "APOP": CommandSpec(authentication.apop),
    "AUTH": CommandSpec(authentication.auth, _sasl),
    "STLS": CommandSpec(stls, lambda session: "STLS" * session.link.tls_available),
    "UTF8": CommandSpec(utf8, lambda _: "UTF8 USER"),
    "XCLIENT": CommandSpec(xclient, lambda session: "XCLIENT" * session.link.trusted),
    "LANG": CommandSpec(lang, lambda _: "LANG"),
    "STAT": CommandSpec(stat),
    "LIST": CommandSpec(list_),
    "RETR": CommandSpec(retrieval.retr),
    "DELE": CommandSpec(dele),
    "NOOP": CommandSpec(noop),
    "RSET": CommandSpec(rset),
    "TOP": CommandSpec(retrieval.top, lambda _: "TOP"),
    "UIDL": CommandSpec(uidl, lambda _: "UIDL"),
    "CAPA": CommandSpec(capa),
    "QUIT": CommandSpec(quit_),
}
"""Every command of `services.pop.commands.SYNTAX`."""

SERVER_CAPABILITIES: Final[tuple[Capability, ...]] = (
    lambda _: "RESP-CODES",
    lambda _: "AUTH-RESP-CODE",
    lambda _: "PIPELINING",
    lambda session: f"LOGIN-DELAY {session.shared.options.value.logindelay}",
    lambda session: f"EXPIRE {days if (days := session.shared.options.value.expire) >= 0 else 'NEVER'}",
    lambda _: "IMPLEMENTATION Mailkeep",
)
"""What belongs to no command (RFC 2449 section 6, RFC 3206 section 6). EXPIRE announces the policy of the site."""
