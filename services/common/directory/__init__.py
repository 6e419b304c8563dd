"""Who may log in and who gets mail: the interface, and the answers it gives.

Names. An address is compared with its domain in lower case and its local part in lower case too: RFC 5321 section
2.4 leaves the local part's case to the receiving host, and a mailbox that differs from another by case alone only
misleads its senders. A name without a domain is of `directory.defaultdomain`. Unicode is put into NFKC, which is what
SASLprep (RFC 4013) makes of the names that log in. A folder after `+` is the caller's to split off (`services.lmtp`):
`lookup` is asked for `user@domain`, never for `user+folder@domain`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from services.common.domain import Quota

if TYPE_CHECKING:
    from services.common.certmap import CertificateQuery

UNLIMITED: Final = Quota()


class Status(Enum):
    """What an account may do, in Messaging Server's words (`mailUserStatus`).

    OVERQUOTA takes no mail and logs in as ever, to make room. REMOVED is DELETED whose mail is gone already.
    """

    ACTIVE = "active"
    INACTIVE = "inactive"
    DISABLED = "disabled"
    DELETED = "deleted"
    HOLD = "hold"
    OVERQUOTA = "overquota"
    REMOVED = "removed"


class Delivery(Enum):
    """What becomes of mail for an account: taken, refused for now (4xx), refused (5xx)."""

    ACCEPTED = 1
    DEFERRED = 2
    REFUSED = 3


DELIVERY: dict[Status, Delivery] = {
    Status.ACTIVE: Delivery.ACCEPTED,
    Status.INACTIVE: Delivery.DEFERRED,
    Status.HOLD: Delivery.DEFERRED,
    Status.DISABLED: Delivery.REFUSED,
    Status.DELETED: Delivery.REFUSED,
    Status.OVERQUOTA: Delivery.DEFERRED,
    Status.REMOVED: Delivery.REFUSED,
}
GONE: Final = frozenset({Status.DELETED, Status.REMOVED})
"""Statuses of accounts that are to be answered like unknown ones."""
LOGS_IN: Final = frozenset({Status.ACTIVE, Status.OVERQUOTA})
_GLOBAL: Final = frozenset({Status.ACTIVE, Status.INACTIVE, Status.DELETED})
_ANY: Final = frozenset(Status)
HOLD_OPTION: Final = "hold"
MAILBOX_OPTIONS: Final = frozenset({"mailbox", "native", "unix", "autoreply"})
"""Values of `mailDeliveryOption` with which mail is kept here; with others alone it is the MTA's to pass on."""
STATUS_ATTRIBUTES: Final[dict[str, frozenset[Status]]] = {
    "inetDomainStatus": _GLOBAL,
    "mailDomainStatus": _ANY,
    "inetUserStatus": _GLOBAL,
    "mailUserStatus": _ANY,
}
"""The attributes that make up a status, in their order, and what each may say (schema reference 5)."""


def effective_status(values: Mapping[str, str]) -> Status:
    """The first of STATUS_ATTRIBUTES that is not active decides. Missing is active, an illegal value inactive."""
    statuses = (_status(values.get(name, ""), allowed) for name, allowed in STATUS_ATTRIBUTES.items())
    return first_not_active(statuses)


def first_not_active(statuses: Iterable[Status]) -> Status:
    """What several statuses come to, the weightiest first."""
    return next((status for status in statuses if status is not Status.ACTIVE), Status.ACTIVE)


