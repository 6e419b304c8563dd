"""What a front end may ask of the message store.

Two implementations: `services.common.storeclient.StoreClient` (over gRPC, all that front ends use) and
`services.store.mailstore.MailStore` (the rules themselves, behind the servicers). Every method raises `StoreError`.
Reads are retried by the client while the store is away, up to `storewait`; writes carry a `request_id` (a UUID's text)
under which a repeat returns the first outcome.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from services.common.domain import (
    Account,
    AccountId,
    AppendItem,
    AppendResult,
    BodyRef,
    Column,
    Columns,
    CopyResult,
    Delivered,
    EmailDelta,
    ExpungeResult,
    FlagChange,
    FlagEdit,
    FlagEdited,
    FlagResult,
    LoginSession,
    MailboxDelta,
    MailboxId,
    MailboxStatus,
    Maildrop,
    Page,
    Quota,
    Recipient,
    TextKey,
)
from services.common.errors import StoreError


class Store(Protocol):
    """The store as its callers see it."""

    @property
    def emails(self) -> Emails:
        """The account over all its mailboxes, as JMAP sees it."""

    @property
    def logins(self) -> Logins:
        """Logins of HTTP clients."""

    # accounts
    async def open_account(self, name: str, *, create: bool = True) -> Account:
        """The account, made with INBOX and special-use folders at first use.

        Raises ACCOUNT_NOT_FOUND where it does not exist and `create` is False.
        """

    async def list_accounts(self, *, page_size: int = 1000, page_token: str = "") -> Page:
        """Accounts by name, a page at a time."""

    async def delete_account(self, name: str) -> None:
        """Remove the account and all its mail. Raises ACCOUNT_NOT_FOUND."""

    # mailboxes
    async def list_mailboxes(self, account_id: AccountId) -> Sequence[MailboxStatus]:
        """Every mailbox with its counters, sorted by name with INBOX first."""

    async def get_mailbox(self, account_id: AccountId, name: str) -> MailboxStatus:
        """One mailbox (STATUS). Raises MAILBOX_NOT_FOUND."""

    async def list_subscriptions(self, account_id: AccountId) -> Sequence[str]:
        """Subscribed names, sorted; names without a mailbox included (RFC 9051 section 6.3.7)."""

    async def create_mailbox(self, account_id: AccountId, name: str, special_use: str = "") -> MailboxStatus:
        """Make it and the levels above it. Raises MAILBOX_EXISTS, MAILBOX_NAME_INVALID, MAILBOX_LIMIT."""

    async def rename_mailbox(self, account_id: AccountId, name: str, new_name: str) -> None:
        """With all below it; renaming INBOX moves its messages and leaves it empty (RFC 9051 section 6.3.6).

        Raises MAILBOX_NOT_FOUND, MAILBOX_EXISTS, MAILBOX_NAME_INVALID.
        """

    async def delete_mailbox(self, account_id: AccountId, name: str) -> None:
        """Raises MAILBOX_NOT_FOUND, MAILBOX_PROTECTED (INBOX), MAILBOX_HAS_CHILDREN."""

    async def subscribe(self, account_id: AccountId, name: str, subscribed: bool) -> None:
        """Idempotent; the mailbox need not exist. Raises MAILBOX_NAME_INVALID."""

    # messages
    async def sync_mailbox(
        self, account_id: AccountId, mailbox: str | MailboxId, since: int = 0, *, claim_recent: bool = False
    ) -> MailboxDelta:
        """What changed after `since`; 0 gives everything, and so does a `since` from before what the store remembers.

        `claim_recent` makes what is there no longer recent for others (the status returned still says what was).
        Raises MAILBOX_NOT_FOUND.
        """

    async def fetch_columns(
        self, account_id: AccountId, mailbox_id: MailboxId, columns: Column, uids: Sequence[int] | None = None
    ) -> Columns:
        """Columns of the given messages (None: all); those that are gone are left out."""

    async def modify_flags(
        self,
        account_id: AccountId,
        mailbox_id: MailboxId,
        uids: Sequence[int],
        change: FlagChange,
        *,
        unchanged_since: int | None = None,
    ) -> FlagResult:
        """STORE. Idempotent by nature. Raises KEYWORD_LIMIT, KEYWORD_INVALID, MAILBOX_NOT_FOUND."""

    async def modify_each(self, edits: Sequence[FlagEdit]) -> Sequence[FlagEdited | StoreError]:
        """STORE of many sessions, one message each, in this order: an outcome for each (MAILBOX_NOT_FOUND ...).

        At most `MAX_EDITS`. Idempotent by nature. What is raised concerns all of them.
        """

    async def append(
        self, account_id: AccountId, mailbox: str, items: Sequence[AppendItem], quota: Quota, *, request_id: str
    ) -> AppendResult:
        """All or none. Raises MAILBOX_NOT_FOUND, OVER_QUOTA, MESSAGE_TOO_LARGE, KEYWORD_LIMIT, STORAGE_FULL."""

    async def copy_messages(
        self,
        account_id: AccountId,
        mailbox_id: MailboxId,
        uids: Sequence[int],
        target: str,
        quota: Quota,
        *,
        move: bool = False,
        request_id: str,
    ) -> CopyResult:
        """COPY or MOVE, all or none. Raises MAILBOX_NOT_FOUND (source or target), OVER_QUOTA, KEYWORD_LIMIT."""

    async def expunge(
        self,
        account_id: AccountId,
        mailbox_id: MailboxId,
        uids: Sequence[int] | None = None,
        *,
        regardless: bool = False,
    ) -> ExpungeResult:
        """Remove messages that carry \\Deleted (of `uids`, or all); with `regardless` all of `uids`.

        Raises MAILBOX_NOT_FOUND, INVALID_ARGUMENT (`regardless` without `uids`).
        """

    async def search_text(
        self, account_id: AccountId, mailbox_id: MailboxId, keys: Sequence[TextKey], uid_from: int = 1
    ) -> Sequence[array[int]]:
        """For each key the matching UIDs at or above `uid_from`, ascending."""

    # bodies
    async def read_bodies(self, account_id: AccountId, refs: Sequence[BodyRef]) -> Sequence[bytes]:
        """Whole messages (prefix + body) in order. Raises MESSAGE_NOT_FOUND, STORAGE_CORRUPT."""

    def stream_body(self, account_id: AccountId, ref: BodyRef, offset: int = 0) -> AsyncIterator[bytes]:
        """One message (prefix + body) from `offset` on in chunks of 256 KiB to 1 MiB."""

    # delivery and maildrop
    async def deliver(self, recipients: Sequence[Recipient], body: bytes, *, request_id: str) -> Sequence[Delivered]:
        """One outcome for each recipient in order; the body is stored once. Raises only what concerns all of them."""

    async def open_maildrop(self, account_id: AccountId) -> Maildrop:
        """Lock INBOX for POP3 and list it, in one call. Raises MAILDROP_IN_USE."""

    async def commit_maildrop(
        self, account_id: AccountId, lock: str, deleted: Sequence[int], seen: Sequence[int]
    ) -> None:
        """QUIT: expunge `deleted`, mark `seen`, give the lock up. Raises MAILDROP_LOCK_LOST."""

    async def release_maildrop(self, account_id: AccountId, lock: str) -> None:
        """Give the lock up without a change; idempotent."""


class Emails(Protocol):
    """An account's messages over all its mailboxes, and blobs that were uploaded (`Store.emails`).

    Every method raises ACCOUNT_NOT_FOUND.
    """

    async def sync(self, account_id: AccountId, since: int = 0) -> EmailDelta:
        """What changed after `since`; 0 gives everything, and so does a `since` of which not all is known any more."""

    async def fetch(self, account_id: AccountId, content_ids: Sequence[int], columns: Column) -> Columns:
        """Columns of contents by their numbers, ascending; those that are gone are left out.

        Numbers and threads come always; INTERNALDATE, SIZE, SAVEDATE and CONTENT are no columns of contents
        (INVALID_ARGUMENT).
        """

    async def upload(self, account_id: AccountId, data: bytes) -> BodyRef:
        """Keep octets for a day. Raises MESSAGE_TOO_LARGE, OVER_QUOTA, STORAGE_FULL."""

    async def find(self, account_id: AccountId, digests: Sequence[bytes]) -> Sequence[BodyRef]:
        """Where blobs lie, uploaded ones and bodies of messages; those that are not there are left out."""


class Logins(Protocol):
    """Logins of HTTP clients (`Store.logins`). A digest that is not 32 bytes raises INVALID_ARGUMENT."""

    async def open(self, account_id: AccountId, login: LoginSession, idle_seconds: int) -> LoginSession:
        """Begin one; its user and times are the store's to fill in. Raises ACCOUNT_NOT_FOUND, INVALID_ARGUMENT."""

    async def use(self, account_id: AccountId, digest: bytes, address: str, idle_seconds: int) -> LoginSession:
        """The login, which ends `idle_seconds` from now unless it is used again. Raises LOGIN_NOT_FOUND."""

    async def all(self, account_id: AccountId) -> Sequence[LoginSession]:
        """Those of the account that hold, the last used first."""

    async def end(self, account_id: AccountId, digest: bytes) -> None:
        """End one; idempotent."""

    async def end_all(self, account_id: AccountId, but: bytes = b"") -> int:
        """End all of the account except the one with the digest `but`; how many."""


class ChangeFeed(Protocol):
    """One stream per process, multiplexed over the mailboxes that its sessions look at."""

    def follow(
        self, account_id: AccountId, mailbox_id: MailboxId, since: int, listener: Callable[[MailboxDelta], None]
    ) -> None:
        """Call `listener` in the event loop for every change after modification sequence `since`, in order.

        Deltas may overlap what the listener knows already (then `delta.status.modseq` is not above it) but leave no
        gap, also over a lost connection. One listener per mailbox and process; a second call replaces the first.
        """

    def unfollow(self, account_id: AccountId, mailbox_id: MailboxId) -> None:
        """No more calls for this mailbox."""


class AccountFeed(Protocol):
    """The same stream, for who wants to know only that something in an account changed."""

    def follow_account(self, account_id: AccountId, listener: Callable[[int], None]) -> None:
        """Call `listener` in the event loop whenever something in the account changed, with its modification sequence.

        It is called once at the beginning, and again after a lost connection: with 0, which means that it is not known.
        """

    def unfollow_account(self, account_id: AccountId) -> None:
        """No more calls for this account."""
