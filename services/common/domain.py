"""The words that every service shares: ids, flags, rows, results.

Frozen values without behaviour and without imports of ours; the gRPC messages of `mailproto` are turned into these at
the edge (`services.common.storeclient`, `services.store.servicers`), so that no front end knows the wire.

Numbers: sizes in bytes, dates in whole seconds since 1970 (UTC), UIDs 32 bit, modification sequences 63 bit.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, IntFlag
from functools import partial
from typing import Final, NamedTuple, NewType

AccountId = NewType("AccountId", int)
MailboxId = NewType("MailboxId", int)
"""Unique in its account and never reused; the MAILBOXID of RFC 8474 is made from it."""
ContentId = NewType("ContentId", int)
"""Unique in its account and never reused; copies of a message share it: the EMAILID of RFC 8474 is made from it."""

INBOX: Final = "INBOX"
SEPARATOR: Final = "/"

# Flags travel and are stored as one 63-bit mask. Bits 0-4 are the system flags of RFC 9051 section 2.3.2; bits 8-62 are
# the mailbox's own keywords, by their place in `MailboxStatus.keywords`.
SEEN: Final = 1 << 0
ANSWERED: Final = 1 << 1
FLAGGED: Final = 1 << 2
DELETED: Final = 1 << 3
DRAFT: Final = 1 << 4
SYSTEM_FLAGS: Final[dict[int, str]] = {
    SEEN: "\\Seen",
    ANSWERED: "\\Answered",
    FLAGGED: "\\Flagged",
    DELETED: "\\Deleted",
    DRAFT: "\\Draft",
}
KEYWORD_SHIFT: Final = 8
MAX_KEYWORDS: Final = 55
MAX_KEYWORD_LENGTH: Final = 255

SPECIAL_USES: Final[dict[str, str]] = {
    "Drafts": "\\Drafts",
    "Sent": "\\Sent",
    "Trash": "\\Trash",
    "Junk": "\\Junk",
    "Archive": "\\Archive",
}
"""Folder name -> RFC 6154 attribute of what is made when an account is first used."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What an account may hold; None means without limit (`mailQuota`, `mailMsgQuota`)."""

    max_bytes: int | None = None
    max_messages: int | None = None

    def has_room(self, account: Account, size: int, messages: int = 1) -> bool:
        """Whether the account may take that much more."""
        fits = self.max_bytes is None or account.used_bytes + size <= self.max_bytes
        return fits and (self.max_messages is None or account.used_messages + messages <= self.max_messages)


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the store.

    `name` is the canonical login name (`uid@domain`, or a bare `uid` in the default domain). `modseq` is the highest
    modification sequence of anything in the account.
    """

    account_id: AccountId
    name: str
    used_bytes: int
    used_messages: int
    modseq: int


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """A mailbox with its counters, as STATUS and LIST want them.

    `name` is Unicode with `SEPARATOR` between levels, INBOX in capitals. `recent_from` is the first UID that no session
    has been told of yet (RFC 3501 section 2.3.2, \\Recent). `keywords` are in bit order. `special_use` is an attribute
    of RFC 6154 or "". `modseq` is HIGHESTMODSEQ.
    """

    mailbox_id: MailboxId
    name: str
    uidvalidity: int
    uidnext: int
    modseq: int
    messages: int
    unseen: int
    deleted: int
    size: int
    recent_from: int
    special_use: str = ""
    subscribed: bool = False
    keywords: tuple[str, ...] = ()


@dataclass(slots=True)
class Rows:
    """Flags columns of messages, one index one message, in ascending UID order."""

    uids: array[int] = field(default_factory=lambda: array("I"))
    flags: array[int] = field(default_factory=lambda: array("Q"))
    modseqs: array[int] = field(default_factory=lambda: array("Q"))

    def __len__(self) -> int:
        return len(self.uids)


@dataclass(frozen=True, slots=True)
class MailboxDelta:
    """What happened in a mailbox with modification sequences in (since, status.modseq].

    `changed` holds every living message that is new or had its flags changed; `expunged` the UIDs gone (ascending).
    `since` 0 is the whole mailbox and then `expunged` is empty; a store answers so, too, where it no longer knows what
    went after the sequence that it was asked about. `gone` is True once the mailbox was deleted (then the
    rest is as it last was).
    """

    account_id: AccountId
    since: int
    status: MailboxStatus
    changed: Rows
    expunged: array[int]
    gone: bool = False


class Column(IntFlag):
    """Which columns `Store.fetch_columns` shall fill; the value is the wire's bit mask."""

    INTERNALDATE = 1
    SIZE = 2
    ENVELOPE = 4
    BODYSTRUCTURE = 8
    HEADERS = 16
    LOCATION = 32
    SAVEDATE = 64
    CONTENT = 128
    PREVIEW = 256
    SENTDATE = 512


