"""LMTP replies as bytes (RFC 5321 section 4.2, with the codes of RFC 3463), and one for each reason. No I/O.

A sending MTA acts on the codes: 4xx keeps the message in its queue, 5xx returns it to its sender. A failure of ours is
therefore always 4xx.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from services.common.errors import Reason
from services.lmtp.commands import Fault


class Text(Enum):
    """Every reply that does not depend on a value."""

    OK = b"250 2.0.0 OK\r\n"
    SENDER = b"250 2.1.0 Sender OK\r\n"
    RECIPIENT = b"250 2.1.5 Recipient OK\r\n"
    DELIVERED = b"250 2.0.0 Delivered\r\n"
    CHUNK = b"250 2.0.0 Chunk taken\r\n"
    BEGIN_DATA = b"354 End the message with a line of one dot\r\n"
    BEGIN_TLS = b"220 2.0.0 Begin TLS now\r\n"
    GOODBYE = b"221 2.0.0 Goodbye\r\n"
    UNVERIFIED = b"252 2.5.0 Not verified; try to deliver\r\n"

    FAILED = b"421 4.3.0 Temporary failure, try again later\r\n"
    SHUTTING_DOWN = b"421 4.3.2 The service is going down\r\n"
    TIMEOUT = b"421 4.4.2 Timeout\r\n"
    TOO_MANY_SESSIONS = b"421 4.7.0 Too many sessions\r\n"
    DEFERRED = b"450 4.2.1 The account takes no mail at present\r\n"
    TEMPORARY = b"451 4.3.0 Temporary failure, try again later\r\n"
    NO_MEMORY = b"452 4.3.1 Not enough room for the message now, try again later\r\n"
    DISK_FULL = b"452 4.3.1 Not enough storage, try again later\r\n"
    FULL_NOW = b"452 4.2.2 The mailbox is full\r\n"
    TOO_MANY_RECIPIENTS = b"452 4.5.3 Too many recipients\r\n"
    NO_TLS = b"454 4.7.0 TLS is not available\r\n"

    UNKNOWN = b"500 5.5.1 Unknown command\r\n"
    NOT_LMTP = b"500 5.5.1 This is LMTP: say LHLO\r\n"
    TOO_LONG = b"500 5.5.2 The line is too long\r\n"
    SYNTAX = b"501 5.5.4 Not an argument of this command\r\n"
    BAD_SENDER = b"501 5.1.7 Not a sender address\r\n"
    BAD_RECIPIENT = b"501 5.1.3 Not a recipient address\r\n"
    SEQUENCE = b"503 5.5.1 Not now\r\n"
    NO_RECIPIENTS = b"503 5.5.1 No valid recipients\r\n"
    BINARY_BY_DATA = b"503 5.5.1 BINARYMIME needs BDAT\r\n"
    CERTIFICATE = b"530 5.7.0 STARTTLS with a client certificate is required\r\n"
    NO_USER = b"550 5.1.1 No such user\r\n"
    DISABLED = b"550 5.2.1 The account is disabled\r\n"
    FULL = b"552 5.2.2 The mailbox is full\r\n"
    TOO_LARGE = b"552 5.3.4 The message is too large\r\n"
    NEEDS_SMTPUTF8 = b"553 5.6.7 The address needs SMTPUTF8\r\n"
    NOT_ALLOWED = b"554 5.7.1 This client may not deliver here\r\n"
    REJECTED = b"554 5.3.0 The message cannot be delivered\r\n"
    PARAMETER = b"555 5.5.4 A parameter that is not offered\r\n"


FAULTS: Final[dict[Fault, Text]] = {
    Fault.UNKNOWN: Text.UNKNOWN,
    Fault.NOT_LMTP: Text.NOT_LMTP,
    Fault.SYNTAX: Text.SYNTAX,
    Fault.STATE: Text.SEQUENCE,
    Fault.LENGTH: Text.TOO_LONG,
    Fault.SENDER: Text.BAD_SENDER,
    Fault.RECIPIENT: Text.BAD_RECIPIENT,
    Fault.PARAMETER: Text.PARAMETER,
    Fault.UTF8: Text.NEEDS_SMTPUTF8,
    Fault.CHUNK: Text.SYNTAX,
}

REASONS: Final[dict[Reason, Text]] = {
    Reason.ACCOUNT_NOT_FOUND: Text.NO_USER,
    Reason.MAILBOX_NOT_FOUND: Text.TEMPORARY,
    Reason.MAILBOX_EXISTS: Text.TEMPORARY,
    Reason.MAILBOX_NAME_INVALID: Text.TEMPORARY,
    Reason.MAILBOX_HAS_CHILDREN: Text.TEMPORARY,
    Reason.MAILBOX_PROTECTED: Text.TEMPORARY,
    Reason.MAILBOX_LIMIT: Text.TEMPORARY,
    Reason.KEYWORD_LIMIT: Text.TEMPORARY,
    Reason.KEYWORD_INVALID: Text.TEMPORARY,
    Reason.MESSAGE_NOT_FOUND: Text.TEMPORARY,
    Reason.MESSAGE_TOO_LARGE: Text.TOO_LARGE,
    Reason.OVER_QUOTA: Text.FULL_NOW,
    Reason.MAILDROP_IN_USE: Text.TEMPORARY,
    Reason.MAILDROP_LOCK_LOST: Text.TEMPORARY,
    Reason.STORAGE_FULL: Text.DISK_FULL,
    Reason.STORAGE_CORRUPT: Text.TEMPORARY,
    Reason.INVALID_ARGUMENT: Text.REJECTED,
    Reason.PERMISSION_DENIED: Text.TEMPORARY,
    Reason.UNAVAILABLE: Text.TEMPORARY,
    Reason.DEADLINE_EXCEEDED: Text.TEMPORARY,
    Reason.RESOURCE_EXHAUSTED: Text.TEMPORARY,
    Reason.INTERNAL: Text.TEMPORARY,
    Reason.LOGIN_NOT_FOUND: Text.TEMPORARY,
}
"""What the sender is told for a recipient whose mail the store did not take."""

OVER_QUOTA: Final[dict[str, Text]] = {"temporary": Text.FULL_NOW, "permanent": Text.FULL}
"""By the option `lmtp.overquota`."""


def greeting(hostname: str) -> bytes:
    """The first line (RFC 5321 section 4.2)."""
    return f"220 {hostname} LMTP Mailkeep ready\r\n".encode()


def multiline(code: int, lines: Sequence[str]) -> bytes:
    """A reply of several lines (RFC 5321 section 4.2.1)."""
    last = len(lines) - 1
    return "".join(f"{code}{' ' if number == last else '-'}{line}\r\n" for number, line in enumerate(lines)).encode()


def for_reason(name: str, overquota: str) -> bytes:
    """The reply for one recipient: `name` is a reason's, "" for success."""
    if not name:
        return Text.DELIVERED.value
    reason = Reason.__members__.get(name, Reason.INTERNAL)
    return (OVER_QUOTA[overquota] if reason is Reason.OVER_QUOTA else REASONS[reason]).value
