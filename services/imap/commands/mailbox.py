"""Commands on mailboxes (RFC 9051 section 6.3). Mailbox names are Unicode, INBOX in capitals.

`given` is the name as the client sent it where that was not its normal form, else "" (RFC 9051 section 6.3.9.7).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntFlag

from services.common.domain import AppendItem


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT and EXAMINE, RFC 9051 sections 6.3.2 and 6.3.3.

    `condstore` is RFC 7162's parameter of that name.
    """

    mailbox: str
    read_only: bool = False
    condstore: bool = False
    given: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    """CREATE, RFC 9051 section 6.3.4. `special_use` is the USE attribute of RFC 6154 section 3, or "".

    A separator at the end of the name only says that names below it will come, and is not part of `mailbox`.
    """

    mailbox: str
    special_use: str = ""
    given: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE, RFC 9051 section 6.3.5."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    """RENAME, RFC 9051 section 6.3.6."""

    mailbox: str
    new_name: str
    given: str = ""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE, RFC 9051 section 6.3.7."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """UNSUBSCRIBE, RFC 9051 section 6.3.8."""

    mailbox: str


class ListSelection(IntFlag):
    """LIST selection options, RFC 9051 section 6.3.9.1 and RFC 6154 section 2."""

    NONE = 0
    SUBSCRIBED = 1
    REMOTE = 2
    RECURSIVEMATCH = 4
    SPECIAL_USE = 8


class ListReturn(IntFlag):
    """LIST return options, RFC 9051 section 6.3.9.2 and RFC 6154 section 2."""

    NONE = 0
    SUBSCRIBED = 1
    CHILDREN = 2
    SPECIAL_USE = 4


class StatusItem(Enum):
    """STATUS items, RFC 9051 section 6.3.11 and RFC 3501 section 6.3.10 (RECENT)."""

    MESSAGES = "MESSAGES"
    RECENT = "RECENT"
    UIDNEXT = "UIDNEXT"
    UIDVALIDITY = "UIDVALIDITY"
    UNSEEN = "UNSEEN"
    DELETED = "DELETED"
    SIZE = "SIZE"


@dataclass(frozen=True, slots=True)
class List:
    """LIST, RFC 9051 section 6.3.9.

    `extended` is False for the plain form, in which alone one empty pattern asks for the hierarchy separator.
    `status` are the items of RETURN (STATUS (..)), RFC 9051 section 6.3.9.2.
    """

    reference: str
    patterns: tuple[str, ...]
    selection: ListSelection = ListSelection.NONE
    returns: ListReturn = ListReturn.NONE
    status: tuple[StatusItem, ...] = ()
    extended: bool = False


@dataclass(frozen=True, slots=True)
class Lsub:
    """LSUB, RFC 3501 section 6.3.9."""

    reference: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """NAMESPACE, RFC 9051 section 6.3.10."""


@dataclass(frozen=True, slots=True)
class Status:
    """STATUS, RFC 9051 section 6.3.11. Items in the order asked for, each once."""

    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class Append:
    """APPEND, RFC 9051 section 6.3.12.

    One item, or several with MULTIAPPEND (RFC 3502). In `NeedLiteral.append` the last item's body is still empty.
    """

    mailbox: str
    items: tuple[AppendItem, ...]