def _status(value: str, allowed: frozenset[Status]) -> Status:
    word = value.strip().lower()
    if not word:
        return Status.ACTIVE
    return next((status for status in allowed if status.value == word), Status.INACTIVE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One account of the directory. `account` is the canonical name, under which the store keeps its mail.

    `domain` is the canonical one, "" where the account has none. `status` is what the statuses of the domain and the
    account come to. `allowed_access` holds the texts of `mailDomainAllowedServiceAccess` and `mailAllowedServiceAccess`
    as far as there are any: each has to permit a login. `administrator`: it may act for every other account. `dn` is
    its name in the directory, "" for none.
    """

    account: str
    quota: Quota = UNLIMITED
    aliases: tuple[str, ...] = ()
    status: Status = Status.ACTIVE
    domain: str = ""
    allowed_access: tuple[str, ...] = ()
    administrator: bool = False
    dn: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What mechanisms that never see the password need: `SCRAM-SHA-256$...` (RFC 5803) and `{CLEARTEXT}...`."""
    delivery_options: tuple[str, ...] = ()
    """`mailDeliveryOption`, lower case; none means a mailbox. They stop mail, never a login."""
    elsewhere: str = ""
    """The host that has its mail, where that is not this one."""
    administers: str = ""
    """The domain whose accounts it may act for, "" for none."""

    @property
    def acts_for_others(self) -> bool:
        """Whether there are accounts that it may act for."""
        return self.administrator or bool(self.administers)

    def may_act_for(self, other: Entry) -> bool:
        """Whether it may do what that account may do."""
        same = other.account == self.account
        return same or self.administrator or (bool(self.administers) and other.domain == self.administers)

    password_stamp: str = field(default="", repr=False)
    """Another text whenever the password is another, by which logins of HTTP end with it; "" where it is not told.
    Nothing can be guessed from it that could not be from a hash.
    """

    @property
    def mail_status(self) -> Status:
        """The status as it is for mail: the options of delivery come after it, and mail of another host waits."""
        if self.status is not Status.ACTIVE:
            return self.status
        if self.elsewhere or HOLD_OPTION in self.delivery_options:
            return Status.HOLD
        kept = not self.delivery_options or MAILBOX_OPTIONS & set(self.delivery_options)
        return Status.ACTIVE if kept else Status.DISABLED

    @property
    def delivery(self) -> Delivery:
        """What becomes of mail for it. One that is GONE is to be answered like an unknown one."""
        return DELIVERY[self.mail_status]


class LoginRefusal(Enum):
    """Why a login was refused; the value is the metric's and the log's word.

    CREDENTIALS is all that a client may learn of a wrong name, a wrong password or a deleted account, and LOCKED (by
    the directory, after too many wrong passwords) looks the same to it. To who gave the right password alone is said:
    INACTIVE (inactive, disabled, hold), EXPIRED and MUST_CHANGE (the password), ELSEWHERE (another host has the mail),
    ACCESS (a filter of the account or its domain). AUTHORIZATION: may not act for that other account. PLAINTEXT:
    passwords are not taken on this connection. SESSIONS: the account has as many sessions as it may. BANNED: nothing
    was tried, because the client's address is shut out.
    """

    CREDENTIALS = "credentials"
    LOCKED = "locked"
    INACTIVE = "inactive"
    EXPIRED = "expired"
    MUST_CHANGE = "must-change"
    ELSEWHERE = "elsewhere"
    ACCESS = "access"
    AUTHORIZATION = "authorization"
    PLAINTEXT = "plaintext"
    SESSIONS = "sessions"
    BANNED = "banned"


class LoginRefused(Exception):  # noqa: N818 - an answer, not a fault
    """The login is refused, for good as far as the client is concerned. `detail` is for the log alone."""

    def __init__(self, kind: LoginRefusal, detail: str = "") -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.detail = detail


class DirectoryUnavailable(Exception):  # noqa: N818 - an answer, not a fault
    """No answer can be given now: the directory is away or has too much to do. A temporary failure to the client."""


class Throttled(DirectoryUnavailable):
    """The password is not even tried now: too many of the same client's, or for the same account, wait already."""


class AddressUnknown(Exception):  # noqa: N818 - an answer, not a fault
    """No account has this address (550 5.1.1)."""


class Directory(Protocol):
    """A source of accounts. Methods run in the event loop and never block it."""

    async def authenticate(self, name: str, password: str) -> Entry:
        """The account `name` (an alias will do), whatever its status, where the password is right.

        Raises LoginRefused (CREDENTIALS; LOCKED, EXPIRED, MUST_CHANGE where the directory has a policy for passwords),
        DirectoryUnavailable.
        """

    async def account(self, name: str) -> Entry:
        """The account that logs in by this name, whatever its status, without a password.

        For who proved another way to be it, or may act for it. Raises LoginRefused (CREDENTIALS: there is no such
        account), DirectoryUnavailable.
        """

    async def lookup(self, address: str) -> Entry:
        """The account that gets mail for the address. Raises AddressUnknown, DirectoryUnavailable."""

    @property
    def generation(self) -> int:
        """Grows whenever what was answered before may be out of date; for sure only while `current`."""

    @property
    def current(self) -> bool:
        """Whether it was looked for changes just now. Where not, nothing that is remembered holds before `refresh`."""

    async def refresh(self) -> None:
        """Look for changes, and take them up. Does not raise."""

    @property
    def ready(self) -> bool:
        """Whether it can answer now."""


@runtime_checkable
class CertificateDirectory(Protocol):
    """A directory that can say whom a client's certificate means."""

    async def by_certificate(self, query: CertificateQuery) -> Entry:
        """The one account that is like the query says, whatever its status.

        Raises LoginRefused (CREDENTIALS: there is none, or there are several), DirectoryUnavailable.
        """


@dataclass(frozen=True, slots=True)
class Name:
    """A name as it is compared: lower case, NFKC; `domain` may be empty."""

    local: str
    domain: str = field(default="")

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local


def parse_name(text: str) -> Name:
    """Split at the last `@` and bring both parts into the form that is compared."""
    local, at, domain = text.strip().rpartition("@")
    if not at:
        local, domain = domain, ""
    return Name(_folded(local), _folded(domain).rstrip("."))


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    # The small form of a letter may have another normal form than the letter.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
