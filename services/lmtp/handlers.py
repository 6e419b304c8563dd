"""What each LMTP command does: the COMMANDS table, and what follows a message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from services.common.connection import Answer
from services.common.directory import AddressUnknown, Delivery, DirectoryUnavailable, Status
from services.common.limits import without_slot
from services.common.peer import LOCAL_ADDRESS
from services.lmtp import replies
from services.lmtp.commands import CHUNKS, Bare, Bdat, Body, Lhlo, Mail, Rcpt
from services.lmtp.delivery import deliver
from services.lmtp.machine import Chunk, Message
from services.lmtp.recipients import split_folder
from services.lmtp.replies import Text
from services.lmtp.session import Session, Target, Transaction

MEMORY_SECONDS: Final = 60.0
"""How long DATA and BDAT wait for memory; RFC 5321 section 4.5.3.2.4 lets a client wait two minutes for the 354."""

ACCOUNT_REPLIES: Final[dict[Status, Text]] = {
    Status.INACTIVE: Text.DEFERRED,
    Status.HOLD: Text.DEFERRED,
    Status.DISABLED: Text.DISABLED,
    Status.DELETED: Text.NO_USER,
    Status.OVERQUOTA: Text.FULL_NOW,
    Status.REMOVED: Text.NO_USER,
}
"""What is said of an account that takes no mail."""


def lhlo(session: Session, command: Lhlo) -> bytes:
    """LHLO: the extensions, each from the row of its command (RFC 2033 section 4.1)."""
    session.greet()
    offered = [row.keyword(session) for row in COMMANDS.values() if row.keyword is not None]
    offered += [keyword(session) for keyword in SERVER_KEYWORDS]
    return replies.multiline(250, [session.shared.hostname, *(line for line in offered if line)])


def mail(session: Session, command: Mail) -> bytes:
    """MAIL: a message that says it is too large is refused before any of it is sent (RFC 1870 section 6.1)."""
    if _needs_certificate(session):
        return Text.CERTIFICATE.value
    if command.size > session.max_size:
        return Text.TOO_LARGE.value
    session.begin(command)
    return Text.SENDER.value


def _needs_certificate(session: Session) -> bool:
    link = session.link
    wanted = session.options.requireclientcert
    return wanted and link.address != LOCAL_ADDRESS and link.client_certificate is None


def rcpt(session: Session, command: Rcpt) -> Answer:
    """RCPT: the account must exist and take mail. Most addresses are answered from memory."""
    transaction = _transaction(session)
    if len(transaction.targets) >= session.options.maxrecipients:
        return Text.TOO_MANY_RECIPIENTS.value
    if not transaction.mail.smtputf8 and not command.path.text.isascii():
        return Text.NEEDS_SMTPUTF8.value
    address, folder = split_folder(command.path)
    entry = session.shared.recipients.remembered(address)
    if entry is None:
        return _look_up(session, transaction, command, address, folder)
    return _accept(transaction, Target(command.path.text, entry, folder))


async def _look_up(session: Session, transaction: Transaction, command: Rcpt, address: str, folder: str) -> bytes:
    try:
        entry = await session.shared.recipients.lookup(address)
    except AddressUnknown:
        return Text.NO_USER.value
    except DirectoryUnavailable:
        return Text.TEMPORARY.value
    return _accept(transaction, Target(command.path.text, entry, folder))


def _accept(transaction: Transaction, target: Target) -> bytes:
    if target.entry.delivery is not Delivery.ACCEPTED:
        return ACCOUNT_REPLIES[target.entry.mail_status].value
    transaction.targets.append(target)
    return Text.RECIPIENT.value


def data(session: Session, command: Bare) -> Answer:
    """DATA: 354 once there is memory for what MAIL announced."""
    transaction = _transaction(session)
    if transaction.mail.body is Body.BINARY:
        return Text.BINARY_BY_DATA.value
    if not transaction.targets:
        return Text.NO_RECIPIENTS.value
    if not session.shared.inflight.try_reserve(transaction.mail.size):
        return _begin_data_later(session, transaction)
    return _begin_data(session, transaction)


def _begin_data(session: Session, transaction: Transaction) -> bytes:
    transaction.reserved = transaction.mail.size
    session.machine.receive_message(session.reserve)
    return Text.BEGIN_DATA.value


async def _begin_data_later(session: Session, transaction: Transaction) -> bytes:
    async with without_slot():
        granted = await session.shared.inflight.reserve(transaction.mail.size, MEMORY_SECONDS)
    return _begin_data(session, transaction) if granted else Text.NO_MEMORY.value


def bdat(session: Session, command: Bdat) -> Answer:
    """BDAT: its octets are read, whatever comes of them, and then it is answered (RFC 3030 section 2)."""
    session.last_chunk = command.last
    transaction = session.transaction
    if transaction is None or not transaction.targets or session.machine.state == CHUNKS:
        return _read_chunk(session, command)
    session.machine.state = CHUNKS
    wanted = max(transaction.mail.size, command.size)
    if wanted > session.max_size:
        session.fail(transaction, Text.TOO_LARGE)
    elif session.shared.inflight.try_reserve(wanted):
        transaction.reserved = wanted
    else:
        return _read_chunk_later(session, transaction, command, wanted)
    return _read_chunk(session, command)


def _read_chunk(session: Session, command: Bdat) -> bytes:
    transaction = session.transaction
    wanted = transaction is not None and transaction.targets and transaction.failure is None
    session.machine.receive_chunk(
        command.size, transaction.content if transaction and wanted else None, session.reserve
    )
    return b""


async def _read_chunk_later(session: Session, transaction: Transaction, command: Bdat, wanted: int) -> bytes:
    async with without_slot():
        granted = await session.shared.inflight.reserve(wanted, MEMORY_SECONDS)
    if granted:
        transaction.reserved = wanted
    else:
        session.fail(transaction, Text.NO_MEMORY)
    return _read_chunk(session, command)


def message(session: Session, event: Message) -> Answer:
    """DATA is complete: one reply for each recipient (RFC 2033 section 4.2)."""
    return deliver(session, _transaction(session), event.body)


def chunk(session: Session, event: Chunk) -> Answer:
    """A chunk is complete: one reply, or after the last one for each recipient (RFC 2033 section 4.3).

    After a chunk that could not be taken the others are not either, and the replies say so again.
    """
    transaction = session.transaction
    if transaction is None:
        return Text.SEQUENCE.value
    if not transaction.targets:
        return Text.NO_RECIPIENTS.value
    if session.last_chunk:
        return deliver(session, transaction, bytes(transaction.content) if event.kept else None)
    return (transaction.failure or Text.CHUNK).value


def rset(session: Session, command: Bare) -> bytes:
    """RSET: forget the transaction."""
    session.drop()
    return Text.OK.value


def noop(session: Session, command: Bare) -> bytes:
    """NOOP."""
    return Text.OK.value


def help_(session: Session, command: Bare) -> bytes:
    """HELP: what there is."""
    verbs = " ".join(verb for verb, row in COMMANDS.items() if row.run is not help_)
    return replies.multiline(214, [f"2.0.0 LMTP of RFC 2033 with {verbs}"])


def vrfy(session: Session, command: Bare) -> bytes:
    """VRFY: who may be here is not told (RFC 5321 section 3.5.3)."""
    return Text.UNVERIFIED.value


def starttls(session: Session, command: Bare) -> bytes:
    """STARTTLS (RFC 3207)."""
    if session.link.tls:
        return Text.SEQUENCE.value
    if not session.link.tls_available:
        return Text.NO_TLS.value
    session.link.start_tls()
    return Text.BEGIN_TLS.value


def quit_(session: Session, command: Bare) -> bytes:
    """QUIT."""
    session.link.close()
    return Text.GOODBYE.value


def _transaction(session: Session) -> Transaction:
    if session.transaction is None:
        raise RuntimeError("the machine lets no such command through outside a transaction")
    return session.transaction


Keyword = Callable[[Session], str]
"""A line of the reply to LHLO, or "" where the extension is not there now."""


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A row: what the command does, and the extension that it makes."""

    run: Callable[[Session, Any], Answer]
    keyword: Keyword | None = None