class BodyRef(NamedTuple):
    """Where a message lies: its recipient's own `prefix` (trace header lines), then `length` immutable bytes.

    The message as clients see it is `prefix + body`. `digest` is the BLAKE2b-256 of the body; `segment` and `offset`
    say where a `BodyReader` that sees the store's segment folder finds it (segment 0: not readable there).
    """

    digest: bytes
    length: int
    segment: int
    offset: int
    prefix: bytes = b""


_new_ref: Final = partial(tuple.__new__, BodyRef)


def body_refs(
    digests: Sequence[bytes],
    lengths: Sequence[int],
    segments: Sequence[int],
    offsets: Sequence[int],
    prefixes: Sequence[bytes],
) -> list[BodyRef]:
    """References out of columns of one length; a mailbox has thousands, so no code of ours runs for each."""
    return list(map(_new_ref, zip(digests, lengths, segments, offsets, prefixes, strict=True)))


@dataclass(slots=True)
class Columns:
    """Columns of messages, one index one message, ascending UIDs; a column that was not asked for is empty.

    `sizes` is RFC822.SIZE (prefix included). `envelopes` and `bodystructures` are ready IMAP text (the parenthesised
    list, RFC 9051 section 7.5.2; BODYSTRUCTURE with extension data). `headers` holds the raw lines (with CRLF, original
    order) of the fields named in `services.common.mime.headers.COMMON_FIELDS`. `sentdates` is the Date field as the
    days since 1970 of its date disregarding time and zone (RFC 9051 SENTON), -1 without one. `header_sizes` is the
    length of prefix + header including the empty line, filled with LOCATION.
    """

    uids: array[int] = field(default_factory=lambda: array("I"))
    internaldates: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    savedates: array[int] = field(default_factory=lambda: array("q"))
    sentdates: array[int] = field(default_factory=lambda: array("q"))
    content_ids: array[int] = field(default_factory=lambda: array("Q"))
    thread_ids: array[int] = field(default_factory=lambda: array("Q"))
    envelopes: list[bytes] = field(default_factory=list)
    bodystructures: list[bytes] = field(default_factory=list)
    headers: list[bytes] = field(default_factory=list)
    previews: list[str] = field(default_factory=list)
    locations: list[BodyRef] = field(default_factory=list)
    header_sizes: array[int] = field(default_factory=lambda: array("Q"))


class FlagOperation(Enum):
    """How `Store.modify_flags` combines: STORE FLAGS, +FLAGS, -FLAGS."""

    REPLACE = 1
    ADD = 2
    REMOVE = 3


@dataclass(frozen=True, slots=True)
class FlagChange:
    """One wanted change: system flags as bits, keywords by name."""

    operation: FlagOperation
    system: int = 0
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FlagResult:
    """What came of it: the rows that exist with their new flags and modseqs, and who was left alone.

    `conflicts` are UIDs whose modseq was above `unchanged_since`; UIDs that no longer exist are in neither.
    `status` is the mailbox after the change (its `keywords` may have grown); `previous` its modseq before.
    """

    status: MailboxStatus
    previous: int
    rows: Rows
    conflicts: array[int]


MAX_EDITS: Final = 512
"""Changes that `Store.modify_each` takes at once."""


class FlagEdit(NamedTuple):
    """A change of the system flags of one message; many of them travel together (`Store.modify_each`)."""

    account_id: AccountId
    mailbox_id: MailboxId
    uid: int
    operation: FlagOperation
    system: int


class FlagEdited(NamedTuple):
    """What came of it. `mailbox_modseq`, `unseen` and `deleted` are the mailbox's after the change, `previous` its
    modification sequence before; a message that is gone has the `modseq` 0.
    """

    previous: int
    mailbox_modseq: int
    unseen: int
    deleted: int
    flags: int
    modseq: int