COMMANDS: Final[dict[str, CommandSpec]] = {
    "LHLO": CommandSpec(lhlo),
    "MAIL": CommandSpec(mail, lambda session: f"SIZE {session.max_size}"),
    "RCPT": CommandSpec(rcpt, lambda session: f"LIMITS RCPTMAX={session.options.maxrecipients}"),
    "DATA": CommandSpec(data),
    "BDAT": CommandSpec(bdat, lambda _: "CHUNKING"),
    "RSET": CommandSpec(rset),
    "NOOP": CommandSpec(noop),
    "HELP": CommandSpec(help_),
    "VRFY": CommandSpec(vrfy),
    "STARTTLS": CommandSpec(starttls, lambda session: "STARTTLS" * session.link.tls_available),
    "QUIT": CommandSpec(quit_),
}
"""Every command of `services.lmtp.commands.SYNTAX`, but for SMTP's HELO and EHLO, which are none of LMTP."""

SERVER_KEYWORDS: Final[tuple[Keyword, ...]] = (
    lambda _: "PIPELINING",
    lambda _: "8BITMIME",
    lambda _: "BINARYMIME",
    lambda _: "SMTPUTF8",
    lambda _: "ENHANCEDSTATUSCODES",
)
"""Extensions that are no command (RFC 2920, 6152, 3030, 6531, 2034)."""