@dataclass(frozen=True, slots=True)
class AppendItem:
    """One message of an APPEND or import. `internaldate` None is now."""

    body: bytes
    system: int = 0
    keywords: tuple[str, ...] = ()
    internaldate: int | None = None


@dataclass(frozen=True, slots=True)
class AppendResult:
    """Where the messages went, in the order given."""

    mailbox_id: MailboxId
    uidvalidity: int
    uids: array[int]


@dataclass(frozen=True, slots=True)
class CopyResult:
    """COPYUID of RFC 4315: pairs in order, and the target. Source UIDs that no longer exist are left out."""

    mailbox_id: MailboxId
    uidvalidity: int
    source_uids: array[int]
    target_uids: array[int]


@dataclass(frozen=True, slots=True)
class ExpungeResult:
    """What went, ascending, and the mailbox after it; `previous` its modseq before."""

    status: MailboxStatus
    previous: int
    uids: array[int]


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a delivery: the canonical account, the folder wanted, and the lines put before the message.

    `folder` "" is INBOX; a folder that does not exist falls back to INBOX. `prefix` ends with CRLF.
    """

    account: str
    folder: str = ""
    prefix: bytes = b""
    quota: Quota = Quota()


@dataclass(frozen=True, slots=True)
class Delivered:
    """The outcome for one recipient; `reason` is a `services.common.errors.Reason` name, "" for success."""

    reason: str = ""
    mailbox_id: MailboxId = MailboxId(0)
    uid: int = 0


@dataclass(frozen=True, slots=True)
class Maildrop:
    """A locked INBOX as POP3 sees it. `lock` names the lock for `commit_maildrop` and `release_maildrop`."""

    lock: str
    status: MailboxStatus
    uids: array[int]
    sizes: array[int]
    locations: Sequence[BodyRef]


class TextField(Enum):
    """Where a text search looks (RFC 9051 section 6.4.4)."""

    BCC = 1
    BODY = 2
    CC = 3
    FROM = 4
    HEADER = 5
    SUBJECT = 6
    TEXT = 7
    TO = 8


@dataclass(frozen=True, slots=True)
class TextKey:
    """One text key of a search: substring, compared after decoding, Unicode NFKC case folding.

    `header` names the field where `field` is HEADER. An empty needle matches where the field exists.
    """

    field: TextField
    needle: str
    header: str = ""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One client's session at a front end, as `mailkeep who` shows it. `started` in seconds since 1970."""

    session_id: str
    service: str
    user: str
    address: str
    started: int
    process: str = ""


@dataclass(frozen=True, slots=True)
class LoginSession:
    """One login of an HTTP client: it lasts over connections, processes and restarts.

    `digest` (BLAKE2b-256 of the secret that the client alone keeps) names it. `bound`: no other address may use it.
    `stamp` (up to 64 bytes) is compared with what the directory says of the account's password. Times in seconds since
    1970; `used` is right to the minute.
    """

    digest: bytes
    user: str
    address: str
    bound: bool
    agent: str
    stamp: bytes
    created: int = 0
    used: int = 0
    expires: int = 0


@dataclass(slots=True)
class Places:
    """Where contents are filed, one index one place. Of places that are gone, the last three columns are empty."""

    content_ids: array[int] = field(default_factory=lambda: array("Q"))
    thread_ids: array[int] = field(default_factory=lambda: array("Q"))
    mailbox_ids: array[int] = field(default_factory=lambda: array("Q"))
    uids: array[int] = field(default_factory=lambda: array("I"))
    flags: array[int] = field(default_factory=lambda: array("Q"))
    internaldates: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))

    def __len__(self) -> int:
        return len(self.uids)


@dataclass(slots=True)
class EmailDelta:
    """What happened in an account with modification sequences in (since, modseq].

    `next_id` is the number that the next content or mailbox gets. `mailboxes` are those that are new or changed,
    `places` those that are new or changed and still there. `since` 0 is the whole account, and nothing is gone then.
    """

    account_id: AccountId
    since: int
    modseq: int
    next_id: int
    mailboxes: list[MailboxStatus] = field(default_factory=list)
    gone_mailboxes: list[MailboxId] = field(default_factory=list)
    places: Places = field(default_factory=Places)
    gone: Places = field(default_factory=Places)


@dataclass(frozen=True, slots=True)
class Page:
    """Names of accounts, a page at a time; `token` "" ends."""

    accounts: Sequence[Account]
    token: str
